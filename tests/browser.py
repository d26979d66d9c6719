"""A real headless Chromium, driven over its debugging pipe (DevTools protocol), without a driver.

Its own network is switched off twice: no name resolves, and pages are told that they are offline.
"""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--mute-audio", "--hide-scrollbars", "--remote-debugging-pipe",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=127.0.0.1:9",
]  # fmt: skip


def find_browser():
    """Returns the path of a Chromium, from the variable CHROMIUM or the usual names, or None."""
    names = [os.environ["CHROMIUM"]] if os.environ.get("CHROMIUM") else NAMES
    return next(filter(None, map(shutil.which, names)), None)


def install_browser():
    """Installs Debian's Chromium where that can be done; returns its path, or None."""
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        return None
    wait = ["-o", "DPkg::Lock::Timeout=300"]  # another test may be installing too
    for command in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
        subprocess.run(
            ["apt-get", "-qq", *wait, *command],
            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
            check=False, timeout=600, capture_output=True,
        )  # fmt: skip
    return find_browser()


class Browser:
    """One page in one browser; `problems` gathers errors and warnings of its console."""

    def __init__(self, path, timeout=60):
        self.timeout, self.problems, self.requests = timeout, [], []
        self.folder = tempfile.mkdtemp()
        self.downloads = Path(self.folder, "downloads")
        self.downloads.mkdir()
        theirs, self.out = os.pipe()
        self.back, ours = os.pipe()
        # the pipe is on the descriptors 3 and 4, whatever numbers Python has given
        shell = f'exec "$0" "$@" 3<&{theirs} 4>&{ours}'
        self.process = subprocess.Popen(
            ["bash", "-c", shell, path, *FLAGS, f"--user-data-dir={self.folder}", "about:blank"],
            pass_fds=(theirs, ours), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs)
        os.close(ours)
        self._buffer, self._count, self._session = b"", 0, None
        self._attach()

    def _attach(self):
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads))
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call(
            "Network.emulateNetworkConditions",
            offline=True, latency=0, downloadThroughput=0, uploadThroughput=0,
        )  # fmt: skip

    def call(self, method, **params):
        """Sends a command and returns its result; events in between are noted."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._count:
            self._note(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def _read(self):
        while b"\0" not in self._buffer:
            part = os.read(self.back, 1 << 20)
            if not part:
                raise RuntimeError("the browser has gone")
            self._buffer += part
        raw, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(raw)

    def _note(self, event):
        params = event.get("params", {})
        match event.get("method"):
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.problems.append(
                    str([a.get("value") or a.get("description") for a in params["args"]])
                )
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                self.problems.append(details.get("exception", {}).get("description", str(details)))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.problems.append(params["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])

    def run(self, script):
        """Returns the value of a JavaScript expression, awaited if it is a promise."""
        answer = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def until(self, script):
        """Waits until a JavaScript expression is true; returns its value."""
        end = time.monotonic() + self.timeout
        while not (value := self.run(script)):
            if time.monotonic() > end:
                raise TimeoutError(f"never true: {script}; console: {self.problems}")
            time.sleep(0.05)
        return value

    def open(self, path):
        """Opens a local file and waits for its text."""
        self.call("Page.navigate", url=Path(path).resolve().as_uri())
        self.until("location.protocol === 'file:' && document.readyState === 'complete'")

    def size(self, width, height):
        """Sets the size of the window."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def scheme(self, name):
        """Sets what the system prefers, `light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def mouse(self, kind, x, y, buttons=0):
        """Sends one event of the mouse at a place in the window."""
        self.call(
            "Input.dispatchMouseEvent", type=kind, x=x, y=y, buttons=buttons, clickCount=1,
            button="none" if kind == "mouseMoved" and not buttons else "left",
        )  # fmt: skip

    def press(self, name, code, text=""):
        """Presses a key, as a person would."""
        key = {"key": name, "code": name, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **key)
        self.call("Input.dispatchKeyEvent", type="keyUp", **key)

    def wait_for_download(self, name):
        """Returns the path of a finished download.

        Chromium puts an empty file in its place first, and renames the whole one over it.
        """
        path, end = self.downloads / name, time.monotonic() + self.timeout
        while not (path.exists() and path.stat().st_size):
            self.run("1")  # lets events in
            if time.monotonic() > end:
                raise TimeoutError(f"{name} was not downloaded: {list(self.downloads.iterdir())}")
            time.sleep(0.02)
        return path

    def picture(self, path, whole=True):
        """Saves a PNG of the whole page or of the window."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def close(self):
        """Ends the browser and deletes its folder."""
        with contextlib.suppress(RuntimeError, OSError):
            self._session = None
            self.call("Browser.close")
        os.close(self.out)
        os.close(self.back)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self.process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

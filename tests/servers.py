"""A web server whose files can be absent, cut off, silent or replaced."""

import contextlib
import hashlib
import http.server
import threading
import time


class Files(http.server.BaseHTTPRequestHandler):
    """Serves `server.files`; `server.faults` maps a path to a list of what to do first.

    A fault is a status (400 to 599), `hang`, or after how many bytes to stop; `server.always` is
    the fault of every other answer.
    """

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        if not self._fails(self.server.always):
            self._answer(body=False)

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Range")))
        faults = self.server.faults.get(self.path, [])
        fault = faults.pop(0) if faults else self.server.always
        if not self._fails(fault):
            self._answer(body=True, cut=fault)

    def _fails(self, fault):
        if fault == "hang":
            time.sleep(self.server.patience)
            self.close_connection = True
            return True
        if isinstance(fault, int) and 400 <= fault < 600:
            self._headers(fault, 0)
            return True
        return False

    def _headers(self, code, length, **more):
        self.send_response(code)
        for key, value in {"Content-Length": str(length), **more}.items():
            self.send_header(key, value)
        self.end_headers()

    def _answer(self, body, cut=None):
        content = self.server.files.get(self.path)
        if content is None:
            return self._headers(404, 0)
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        more, code = {"ETag": tag, **self.server.headers}, 200
        wanted = self.headers.get("Range")
        if wanted and self.headers.get("If-Range") == tag:
            start = int(wanted.removeprefix("bytes=").split("-")[0])
            more["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            content, code = content[start:], 206
        self._headers(code, len(content), **more)
        if body:
            self.wfile.write(content[:cut])
            if cut is not None:
                self.close_connection = True
        return None


@contextlib.contextmanager
def serve(files, headers=(), patience=3.0):
    """Yields a server of {path: bytes} on a free port; `.url` is its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    server.files, server.faults, server.asked = dict(files), {}, []
    server.always = None
    server.headers, server.patience = dict(headers), patience
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()

"""Faults in a finished study, and what each of them ends in.

The steps are the very scripts that Snakemake started, with their parameters (it keeps them with
`--skip-script-cleanup`), run one at a time in forked children of a process that has the libraries
loaded. What a step makes afterwards is held against what it made undisturbed, byte for byte.
"""

import contextlib
import logging
import os
import random
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flow import snakemake

from consilience.files import file_digest

SAME, CLEAR = "same bytes", "one sentence"
"""The two endings that are right."""
SILENT, TRACEBACK, HANG, KILLED, LEFT = "silent", "traceback", "hang", "killed", "left over"
SECONDS = 60
"""After which a step hangs: undisturbed, none takes more than three."""
MODELS = """\
model\tsource\tname\tmodality\tinput_size\tweights\tkind
p4\traw\tpixels\timage\t4\t\tcoarse
p6\traw\tpixels\timage\t6\t\tcoarse
p8\traw\tpixels\timage\t8\t\tfine
p10\traw\tpixels\timage\t10\t\tfine
"""
DATASETS = """\
dataset\tsource\tname\tmodality
one\tpackaged\tshapes:48\timage
two\tpackaged\tshapes:60\timage
"""
STUDY = """\
models: "modality == 'image'"
datasets: "modality == 'image'"
metrics: [mutual_knn_k10, mutual_knn_k5, cka_debiased]
catalogs: {models: [models.tsv], datasets: [datasets.tsv], metrics: [metrics.yaml]}
consistency: {groups: [kind], models: null, bootstrap: 100, permutations: 99}
probe: {penalties: [0.01], seeds: [0]}
reliability: {splits: 2}
alignment: {}
behavior: {bootstrap: 100, permutations: 99}
"""
METRICS = """\
mutual_knn_k5: {metric: mutual_knn, k: 5}
mutual_knn_k10: {metric: mutual_knn, k: 10}
cka_debiased: {metric: cka}
"""
TARGETS = (
    "all_similarity", "all_consistency", "all_probe", "all_behavior", "all_reliability",
    "all_explorer",
)  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One job as Snakemake started it."""

    rule: str
    text: str
    path: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    log: str


@dataclass(frozen=True)
class Ending:
    """What a step ended in, and what it said."""

    kind: str
    said: str = ""


class Finished:
    """A study that ran once without a fault; `restore` brings its results back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.steps = list(_steps(folder))
        self.kept = folder / "undisturbed"
        shutil.copytree(folder / "results", self.kept)
        self.digests = {
            path.relative_to(self.kept).as_posix(): file_digest(path)
            for path in sorted(self.kept.rglob("*"))
            if path.is_file()
        }

    def restore(self) -> None:
        """Puts every file of the results back; links, since nothing writes into a file."""
        shutil.rmtree(self.folder / "results", ignore_errors=True)
        shutil.copytree(self.kept, self.folder / "results", copy_function=os.link)

    def untouched(self) -> list[str]:
        """Returns the kept files that something wrote into, which none should."""
        return [n for n, digest in self.digests.items() if file_digest(self.kept / n) != digest]

    def readers(self, name: str) -> list[Step]:
        """Returns the steps that have a file of the results among their inputs."""
        return [step for step in self.steps if f"results/{name}" in step.inputs]

    def run(self, step: Step, hook: Callable[[], None] | None = None) -> Ending:
        """Runs a step, its outputs absent before, in a child."""
        for output in step.outputs:
            _remove(self.folder / output)
        return in_child(lambda: _play(step, self.folder, hook), self.folder / step.log)

    def differing(self, step: Step) -> list[str]:
        """Returns the outputs of a step that are not as they were undisturbed."""
        names = [output.removeprefix("results/") for output in step.outputs]
        return [
            name
            for name in names
            if not (path := self.folder / "results" / name).is_file()
            or (file_digest(path) != self.digests[name] and not self._as_page(name, step))
        ]

    def _as_page(self, name: str, step: Step) -> bool:
        """Returns whether a page differs only in the hash of a file that it shows as it lies.

        A bit that says nothing, as in what Parquet notes of the least value, changes this hash.
        """
        if not name.endswith(".html"):
            return False
        text = (self.folder / "results" / name).read_text(encoding="utf8")
        for read in step.inputs:
            if was := self.digests.get(read.removeprefix("results/")):
                text = text.replace(file_digest(self.folder / read), was)
        return text == (self.kept / name).read_text(encoding="utf8")

    def left_over(self) -> list[str]:
        """Returns the files that an undisturbed run does not leave."""
        results = self.folder / "results"
        found = {p.relative_to(results).as_posix() for p in results.rglob("*") if p.is_file()}
        return sorted(found - set(self.digests))

    def judge(self, step: Step, ending: Ending) -> Ending:
        """Returns the ending with `silent` for what ended well and is not the same.

        A hidden output tells of the run that made it; those that read it are run and judged.
        """
        if ending.kind != SAME:
            return ending
        if _hidden(step.outputs[0]):
            for reader in self.readers(step.outputs[0].removeprefix("results/")):
                ending = self.judge(reader, self.run(reader))
                if ending.kind != SAME:
                    break
        elif wrong := self.differing(step):
            return Ending(SILENT, ", ".join(wrong))
        return ending


def finished(folder: Path) -> Finished:
    """Runs the study of the campaign in a clone, and returns it."""
    for name, text in {
        "models.tsv": MODELS, "datasets.tsv": DATASETS, "study.yaml": STUDY, "metrics.yaml": METRICS
    }.items():  # fmt: skip
        (folder / name).write_text(text, encoding="utf8")
    snakemake(folder, "--cores", "2", "--skip-script-cleanup", *TARGETS)
    return Finished(folder)


def _steps(folder: Path) -> Iterator[Step]:
    scripts = (folder / ".snakemake" / "scripts").glob("*.py")
    for path in sorted(scripts, key=lambda path: path.stat().st_mtime):
        text = path.read_text(encoding="utf8")
        head = next(line for line in text.splitlines() if "pickle.loads" in line)
        before, space = list(sys.path), {"__file__": str(path)}
        exec(head, space)
        sys.path[:] = before
        job = space["snakemake"]
        yield Step(
            job.rule, text, str(path), tuple(map(str, job.input)), tuple(map(str, job.output)),
            str(job.log[0]),
        )  # fmt: skip


def _play(step: Step, folder: Path, hook: Callable[[], None] | None) -> None:
    os.chdir(folder)
    space: dict[str, Any] = {"__name__": "__main__", "__file__": step.path}
    code = compile(step.text, step.path, "exec")
    if hook:
        hook()
    exec(code, space)


def in_child(play: Callable[[], None], log: Path | None = None, seconds: float = SECONDS) -> Ending:
    """Runs something in a forked child and says how it ended."""
    said = Path(f"{log or 'said'}.said").resolve()
    said.parent.mkdir(parents=True, exist_ok=True)
    pid = os.fork()
    if pid == 0:  # pragma: no cover - the child
        _child(play, said)
    end = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return Ending(HANG, f"longer than {seconds:g} s")
        time.sleep(0.005)
    text = said.read_text(encoding="utf8", errors="replace")
    if log and log.is_file():
        text += log.read_text(encoding="utf8", errors="replace")
    said.unlink()
    if os.WIFSIGNALED(status):
        return Ending(KILLED, f"signal {os.WTERMSIG(status)}")
    if os.WEXITSTATUS(status) == 0:
        return Ending(SAME, text)
    return Ending(TRACEBACK if "Traceback (most recent" in text else CLEAR, text)


def _child(play: Callable[[], None], said: Path) -> None:  # pragma: no cover - the child
    code = 0
    stream = said.open("w", buffering=1, encoding="utf8")
    os.dup2(stream.fileno(), 1)
    os.dup2(stream.fileno(), 2)
    sys.stdout = sys.stderr = stream
    for handler in list(logging.root.handlers):
        logging.root.removeHandler(handler)
    try:
        play()
    except BaseException:
        code = 1
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
            stream.flush()
        os._exit(code)


def kill_at(place: int, folder: Path) -> Callable[[], None]:
    """Returns a hook that kills the process at its n-th operation on a file of the results."""
    return _counting(folder, lambda count: count == place and os.kill(os.getpid(), signal.SIGKILL))


def count_operations(study: Finished, step: Step) -> int:
    """Returns how many operations on files of the results a step makes."""
    note = study.folder / "operations"
    study.run(step, _counting(study.folder, lambda count: note.write_text(str(count))))
    return int(note.read_text()) if note.exists() else 0


def _counting(folder: Path, act: Callable[[int], Any]) -> Callable[[], None]:
    """Returns a hook that calls `act` with the number of each operation on the results."""
    results, state = str(folder / "results"), {"count": 0, "busy": False}
    kinds = {"os.rename", "os.remove", "os.mkdir", "os.link", "os.truncate", "os.rmdir"}

    def heard(event: str, arguments: tuple) -> None:
        if state["busy"] or (event != "open" and event not in kinds):
            return
        mode = arguments[1] if event == "open" else "w"
        name = arguments[0]
        if not isinstance(name, str | bytes | os.PathLike):
            return
        path = str(Path.cwd() / os.fsdecode(name))
        writes = event != "open" or (isinstance(mode, str) and set(mode) & set("wxa+"))
        if writes and path.startswith(results):
            state["busy"] = True
            state["count"] += 1
            act(state["count"])
            state["busy"] = False

    return lambda: sys.addaudithook(heard)


def little_room(size: int) -> Callable[[], None]:
    """Returns a hook after which no file can grow beyond some bytes: as a full disk."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


# What befalls a file. Each takes the file and others of its kind, and a source of chance.


def truncated(path: Path, others: list[Path], chance: random.Random) -> None:
    """Leaves the beginning of a file."""
    content = path.read_bytes()
    _put(path, content[: chance.randrange(1, max(2, len(content)))])


def emptied(path: Path, others: list[Path], chance: random.Random) -> None:
    """Leaves nothing of it."""
    _put(path, b"")


def flipped(path: Path, others: list[Path], chance: random.Random) -> None:
    """Flips one bit anywhere."""
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    _put(path, bytes(content))


def zeroed(path: Path, others: list[Path], chance: random.Random) -> None:
    """Overwrites the end with zeros, as a machine that lost its power may."""
    content = path.read_bytes()
    cut = chance.randrange(len(content))
    _put(path, content[:cut] + bytes(len(content) - cut))


def text_instead(path: Path, others: list[Path], chance: random.Random) -> None:
    """Puts some text in its place."""
    _put(path, b"no such thing\n" * 20)


def exchanged(path: Path, others: list[Path], chance: random.Random) -> None:
    """Puts another file of its kind in its place."""
    content = path.read_bytes()
    different = [other for other in others if other.read_bytes() != content]
    _put(path, chance.choice(different).read_bytes() if different else b"")


def folder_instead(path: Path, others: list[Path], chance: random.Random) -> None:
    """Puts a folder in its place."""
    path.unlink()
    path.mkdir()


def gone(path: Path, others: list[Path], chance: random.Random) -> None:
    """Takes it away."""
    path.unlink()


DAMAGES = (
    truncated, emptied, flipped, zeroed, text_instead, exchanged, folder_instead, gone
)  # fmt: skip


def _put(path: Path, content: bytes) -> None:
    path.unlink()  # others may be the same file
    path.write_bytes(content)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Fault:
    """One fault: what befalls what, before or while which step runs."""

    kind: str
    name: str
    step: Step
    befall: Callable[[random.Random], Ending]


def faults(study: Finished, count: int, seed: int = 0) -> Iterator[Fault]:
    """Yields faults, as many of each kind as of any other, drawn at random."""
    chance = random.Random(seed)
    kinds = _all_faults(study)
    for found in kinds.values():
        chance.shuffle(found)
    while count and any(kinds.values()):
        for found in kinds.values():
            if found and count:
                count -= 1
                yield found.pop()


def _all_faults(study: Finished) -> dict[str, list[Fault]]:
    found: dict[str, list[Fault]] = {}
    for name in study.digests:
        hidden = _hidden(name)
        for step in _users(study, name) if hidden else study.readers(name):
            for damage in DAMAGES:
                if damage is gone and not hidden:
                    continue  # the job would not be started
                kind = f"{'cache' if hidden else 'file'} {damage.__name__.replace('_', ' ')}"
                found.setdefault(kind, []).append(_damage(study, kind, name, step, damage))
    for step in study.steps:
        for kind, act in (
            ("killed at a file operation", _killed),
            ("no room for its files", _no_room),
            ("two runs at once", _twice),
        ):
            fault = Fault(kind, step.rule, step, lambda chance, s=step, a=act: a(study, s, chance))
            found.setdefault(kind, []).append(fault)
    return found


def _hidden(name: str) -> bool:
    """Returns whether a file is a cache, or tells of a run."""
    return "/." in name


def _users(study: Finished, name: str) -> list[Step]:
    """Returns the steps that may read a cache: of its dataset, and its metric if it is of one."""
    dataset, stem = name.split("/")[1], Path(name).stem
    of = [
        step
        for step in study.steps
        if step.rule in ("similarity", "shared") and f"/{dataset}/" in step.outputs[0]
    ]
    return [step for step in of if Path(step.outputs[0]).stem == stem] or of


def _damage(study: Finished, kind: str, name: str, step: Step, damage: Callable) -> Fault:
    def befall(chance: random.Random) -> Ending:
        path = study.folder / "results" / name
        if _hidden(name) and "/.pairs/" not in name:  # its pairs are known: nothing would be read
            for pairs in (study.folder / "results" / "similarity").glob("*/.pairs"):
                shutil.rmtree(pairs)
        alike = [study.kept / other for other in study.digests if _alike(name, other)]
        damage(path, alike, chance)
        return study.judge(step, study.run(step))

    return Fault(kind, name, step, befall)


def _alike(name: str, other: str) -> bool:
    """Returns whether two files of the results are of one kind."""
    one, two = Path(name), Path(other)
    same = one.suffix == two.suffix and one.parts[:2] == two.parts[:2]
    return name != other and same and _hidden(name) == _hidden(other)


def _killed(study: Finished, step: Step, chance: random.Random) -> Ending:
    operations = count_operations(study, step)
    study.run(step, kill_at(chance.randint(1, max(1, operations)), study.folder))
    return _afterwards(study, step)


def _no_room(study: Finished, step: Step, chance: random.Random) -> Ending:
    ending = study.run(step, little_room(chance.choice([0, 1, 100, 1000, 10_000])))
    if ending.kind not in (SAME, CLEAR):
        return ending
    return _afterwards(study, step)


def _twice(study: Finished, step: Step, chance: random.Random) -> Ending:
    for output in step.outputs:
        _remove(study.folder / output)

    def both() -> None:
        other = os.fork()
        if other == 0:
            os.setpgrp()
        _play(step, study.folder, None)
        if other:
            os.waitpid(other, 0)

    ending = in_child(both, study.folder / step.log)
    return ending if ending.kind not in (SAME, CLEAR) else _afterwards(study, step)


def _afterwards(study: Finished, step: Step) -> Ending:
    """Runs a step once more, as a rerun would, and says whether all is as it was."""
    ending = study.judge(step, study.run(step))
    if ending.kind == SAME and (left := study.left_over()):
        return Ending(LEFT, ", ".join(left))
    return ending

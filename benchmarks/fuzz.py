"""A fuzzer on our own readers that is led by which lines run; outside of every test.

    pip install --no-deps -r envs/fuzz.txt
    python benchmarks/fuzz.py [SECONDS] [KIND …]

Runs a small study once, writes a sound file of every kind (`tests/bad_inputs.py`) and lets atheris
change it, each kind in a process of its own for so many seconds (60). Found is what ends in another
error than one of ours, takes longer than 20 s or more than 4 GB, or is read as something else where
a check sum should have told. What is found lies under `fuzz/KIND`, so that it can be tried again.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import logging
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

FOUND = ROOT / "fuzz"
MEGABYTES, SECONDS_EACH, BYTES = 4096, 20, 1 << 16


def main(seconds: int = 60, *names: str) -> None:
    """Fuzzes kinds of files, all if none is named, and says what came of each."""
    import bad_inputs  # noqa: PLC0415 - so that the children import what atheris has looked at
    import campaign  # noqa: PLC0415
    from clones import clone_to  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clone_to(folder / "clone")
        kinds = bad_inputs.kinds(campaign.finished(folder / "clone"), folder / "sound")
        wrong = [name for name in names if name not in {kind.name for kind in kinds}]
        if wrong:
            sys.exit(f"no kind {wrong[0]!r}; there are {', '.join(kind.name for kind in kinds)}")
        ends = [
            _fuzz(kind.name, folder, seconds) for kind in kinds if kind.name in names or not names
        ]
    sys.exit(any(ends))


def _fuzz(name: str, folder: Path, seconds: int) -> int:
    """Fuzzes a kind in a process of its own; returns 0 if nothing was found."""
    place = FOUND / re.sub(r"\W", "_", name)
    place.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [
            sys.executable, __file__, "--child", name, str(folder),
            f"-max_total_time={seconds}", f"-timeout={SECONDS_EACH}", f"-max_len={BYTES}",
            f"-rss_limit_mb={MEGABYTES}", f"-artifact_prefix={place}/", "-print_final_stats=1",
        ],
        check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    runs = re.search(r"stat::number_of_executed_units: (\d+)", done.stdout)
    covered = re.findall(r" cov: (\d+) ", done.stdout)
    print(
        f"{name}: {runs[1] if runs else '?'} inputs, {covered[-1] if covered else '?'} places of "
        f"the code seen, {'nothing found' if done.returncode == 0 else 'FOUND'}",
        flush=True,
    )
    if done.returncode:
        print(done.stdout[-3000:], flush=True)
    return done.returncode


def _child(name: str, folder: Path, *settings: str) -> None:
    """Reads what atheris makes of the sound file of a kind, until the time is over."""
    import atheris  # noqa: PLC0415 - only here it is needed

    with atheris.instrument_imports(include=["consilience"]):
        import bad_inputs  # noqa: PLC0415

        from consilience.errors import ConsilienceError  # noqa: PLC0415
    logging.disable()
    clone = folder / "clone"
    study = SimpleNamespace(folder=clone, kept=clone / "undisturbed")
    kind = next(
        k for k in bad_inputs.kinds(study, folder / f"again {os.getpid()}") if k.name == name
    )
    sound = kind.read(kind.file)
    corpus = folder / "corpus" / kind.file.name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate([kind.file.read_bytes(), *bad_inputs.spoilt(kind, 20)]):
        (corpus / str(number)).write_bytes(content)
    spoilt = folder / "spoilt" / kind.file.name
    spoilt.parent.mkdir(exist_ok=True)

    def one(content: bytes) -> None:
        spoilt.write_bytes(content)
        try:
            said = kind.read(spoilt)
        except ConsilienceError:
            return
        if kind.sealed and said != sound:
            raise AssertionError("read as something else")

    # Led by comparisons it forges check sums, which are for what happens and not for who forges.
    settings = (*settings, f"-use_cmp={int(not kind.sealed)}")
    atheris.Setup([sys.argv[0], *settings, str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        _child(sys.argv[2], Path(sys.argv[3]), *sys.argv[4:])
    else:
        main(*map(int, sys.argv[1:2]), *sys.argv[2:])

"""The long campaign of faults and bad inputs; writes `benchmarks/faults.md`.

    python benchmarks/faults.py [FAULTS] [INPUTS] [SEED]

Runs a small study once, then its steps' own scripts beside one fault at a time
(`tests/campaign.py`), and reads files that were spoilt at random (`tests/bad_inputs.py`). Counts
what each ends in. A quarter of an hour of one core.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import bad_inputs  # noqa: E402 - of the tests
import campaign  # noqa: E402
from clones import clone_to  # noqa: E402

PAGE = Path(__file__).with_suffix(".md")


def main(faults: int = 500, inputs: int = 1000, seed: int = 1) -> None:
    """Runs the campaign and writes its page; says everything that did not end well."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clone_to(folder / "clone")
        study = campaign.finished(folder / "clone")
        of_faults = _faults(study, faults, seed)
        of_inputs = _inputs(study, folder, inputs, seed)
    _write(of_faults, of_inputs, seed)


def _faults(study: campaign.Finished, count: int, seed: int) -> Counter:
    found: Counter = Counter()
    for number, fault in enumerate(campaign.faults(study, count, seed)):
        study.restore()
        ending = fault.befall(random.Random(f"{seed} {number}"))
        found[fault.kind, ending.kind] += 1
        if ending.kind not in (campaign.SAME, campaign.CLEAR):
            print(f"{fault.kind}: {fault.name}, {fault.step.rule}: {ending.kind}\n{ending.said}")
    if touched := study.untouched():
        sys.exit(f"written into, not anew: {touched}")
    return found


def _inputs(study: campaign.Finished, folder: Path, count: int, seed: int) -> Counter:
    found: Counter = Counter()
    kinds = bad_inputs.kinds(study, folder / "sound")
    for place, kind in enumerate(kinds):
        share = count // len(kinds) + (place < count % len(kinds))
        for content in bad_inputs.spoilt(kind, share, seed):
            ending = bad_inputs.ending_of(kind, content, folder / "spoilt")
            found[kind.name, ending.kind] += 1
            if ending.kind not in (campaign.SAME, campaign.CLEAR, bad_inputs.ANOTHER):
                print(f"{kind.name}: {ending.kind}\n{ending.said}")
    return found


def _write(faults: Counter, inputs: Counter, seed: int) -> None:
    wrong = (campaign.SILENT, campaign.TRACEBACK, campaign.HANG, campaign.KILLED, campaign.LEFT)
    right = (campaign.SAME, campaign.CLEAR)
    command = f"python benchmarks/faults.py {sum(faults.values())} {sum(inputs.values())} {seed}"
    lines = [
        "# Faults and bad inputs",
        "",
        f"Made by `{command}`. What is injected, and how it is",
        "judged: `tests/campaign.py`, `tests/bad_inputs.py`. Right are the same bytes after a",
        "rerun and one sentence; of files of others nothing says what they should be, so they",
        "may also be read as something else.",
        "",
        *_table("fault", faults, [*right, *wrong]),
        "",
        *_table("file", inputs, [*right, bad_inputs.ANOTHER, *wrong]),
    ]
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf8")
    print("\n".join(lines))


def _table(head: str, found: Counter, endings: list[str]) -> list[str]:
    rows = [[head, "tried", *endings], ["---"] * (len(endings) + 2)]
    kinds = list(dict.fromkeys(kind for kind, _ in found))
    rows += [[k, *_counts(found, [k], endings)] for k in kinds]
    rows.append(["**all**", *_counts(found, kinds, endings)])
    return ["| " + " | ".join(row) + " |" for row in rows]


def _counts(found: Counter, kinds: list[str], endings: list[str]) -> list[str]:
    tried = sum(count for (kind, _), count in found.items() if kind in kinds)
    return [str(tried), *(str(sum(found[kind, one] for kind in kinds) or "") for one in endings)]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

"""Tries every family of timm and transformers, small and with random weights.

Each architecture is tried in a process of its own with a time limit. What came of it is kept, so
that a run that was stopped goes on: delete benchmarks/families/ to begin again. The table is
docs/families.md.

Usage: python benchmarks/families.py [--library timm|transformers] [--only WORD] [--seconds 300]
    [--again wrong,failed]
"""

import argparse
import json
import multiprocessing
import platform
import re
import resource
import tempfile
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import families_timm
import families_transformers
import timm
import torch
import transformers

from consilience import __version__

Job = tuple[str, ...]
HERE = Path(__file__).parent
KEPT = HERE / "families"
OUT = HERE.parent / "docs" / "families.md"
MANY_WEIGHTS, MOST_WEIGHTS = 3e7, 1e8
"""Of networks of timm that are tried: up to the first; up to the second, a module's smallest."""
MOST_MEMORY = 10 * 2**30
_SIZES = "tiny nano pico small base large huge so xs xxs s m l b t xl little medium"
_FAMILY = re.compile(rf"\d|_(?:{'|'.join(_SIZES.split())})(?:_|$)")
MEANING = {
    "right": "every layer of `all` is the mean over positions or tokens of what its block puts out",
    "refused": "the row is refused, with the sentence that is given",
    "failed": "the network could not be built or run at this size, so nothing is known of it",
    "wrong": "a value is not the one wanted",
}
INTRO = """# Families of networks that were tried

By `python benchmarks/families.py`, consilience {own}, timm {timm}, transformers {transformers},
torch {torch}, {machine}. Networks are small and their weights random, gains and offsets moved away
from where blocks look alike. What a row of the catalogue with `layers` = `all` gives is compared
with what the library says, or the blocks put out:

- timm: with forward_intermediates (else features_only), the smallest architecture of each
  family; layers that it does not list by the shape of their maps (those of square pictures are
  square, tokens a square number and the network's own count of class tokens and registers); and
  pre_logits with forward_head. Limit: {limit:g} of the norm.
- transformers, texts: each layer with the output of its block; a text twice, and alone and beside
  a longer one; a loss with the scores of all tokens, if predictions do not move when the last
  token changes. Pictures: with the maps of the library's backbone, where it has one, else by shape;
  a picture twice, and alone and beside another.

"""


def choose_timm() -> list[Job]:
    """Returns the smallest architecture of every family of every module of timm."""
    best: dict[tuple[str, str], tuple[int, str]] = {}
    least: dict[str, tuple[int, str]] = {}
    for name, size in _sizes().items():
        module = module_of(name)
        key = (module, _FAMILY.split(name)[0].rstrip("_"))
        best[key] = min(best.get(key, (size, name)), (size, name))
        least[module] = min(least.get(module, (size, name)), (size, name))
    chosen = {one for one in best.values() if one[0] < MANY_WEIGHTS}
    chosen |= {one for one in least.values() if one[0] < MOST_WEIGHTS}
    return [("timm", name) for _, name in sorted(chosen)]


def module_of(name: str) -> str:
    """Returns the module of timm that builds an architecture."""
    return timm.model_entrypoint(name).__module__.rpartition(".")[2]


def _sizes() -> dict[str, int]:
    """Returns the number of weights of all architectures of timm; kept, as it takes minutes."""
    place = KEPT / f"weights-{timm.__version__}.json"
    if not place.exists():
        found = {}
        for name in timm.list_models():
            with torch.device("meta"):
                network = timm.create_model(name, pretrained=False)
            found[name] = sum(weight.numel() for weight in network.parameters())
        place.parent.mkdir(exist_ok=True)
        place.write_text(json.dumps(found))
    return json.loads(place.read_text())


def choose_transformers() -> list[Job]:
    """Returns all architectures of texts, once for each head, and of pictures."""
    texts = [("text", *head) for head in families_transformers.text_heads()]
    return [*texts, *(("image", kind) for kind in families_transformers.image_kinds())]


def run(job: Job, seconds: float) -> dict[str, str]:
    """Returns what came of one architecture, in a process that is stopped when time is up."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=_work, args=(job, there))
    process.start()
    there.close()
    found = {"result": "failed", "text": f"not done in {seconds:g} s"}
    try:
        if here.poll(seconds):
            found = here.recv()
    except EOFError:
        found = {"result": "failed", "text": "the process died"}
    process.kill()
    process.join()
    return found


def _work(job: Job, pipe: multiprocessing.connection.Connection) -> None:
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    library, *rest = job
    try:
        if library == "timm":
            found = families_timm.try_one(*rest)
        else:
            found = families_transformers.try_one(library, *rest)
        pipe.send(found.__dict__)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        pipe.send({"result": "failed", "text": reason[:300]})


def kept() -> dict[Job, dict[str, str]]:
    """Returns what is known from earlier runs; the last word on a job counts."""
    place = KEPT / "results.jsonl"
    lines = place.read_text().splitlines() if place.exists() else []
    return {tuple(one["job"]): one for one in map(json.loads, lines)}


def table(jobs: list[Job], known: dict[Job, dict[str, str]]) -> Iterator[str]:
    """Yields the lines of the page."""
    yield INTRO.format(
        own=__version__,
        timm=version("timm"),
        transformers=version("transformers"),
        torch=torch.__version__,
        machine=platform.machine(),
        limit=families_timm.LIMIT,
    )
    for title, kinds in (("timm", ("timm",)), ("transformers", ("text", "image"))):
        mine = [job for job in jobs if job[0] in kinds and job in known]
        counts = {word: sum(known[job]["result"] == word for job in mine) for word in MEANING}
        families = {_family(job) for job in mine if known[job]["result"] != "failed"}
        yield f"## {title}: {len(mine)} architectures, {len(families)} families\n"
        for word, count in counts.items():
            if count:
                yield f"- {word}, {count}: {MEANING[word]}."
        yield "\n| family | tried | | what was found |\n| --- | --- | --- | --- |"
        for job in sorted(mine, key=lambda job: (_family(job).lower(), job)):
            found = known[job]
            yield f"| {_family(job)} | {_tried(job)} | {found['result']} | {_cell(found['text'])} |"
        yield ""


def _family(job: Job) -> str:
    return module_of(job[1]) if job[0] == "timm" else job[1]


def _tried(job: Job) -> str:
    if job[0] == "timm":
        return job[1]
    return "pictures" if job[0] == "image" else f"texts, {job[2]}"


def _cell(text: str) -> str:
    text = re.sub(r"^model '[^']*': ", "", " ".join(text.split()))[:300]
    text = re.sub(rf"{re.escape(tempfile.gettempdir())}/\w+", "FOLDER", text)
    return text.replace("|", "\\|").replace("<", "&lt;").replace("`", "'")


def main() -> None:
    """Tries what was not tried, and writes the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--library", choices=["timm", "transformers"])
    parser.add_argument("--only", default="", help="a word in the names to try")
    parser.add_argument("--seconds", type=float, default=300, help="for one architecture")
    parser.add_argument("--again", default="", help="results to try again, such as wrong,failed")
    options = parser.parse_args()
    jobs = [*choose_timm(), *choose_transformers()]
    known = kept()
    for job in jobs:
        mine = options.library in (None, "timm" if job[0] == "timm" else "transformers")
        done = job in known and known[job]["result"] not in options.again.split(",")
        if not mine or done or options.only not in " ".join(job):
            continue
        found = {"job": list(job), **run(job, options.seconds)}
        print(*job, found["result"], found["text"], flush=True)
        KEPT.mkdir(exist_ok=True)
        with (KEPT / "results.jsonl").open("a") as stream:
            stream.write(json.dumps(found) + "\n")
    OUT.write_text("\n".join(table(jobs, kept())))


if __name__ == "__main__":
    main()

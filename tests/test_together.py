"""Jobs that go on with the files of others of their kind."""

import logging
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake.iocontainers import Namedlist

from consilience import together
from consilience.logs import log_to


def job_of(name, **params):
    """A job that makes name.out of name.in, as Snakemake hands it to a script."""
    return SimpleNamespace(
        rule=SimpleNamespace(script="../workflow/scripts/kind.py"),
        input=Namedlist(fromdict={"text": f"{name}.in"}),
        output=Namedlist(fromdict={"text": f"below/{name}.out"}),
        params=Namedlist(fromdict=params or {"sign": ("!", 1)}),
        wildcards=Namedlist(fromdict={"name": name}),
        threads=1,
        config={"end": "."},
    )


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    monkeypatch.setattr(together, "_maker", None)
    # as in a process that has just begun
    monkeypatch.setattr(together, "SECONDS", together.SECONDS + time.process_time())
    monkeypatch.chdir(tmp_path)
    hook, stderr, handlers = sys.excepthook, sys.stderr, logging.getLogger().handlers[:]
    Path("below").mkdir()
    for name in "abc":
        Path(f"{name}.in").write_text(name, encoding="utf8")
    yield {name: job_of(name) for name in "abc"}
    sys.excepthook, sys.stderr = hook, stderr
    logging.getLogger().handlers[:] = handlers


class Maker:
    """Makes files and counts them."""

    def __init__(self, wrong=()):
        self.made, self.wrong = [], wrong

    def __call__(self, job):
        text = Path(job.input.text).read_text(encoding="utf8")
        self.made.append(text)
        logging.getLogger("maker").warning("making %s", text)
        if text in self.wrong:
            raise ValueError(text)
        content = text + job.params.sign[0] + job.config["end"]
        Path(job.output.text).write_text(content, encoding="utf8")


def run(job, maker):
    """A job in a process of its own, as far as logs go."""
    logging.getLogger().handlers.clear()
    log = Path(f"{job.wildcards.name}.log")
    log_to(log)
    together._maker = lambda _module: maker
    together.make_each("consilience.jobs.kind", job)
    return log.read_text(encoding="utf8")


def result(name):
    return Path(f"below/{name}.out").read_text(encoding="utf8")


def test_one_job_makes_what_others_take(jobs):
    together.list_jobs(jobs.values(), ["kind"])
    maker = Maker()
    log = run(jobs["b"], maker)
    assert maker.made == ["b", "a", "c"]
    assert result("b") == "b!." and not Path("below/a.out").exists()
    assert "making b" in log and "making a" not in log
    for name in "ac":
        assert f"making {name}" in run(jobs[name], maker)
        assert result(name) == f"{name}!."
    assert maker.made == ["b", "a", "c"]
    together.forget()
    assert not together.FOLDER.exists()


def test_a_run_of_one_job_and_no_list_make_one(jobs):
    together.list_jobs([jobs["a"]], ["kind"])
    maker = Maker()
    run(jobs["a"], maker)
    together.list_jobs(jobs.values(), ["other"])
    run(jobs["b"], maker)
    assert maker.made == ["a", "b"]


@pytest.mark.parametrize("how", ["content", "again"])
def test_files_of_other_inputs_are_not_taken(jobs, how):
    together.list_jobs(jobs.values(), ["kind"])
    maker = Maker()
    run(jobs["b"], maker)
    new = Path("a.new")
    new.write_text("A" if how == "content" else "a", encoding="utf8")
    new.replace("a.in")
    run(jobs["a"], maker)
    assert maker.made[3:] == ["A" if how == "content" else "a"]
    assert result("a") == f"{maker.made[3]}!."


def test_files_of_other_parameters_are_not_taken(jobs):
    together.list_jobs(jobs.values(), ["kind"])
    maker = Maker()
    run(jobs["b"], maker)
    run(job_of("a", sign=["?"]), maker)
    assert result("a") == "a?."


def test_inputs_that_are_to_be_made_are_awaited(jobs):
    source = SimpleNamespace(**vars(jobs["a"]) | {"rule": SimpleNamespace(script=None)})
    source.output = Namedlist(["a.in"])
    time.sleep(0.02)
    together.list_jobs([*jobs.values(), source], ["kind"])
    Path("c.in").unlink()  # and one that is not there
    maker = Maker()
    run(jobs["b"], maker)
    assert maker.made == ["b"]
    time.sleep(0.02)
    Path("a.in").write_text("new", encoding="utf8")
    run(jobs["b"], maker)
    assert maker.made == ["b", "b", "new"]


def test_what_fails_is_left_to_its_own_job(jobs):
    together.list_jobs(jobs.values(), ["kind"])
    maker = Maker(wrong=["a"])
    run(jobs["b"], maker)
    assert maker.made == ["b", "a", "c"] and not Path("below/a.out").exists()
    with pytest.raises(ValueError, match="a"):
        run(jobs["a"], maker)
    run(jobs["c"], maker)
    assert maker.made == ["b", "a", "c", "a"] and result("c") == "c!."


def test_what_is_slow_is_left_to_its_own_job(jobs, monkeypatch):
    monkeypatch.setattr(together, "LIMIT", 1)
    together.list_jobs(jobs.values(), ["kind"])
    maker = Maker()

    def slow(job):
        if job.wildcards.name == "a":
            try:
                time.sleep(60)
            except Exception as error:  # what takes all errors does not take this for one
                raise AssertionError from error
        maker(job)

    assert "takes too long" in run(jobs["b"], slow)
    assert maker.made == ["b"]  # and it begins with no other
    run(jobs["a"], maker)
    run(jobs["c"], maker)
    assert maker.made == ["b", "a", "c"]


def test_nobody_begins_late_or_with_what_somebody_has(jobs, monkeypatch):
    together.list_jobs(jobs.values(), ["kind"])
    maker = Maker()
    listing = together.FOLDER / "kind" / "jobs.json"
    with together._Work(together._record(jobs["a"]), listing).alone(wait=False) as free:
        assert free
        run(jobs["b"], maker)
    assert maker.made == ["b", "c"]
    together.forget()
    together.list_jobs(jobs.values(), ["kind"])
    monkeypatch.setattr(together, "SECONDS", 0.0)
    run(jobs["b"], maker)
    assert maker.made == ["b", "c", "b"]


def test_jobs_with_parameters_that_are_not_plain_are_not_listed(jobs):
    other = job_of("a", sign={1: "!"})
    together.list_jobs([other, jobs["b"], jobs["c"]], ["kind"])
    maker = Maker()
    run(jobs["b"], maker)
    assert maker.made == ["b", "c"]

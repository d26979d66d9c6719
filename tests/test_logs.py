"""What is said of jobs where Snakemake is asked to be quiet."""

import logging

from consilience.logs import FailureTeller


def said(capsys, level, log):
    """What is printed of a record as Snakemake makes them of jobs that begin and that failed."""
    logger = logging.Logger("snakemake")
    logger.addHandler(FailureTeller())
    logger.log(level, "", extra={"rule_name": "probe", "jobid": 1, "log": [str(log)]})
    return capsys.readouterr().err


def test_a_job_that_begins_is_no_failure_though_its_last_log_is_there(tmp_path, capsys):
    """Known to have been wrong: each job made again was called an error, with that log."""
    path = tmp_path / "probe.log"
    path.write_text("INFO 3 of 3 samples\nerror: it broke\n  mend it\n", encoding="utf8")
    assert said(capsys, logging.INFO, path) == ""
    told = said(capsys, logging.ERROR, f"{path} (check log file(s) for error details)")
    assert told == f"Error in rule probe ({path}):\n    error: it broke\n      mend it\n"
    path.unlink()
    assert said(capsys, logging.ERROR, path) == ""

"""A bounded part of the campaign of `benchmarks/faults.py`: all faults and bad inputs end well.

With the same bytes after a rerun, or with one sentence; never silently, never in a traceback, never
without an end or a bound.
"""

import random

import bad_inputs
import campaign
import pytest
from clones import clone_to

pytestmark = pytest.mark.workflow

FAULTS, INPUTS = 110, 15
"""How many faults, and how many inputs of each kind: some two minutes with the study."""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The campaign's study, run once without a fault."""
    folder = tmp_path_factory.mktemp("campaign")
    clone_to(folder)
    return campaign.finished(folder)


def test_every_fault_ends_with_the_same_bytes_or_one_sentence(study):
    bad, count = [], 0
    for fault in campaign.faults(study, FAULTS):
        study.restore()
        ending, count = fault.befall(random.Random(count)), count + 1
        if ending.kind not in (campaign.SAME, campaign.CLEAR):
            bad.append(
                f"{fault.kind}: {fault.name}, {fault.step.rule}: {ending.kind}, {ending.said}"
            )
    assert not bad, "\n".join(bad)
    assert count == FAULTS
    assert study.untouched() == []


def test_every_bad_input_is_read_as_it_is_or_refused_in_one_sentence(study, tmp_path):
    right = (campaign.SAME, campaign.CLEAR, bad_inputs.ANOTHER)
    bad, count = [], 0
    for kind in bad_inputs.kinds(study, tmp_path / "sound"):
        for content in bad_inputs.spoilt(kind, INPUTS):
            ending, count = bad_inputs.ending_of(kind, content, tmp_path / "spoilt"), count + 1
            if ending.kind not in right:
                bad.append(f"{kind.name} {count}: {ending.kind}, {ending.said[-500:]}")
    assert not bad, "\n".join(bad)
    assert count >= 200

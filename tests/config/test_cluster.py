"""Times in the file of a cluster's partitions."""

import pytest

from consilience.config.cluster import odd_times
from consilience.files import ROOT


@pytest.mark.parametrize(
    ("written", "minutes"),
    [("1:30:45", "5,445"), ("90:00", "5,400"), ('"1:30:45"', ""), ("1440", ""), ("'90:00'", "")],
)
def test_times_that_yaml_reads_as_numbers(tmp_path, written, minutes):
    path = tmp_path / "partitions.yaml"
    path.write_text(f"partitions:\n  cpu: {{max_threads: 8}}\n  gpu: {{max_runtime: {written}}}\n")
    found = odd_times(path)
    assert len(found) == bool(minutes)
    if minutes:
        assert (
            f"partitions.yaml line 3: max_runtime {written} without quotes is {minutes}" in found[0]
        )


def test_what_is_shipped_is_sound_and_what_cannot_be_read_is_left_to_the_plugin(tmp_path):
    assert (ROOT / "profiles/slurm/partitions.yaml").is_file()
    assert odd_times(ROOT / "profiles/slurm/partitions.yaml") == []
    (tmp_path / "a.yaml").write_text("a: [")
    assert odd_times(tmp_path / "a.yaml") == odd_times(tmp_path / "none.yaml") == []

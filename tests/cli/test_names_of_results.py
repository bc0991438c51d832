"""Where results go: by the scan's name, and by the folders it lies in where that name is not the only one."""

import pytest
from mrfpipe.cli.output import targets
from mrfpipe.cli.paths import Scans

from mrfpipe.errors import MismatchError


def names(folder, *paths):
    """Make empty files that pass for raw scans; return what their results are called."""
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    scans = Scans(readable=[folder / path for path in paths])
    found = targets(scans, lambda name: folder / "out" / name)
    assert list(found) == [folder / path for path in paths]
    return [target.relative_to(folder / "out").as_posix() for target in found.values()]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["a/scan.h5", "b/leg.h5"], ["scan", "leg"]),
        (["a/scan.h5", "b/scan.h5"], ["a-scan", "b-scan"]),
        (["a/scan.h5", "b/leg.h5", "b/scan.h5"], ["a-scan", "leg", "b-scan"]),
        (["a/raw/scan.h5", "b/raw/scan.h5"], ["a-raw-scan", "b-raw-scan"]),
        (["a/1/scan.h5", "a/2/scan.h5", "b/1/scan.h5"], ["a-1-scan", "a-2-scan", "b-1-scan"]),
        (["a/scan.h5", "a/b/scan.h5"], ["a-scan", "b-scan"]),
        (["a/../b/scan.h5", "a/scan.h5"], ["b-scan", "a-scan"]),
    ],
)
def test_scans_of_one_name_are_told_apart_by_their_folders(tmp_path, paths, expected):
    (tmp_path / "a").mkdir()
    assert names(tmp_path, *paths) == expected


def test_scans_of_one_name_in_one_folder_are_not_told_apart(tmp_path):
    with pytest.raises(MismatchError, match=r"would both be written to .*; choose another -o for one"):
        names(tmp_path, "a/scan.h5", "a/scan.mrd")


def test_names_that_become_the_same_are_refused(tmp_path):
    with pytest.raises(MismatchError, match="would both be written"):
        names(tmp_path, "a/scan.h5", "b/scan.h5", "c/a-scan.h5")

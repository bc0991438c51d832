import csv
import re

import h5py
import numpy as np
from helpers import small_protocol
from mrfpipe.cli import cohort
from mrfpipe.cli.phantom import command as phantom_command

from mrfpipe.phantom.anatomy import ANATOMIES


def test_a_cohort_goes_on_where_it_ended(run, study, tmp_path):
    line = ("cohort", tmp_path / "c", "--protocol", study / "small.toml", "--slices", 1, "--coils", 2)
    assert "2 scans, 2 of them new" in run(*line, "--subjects", 2).stdout
    first = (tmp_path / "c" / "sub-001.h5").read_bytes()
    assert "3 scans, 1 of them new" in run(*line, "--subjects", 3).stdout
    assert (tmp_path / "c" / "sub-001.h5").read_bytes() == first
    with (tmp_path / "c" / "cohort.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["subject"] for row in rows] == ["sub-001", "sub-002", "sub-003"]
    # Fewer of them leave the scans of the others, and so the rows.
    run(*line, "--subjects", 1)
    assert (tmp_path / "c" / "cohort.csv").read_text().count("\n") == 4
    masks = [np.load(tmp_path / "c" / f"{row['subject']}.truth.npz")["mask"] for row in rows]
    assert masks[0].shape == (1, 64, 64)
    assert not np.array_equal(masks[0], masks[1])
    assert "lists other subjects" in run(*line, "--subjects", 3, "--seed", 1, code=5).stderr
    assert "has 1 slice(s) and 2 coils" in run(*line[:-4], "--slices", 2, "--subjects", 1, code=5).stderr
    (tmp_path / "other.toml").write_text(small_protocol(matrix=32).toml)
    other = [tmp_path / "other.toml" if word == study / "small.toml" else word for word in line]
    complaint = run(*other, "--subjects", 3, code=5).stderr
    assert "sub-001.h5 is a scan of another protocol than t1ff-small; choose another folder, or use" in complaint
    (tmp_path / "later.toml").write_text(small_protocol(matrix=64, duration_ms=9.0).toml)
    later = [tmp_path / "later.toml" if word == study / "small.toml" else word for word in line]
    assert "a scan of another protocol" in run(*later, "--subjects", 3, code=5).stderr
    assert "raw scan" in run("info", tmp_path / "c" / "sub-003.h5").stdout


def test_scans_that_do_not_name_their_sequence_are_kept(run, study, tmp_path):
    """As those of older versions."""
    line = ("cohort", tmp_path, "--protocol", study / "small.toml", "--slices", 1, "--coils", 1, "--subjects", 1)
    run(*line)
    with h5py.File(tmp_path / "sub-001.h5", "r+") as file:
        text = file["dataset/xml"][0]
        file["dataset/xml"][0] = re.sub(rb"<(\w+:)?sequenceName>.*?</(\w+:)?sequenceName>", b"", text)
        assert file["dataset/xml"][0] != text
    assert "1 scans, 0 of them new" in run(*line).stdout


def test_an_interrupted_cohort_tells_what_is_kept(run, study, tmp_path, monkeypatch):
    write = cohort.write_scan

    def interrupted_at_the_second(path, *args, **kwargs):
        if path.stem == "sub-002":
            raise KeyboardInterrupt
        write(path, *args, **kwargs)

    monkeypatch.setattr(cohort, "write_scan", interrupted_at_the_second)
    line = ("cohort", tmp_path, "--protocol", study / "small.toml", "--slices", 1, "--coils", 1, "--subjects", 3)
    told = run(*line, code=130).stderr
    assert told == "mrfpipe: interrupted; 1 of 3 scans are finished and kept; run again to continue.\n"


def test_unseen_regions(run, study, tmp_path):
    line = ("cohort", tmp_path, "--protocol", study / "small.toml", "--slices", 1, "--coils", 2, "--subjects", 1)
    run(*line, "--unseen")
    names = sorted(path.name for path in tmp_path.glob("*.h5"))
    assert names == [f"unseen-001-{region}.h5" for region in ("abdomen", "pelvis", "shoulder")]


def test_every_anatomy_can_be_asked_for():
    option = next(p for p in phantom_command.params if p.name == "anatomy")
    assert list(option.type.choices) == [*ANATOMIES, "spheres"]

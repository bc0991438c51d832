"""What a user can get wrong: each ends with its exit code, one line that names file and cure, and no half result."""

import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest

NO_OUTPUT = "out"


@pytest.fixture
def match(run, study, tmp_path):
    """Match a file and expect an error; nothing may be left behind."""

    def match_and_fail(path, code, *complaints, dictionary=None):
        result = run("match", path, "-d", dictionary or study / "small.h5", "-o", tmp_path / NO_OUTPUT, code=code)
        for complaint in complaints:
            assert complaint in result.stderr
        assert not (tmp_path / NO_OUTPUT).exists() or not list((tmp_path / NO_OUTPUT).iterdir())

    return match_and_fail


@pytest.fixture
def scan(study, tmp_path):
    """A copy of the raw scan to damage."""
    return shutil.copy(study / "leg.h5", tmp_path / "scan.h5")


def test_missing_empty_and_truncated_files(match, scan, tmp_path):
    match(tmp_path / "none.h5", 3, "none.h5 does not exist")
    (tmp_path / "empty.h5").write_bytes(b"")
    match(tmp_path / "empty.h5", 3, "empty.h5")
    whole = scan.read_bytes()
    scan.write_bytes(whole[: len(whole) // 2])
    match(scan, 3, "scan.h5")


def test_not_ismrmrd(match, tmp_path):
    (tmp_path / "text.h5").write_text("hello")
    match(tmp_path / "text.h5", 3, "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    match(tmp_path / "other.h5", 3, "other.h5")


def edit_header(path, old, new):
    with h5py.File(path, "r+") as file:
        text = file["dataset/xml"][0]
        assert old.encode() in text
        file["dataset/xml"][0] = text.replace(old.encode(), new.encode())


def test_cartesian(match, scan):
    edit_header(scan, "<trajectory>goldenangle<", "<trajectory>cartesian<")
    match(scan, 3, "scan.h5", "radial")


def edit_rows(path, change):
    with h5py.File(path, "r+") as file:
        rows = file["dataset/data"][...]
        rows = change(rows)
        del file["dataset/data"]
        file["dataset"].create_dataset("data", data=rows, maxshape=(None,), chunks=True)


def test_fewer_spokes_than_the_protocol(match, scan):
    edit_rows(scan, lambda rows: rows[rows["head"]["idx"]["kspace_encode_step_1"] < 1000])
    match(scan, 4, "scan.h5", "1000", "1400")


def test_dictionary_of_another_protocol(run, match, study, tmp_path):
    text = (study / "small.toml").read_text().replace("te_ms = 4.63", "te_ms = 4.60")
    (tmp_path / "other.toml").write_text(text)
    run("simulate", tmp_path / "other.toml", "-o", tmp_path / "other.h5")
    match(study / "leg.h5", 4, "leg.h5", "4.6", dictionary=tmp_path / "other.h5")
    match(study / "leg.frames.h5", 4, "leg.frames.h5", "another sequence", dictionary=tmp_path / "other.h5")


def test_files_of_another_kind(match, study, tmp_path):
    match(study / "small.h5", 3, "small.h5")
    match(
        study / "leg.h5",
        3,
        "leg.frames.h5 is a frames file of protocol t1ff-small, a dictionary was expected",
        dictionary=study / "leg.frames.h5",
    )
    match(study / "leg.h5", 3, "leg.h5", "a dictionary was expected", dictionary=study / "leg.h5")
    shutil.copy(study / "leg.frames.h5", tmp_path / "future.h5")
    with h5py.File(tmp_path / "future.h5", "r+") as file:
        file.attrs["schema"] = "mrfpipe-frames/99"
    match(tmp_path / "future.h5", 3, "future.h5")


def test_an_output_that_exists(run, study, tmp_path):
    (tmp_path / "leg").mkdir()
    (tmp_path / "leg" / "maps.h5").write_text("mine")
    line = ("match", study / "leg.frames.h5", "-d", study / "small.h5", "-o", tmp_path)
    assert "--force" in run(*line, code=5).stderr
    assert (tmp_path / "leg" / "maps.h5").read_text() == "mine"
    run(*line, "--force")
    assert (tmp_path / "leg" / "FF.nii.gz").exists()
    for command in (("simulate", study / "small.toml", "-o"), ("phantom",)):
        assert "exists" in run(*command, study / "leg.h5", code=5).stderr
    assert "exists" in run("frames", study / "leg.h5", "-o", study / "leg.frames.h5", code=5).stderr


def test_two_scans_of_one_name(run, study, tmp_path):
    line = ("match", study / "leg.h5", study / "leg.frames.h5", "-d", study / "small.h5", "-o", tmp_path)
    assert "would both be written" in run(*line, code=4).stderr


def test_an_unwritable_folder(run, study, tmp_path):
    (tmp_path / "file").write_text("")
    result = run("match", study / "leg.frames.h5", "-d", study / "small.h5", "-o", tmp_path / "file" / "out", code=6)
    assert "cannot be written" in result.stderr
    run("simulate", study / "small.toml", "-o", "/proc/none/d.h5", code=6)


def test_a_full_disk(run, study, tmp_path, monkeypatch):
    import errno

    from mrfpipe.files import sink

    def full(*_args, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sink.Sink, "array", full)
    result = run("simulate", study / "small.toml", "-o", tmp_path / "d.h5", code=6)
    assert "no space left on the disk; free some space" in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_too_small(study, small_disk):
    """In a process of its own: HDF5 is known to crash after a failed flush."""
    line = ("phantom", small_disk / "a.h5", "--protocol", study / "small.toml", "--coils", 2)
    code = "import sys; from mrfpipe.cli import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, line)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 6
    assert "a.h5 cannot be written: it takes 4 MB and 0 MB are free; free some space" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(small_disk.iterdir())


def test_memory(run, study, tmp_path, monkeypatch):
    from mrfpipe.run import source

    monkeypatch.setattr(source, "available_memory", lambda: 1000)
    line = ("match", study / "leg.h5", "-d", study / "small.h5", "-o", tmp_path)
    assert "Reconstruction frame by frame takes" in run(*line, "--recon", "nufft", code=6).stderr
    subspace = run(*line, "--recon", "subspace", code=6).stderr
    assert "subspace of rank 6 takes 0.3 GB, 0.0 GB of memory are free; take" in subspace


def test_a_gpu_that_is_not_there(run, study, tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    line = ("match", study / "leg.h5", "-d", study / "small.h5", "-o", tmp_path, "--device")
    assert "no GPU" in run(*line, "cuda", "--method", "brute", code=6).stderr
    assert "no GPU" in run(*line, "cuda", code=6).stderr


def test_a_zero_voxel_is_nan_and_outside_the_mask(run, study, tmp_path):
    frames = shutil.copy(study / "leg.frames.h5", tmp_path / "zero.h5")
    with h5py.File(frames, "r+") as file:
        slice_, y, x = np.argwhere(file["mask"][...])[500]
        images = file["images"][...]
        images[slice_, :, y, x] = 0
        file["images"][...] = images
    run("match", frames, "-d", study / "small.h5", "-o", tmp_path)
    with h5py.File(tmp_path / "leg" / "maps.h5") as file:
        assert not file["mask"][slice_, y, x]
        assert np.isnan(file["FF"][slice_, y, x])


def test_truth_that_is_missing(run, study, tmp_path):
    frames = shutil.copy(study / "leg.frames.h5", tmp_path / "leg.frames.h5")
    line = ("train", frames, "-o", tmp_path / "model", "--protocol", study / "small.toml")
    assert "leg.truth.npz does not exist; use --labels match" in run(*line, code=3).stderr


def test_models_that_are_none(run, study, tmp_path):
    line = ("reconstruct", study / "leg.frames.h5", "-o", tmp_path / "out", "--model")
    run(*line, tmp_path / "none", code=3)
    run(*line, study / "small.h5", code=3)

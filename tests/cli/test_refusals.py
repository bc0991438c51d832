"""What is not there, in the way or of another kind is refused at once, for what it is, before anything heavy loads."""

import os
import shutil
import subprocess
import sys

import nibabel
import numpy as np
import pytest

from mrfpipe.studies.catalogue import STUDIES

HEAVY = ("torch", "numba", "sigpy", "scipy", "matplotlib", "nibabel")


def refusal(folder, *words):
    """Run a command line in a process of its own; return its exit code, what it says and what heavy it has imported."""
    code = f"""if True:
        import sys
        from mrfpipe.cli import main
        try:
            main(sys.argv[1:], prog_name='mrfpipe')
        finally:
            print([name for name in {HEAVY} if name in sys.modules])"""
    line = [sys.executable, "-c", code, *map(str, words)]
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=folder)
    return done.returncode, done.stderr.splitlines(), done.stdout.strip()


@pytest.mark.parametrize(
    ("line", "code", "complaint"),
    [
        ("match none.h5 -d small.h5 -o out", 3, "none.h5 does not exist"),
        ("match leg.h5 -d none.h5 -o out", 3, "none.h5 does not exist, a dictionary was expected; make one with"),
        ("match leg.h5 -d small.h5 -o leg.h5 --threads 1", 6, "leg.h5 cannot be written to: it is a file"),
        ("match leg.h5 -d small.h5 -o leg.h5/out", 6, "leg.h5/out cannot be written: a part of its path is a file"),
        ("reconstruct none.h5 -o out", 3, "none.h5 does not exist"),
        ("reconstruct leg.h5 -o out --model none", 3, "none does not exist, a trained network was expected"),
        ("frames none.h5 -o f.h5", 3, "none.h5 does not exist"),
        ("frames leg.h5 -o f.h5 --protocol none", 3, "Protocol 'none' is neither a file nor one of"),
        ("simulate none.toml -o d.h5", 3, "Protocol 'none.toml' is neither a file nor one of"),
        ("simulate t1ff-small -o small.h5", 5, "small.h5 exists already; replace it with --force"),
        ("simulate t1ff-small -o d.h5 --rank 999", 2, "the rank cannot be higher"),
        ("train none.h5 -o model", 3, "none.h5 does not exist"),
        ("train leg.h5 -o leg.h5", 5, "leg.h5 is a file and is not replaced by a folder; choose another -o."),
        ("train leg.h5 -o .", 5, ". is a folder without model.json and is not replaced; choose another -o."),
        ("simulate t1ff-small -o .", 5, ". is a folder and is not replaced by a file; choose another -o."),
        ("train leg.h5 -o model --labels match", 2, "--labels match and --dictionary require each other"),
        ("export none -o m.onnx", 3, "none does not exist, a trained network was expected"),
        ("export -o leg.h5", 5, "leg.h5 exists already; replace it with --force"),
        ("export -o none/../m.onnx", 6, "none/../m.onnx cannot be written: its path leads through a folder that does"),
        (
            "match leg.h5 -d small.h5 -o none/../out",
            6,
            "none/../out cannot be written: its path leads through a folder",
        ),
        ("limit t1ff-small -o fig.txt", 2, "the figure is a PNG; give a name that ends in .png, not fig.txt."),
        ("evaluate none leg.truth.npz", 3, "none does not exist, a result"),
        ("phantom leg.h5", 5, "leg.h5 exists already; replace it with --force"),
        ("protocol none.seq -o p.toml", 3, "none.seq does not exist, a Pulseq sequence or a raw scan was"),
        ("report none", 3, "none does not exist, a result"),
        ("info none.h5", 3, "none.h5: the file does not exist"),
        ("compare none leg.truth.npz", 3, "none does not exist, a result"),
        ("study table2 -o leg.h5 --threads 1", 6, "leg.h5 cannot be written to: it is a file"),
        ("study table2 -o leg.h5/out", 6, "leg.h5/out cannot be written: a part of its path is a file"),
    ],
)
def test_a_wrong_path_is_told_before_anything_heavy_is_imported(study, line, code, complaint):
    found, stderr, imported = refusal(study, *line.split())
    assert (found, imported) == (code, "[]"), stderr
    assert complaint in stderr[-1]


@pytest.mark.parametrize(
    "line", ["study agreement -o .", "study --threads 1 -o . agreement"], ids=["name first", "name last"]
)
def test_a_study_whose_last_output_is_there_is_refused_before_anything_heavy_is_imported(tmp_path, line):
    last = f"agreement{STUDIES['agreement'].outputs[-1]}"
    (tmp_path / last).touch()
    code, stderr, imported = refusal(tmp_path, *line.split())
    assert (code, imported) == (5, "[]"), stderr
    assert stderr == [f"mrfpipe: {last} exists already; replace it with --force, or choose another -o."]


def test_of_many_scans_those_that_are_not_there_are_told_at_once_each(study):
    code, stderr, imported = refusal(study, *["match", "none.h5", "small.h5", "-d", "small.h5", "-o", "out"])
    assert (code, imported) == (3, "[]")
    assert stderr[0].startswith("mrfpipe: none.h5 does not exist")
    assert stderr[1].startswith("mrfpipe: small.h5 is a dictionary of protocol t1ff-small, a raw scan or a frames file")
    assert stderr[2:] == ["mrfpipe: 0 done, 0 skipped, 2 failed: none.h5, small.h5"]


@pytest.fixture(scope="module")
def zoo(study, tmp_path_factory):
    """A folder with a file of every kind that may be mistaken for another."""
    folder = tmp_path_factory.mktemp("zoo")
    for name in ("leg.h5", "leg.frames.h5", "small.h5", "leg.truth.npz"):
        (folder / name).symlink_to(study / name)
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2), np.float32), np.eye(4)), folder / "image.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2), np.float32), np.eye(4)), folder / "image.nii")
    (folder / "image.dcm").write_bytes(bytes(128) + b"DICM" + bytes(16))
    (folder / "text.h5").write_text("text")
    (folder / "empty").mkdir()
    (folder / "network").mkdir()
    (folder / "network" / "model.json").write_text("{}")
    (folder / "result").mkdir()
    (folder / "result" / "maps.h5").touch()
    return folder


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("match small.h5 -d small.h5 -o o", "small.h5 is a dictionary of protocol t1ff-small, a raw scan"),
        ("match leg.h5 -d leg.h5 -o o", "leg.h5 is a raw scan (ISMRMRD), a dictionary was expected; make one with"),
        ("match leg.h5 -d leg.frames.h5 -o o", "leg.frames.h5 is a frames file of protocol t1ff-small, a dictionary"),
        ("match image.nii.gz -d small.h5 -o o", "image.nii.gz is a NIfTI image, a raw scan or a frames file was"),
        ("match image.nii -d small.h5 -o o", "image.nii is a NIfTI image, a raw scan"),
        ("match image.dcm -d small.h5 -o o", "image.dcm is a DICOM file, a raw scan"),
        ("match leg.truth.npz -d small.h5 -o o", "leg.truth.npz is the truth of a phantom, a raw scan"),
        ("match network -d small.h5 -o o", "network is a trained network, a raw scan"),
        ("match result -d small.h5 -o o", "result is a result folder, a raw scan"),
        ("match leg.h5 -d text.h5 -o o", "text.h5 is of a kind that mrfpipe does not know, a dictionary was expected"),
        ("frames leg.frames.h5 -o o.h5", "leg.frames.h5 is a frames file of protocol t1ff-small, a raw scan was"),
        ("reconstruct leg.h5 --model leg.h5 -o o", "leg.h5 is a raw scan (ISMRMRD), a trained network was expected"),
        ("reconstruct leg.h5 --model empty -o o", "empty is a folder, a trained network was expected; give the folder"),
        ("reconstruct leg.h5 --model network/model.json -o o", "network/model.json is a part of a trained network"),
        ("export leg.h5 -o o.onnx", "leg.h5 is a raw scan (ISMRMRD), a trained network was expected; give the folder"),
        ("train small.h5 -o o", "small.h5 is a dictionary of protocol t1ff-small, a raw scan or a frames file was"),
        ("evaluate leg.truth.npz result", "leg.truth.npz is the truth of a phantom, a result or a maps file was"),
        ("evaluate result leg.h5", "leg.h5 is a raw scan (ISMRMRD), the truth of a phantom or a result"),
        ("protocol leg.h5 -o o.toml", "leg.h5 is a raw scan (ISMRMRD), a Pulseq sequence or a Siemens Twix scan was"),
        ("report leg.h5", "leg.h5 is a raw scan (ISMRMRD), a result or a maps file was expected"),
        ("info image.nii.gz", "image.nii.gz is a NIfTI image, not a protocol, raw scan, dictionary, frames file,"),
        ("info leg.truth.npz", "leg.truth.npz is the truth of a phantom, not a protocol, raw scan, dictionary,"),
        ("compare leg.truth.npz result", "leg.truth.npz is the truth of a phantom, a result"),
    ],
)
def test_a_file_of_another_kind_is_named_for_what_it_is(run, zoo, monkeypatch, line, complaint):
    monkeypatch.chdir(zoo)
    assert run(*line.split(), code=3).stderr.startswith(f"mrfpipe: {complaint}")


def test_an_evaluation_the_wrong_way_round_says_which_way_is_right(run, zoo):
    result = run("evaluate", zoo / "leg.truth.npz", zoo / "result", code=3)
    assert "give the result first, then the reference" in result.stderr


def test_a_scan_that_may_not_be_read_is_told(run, study, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    scan = shutil.copy(study / "leg.h5", tmp_path / "leg.h5")
    scan.chmod(0)
    line = ("match", scan, "-d", study / "small.h5", "-o", tmp_path / "out")
    assert "cannot be read: Permission denied" in run(*line, code=3).stderr


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("frames scan.h5 -o scan.h5 --protocol small.toml", "scan.h5"),
        ("frames scan.h5 -o ../work/scan.h5 --protocol small.toml", "scan.h5"),
        ("simulate small.toml -o small.toml", "small.toml"),
        ("limit small.toml -o small.toml", "small.toml"),
        ("phantom small.toml --protocol small.toml", "small.toml"),
        ("compare result scan.truth.npz -o scan.truth.npz", "scan.truth.npz"),
        ("report result -o overview.html --roi overview.html", "overview.html"),
    ],
)
def test_what_a_command_reads_is_not_replaced_by_what_it_writes(run, study, zoo, tmp_path, monkeypatch, line, name):
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for source, copy in (("leg.h5", "scan.h5"), ("leg.truth.npz", "scan.truth.npz"), ("small.toml", "small.toml")):
        shutil.copy(study / source, copy)
    (folder / "result").symlink_to(zoo / "result")
    (folder / "overview.html").write_text("page")
    before = (folder / name).read_bytes()
    complaint = run(*line.split(), "--force", code=5).stderr
    assert complaint.endswith(f"{name} is read by the command and is not replaced; choose another -o.\n")
    assert (folder / name).read_bytes() == before


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("leg.h5", "leg.h5 is a raw scan (ISMRMRD), a protocol was expected; give a TOML file, or the name"),
        ("result", "result is a result folder, a protocol was expected; give a TOML file"),
    ],
)
def test_what_is_no_protocol_is_named_for_what_it_is(run, zoo, monkeypatch, name, complaint):
    monkeypatch.chdir(zoo)
    assert run("simulate", name, "-o", "o.h5", code=3).stderr.startswith(f"mrfpipe: {complaint}")


def test_a_protocol_that_comes_with_mrfpipe_is_found_beside_a_folder_of_its_name(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t1ff-small").mkdir()
    assert "t1ff-small, spoiled" in run("limit", "t1ff-small").stdout


@pytest.mark.parametrize(
    "line",
    [
        "phantom o.h5 --snr nan",
        "limit t1ff-small --snr nan",
        "limit t1ff-small --snr inf",
        "simulate t1ff-small -o o.h5 --energy nan",
        "match leg.h5 -d small.h5 -o o --memory nan",
        "match leg.h5 -d small.h5 -o o --memory inf",
        "protocol leg.h5 -o o.toml --heartbeat nan",
    ],
)
def test_what_is_not_finite_is_no_number(run, zoo, monkeypatch, line):
    monkeypatch.chdir(zoo)
    option, value = line.split()[-2:]
    assert f"Invalid value for '{option}': {value} is not a finite number." in run(*line.split(), code=2).stderr


def test_the_log_of_another_training_is_kept(run, study, tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text('{"epoch": 1}\n')
    line = ("train", study / "leg.frames.h5", "-o", tmp_path / "model", "--log", log)
    assert "log.jsonl exists already; choose another --log, or replace it with --force." in run(*line, code=5).stderr
    assert log.read_text() == '{"epoch": 1}\n'

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import version

import h5py
import nibabel
import numpy as np
import pytest
from mrfpipe.cli import COMMANDS

from mrfpipe.files.frames import read_frames_header
from mrfpipe.protocol import load_protocol

ON_A_DEVICE = {"demo", "simulate", "frames", "check", "match", "train", "reconstruct", "serve", "study", "doctor"}
AT_RANDOM = {"phantom", "cohort", "simulate", "check", "train", "study"}
MAPS = ("FF", "T1H2O", "T1fat", "df", "B1", "M0", "M0phase", "match", "edge")


def test_help_lists_all_commands_and_every_help_has_an_example(run):
    listed = run("--help").output
    for name in COMMANDS:
        assert f"\n  {name} " in listed
        text = run(name, "--help").output
        assert f"Example: mrfpipe {name}" in text
        for option in ("--threads", "--force", "--verbose", "--quiet"):
            assert option in text
        assert ("--device" in text) == (name in ON_A_DEVICE), name
        assert ("--seed" in text) == (name in AT_RANDOM), name
    assert version("mrfpipe") in run("--version").output


def test_help_does_not_import_what_is_heavy():
    code = """if True:
        import sys, mrfpipe.cli
        mrfpipe.cli.main(['--help'], standalone_mode=False)
        print([name for name in ('numpy', 'torch', 'numba', 'sigpy', 'h5py') if name in sys.modules])"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")


def test_match_writes_a_result_folder(of_raw, study):
    result, folder = of_raw
    assert f"{folder}: " in result.stdout
    assert result.stderr.splitlines()[-1] == f"next: open {folder / 'report.html'} in a browser"
    assert (folder / "report.html").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["leg"]
    assert not list(folder.rglob("*.partial*"))
    with np.load(study / "leg.truth.npz") as file:
        truth = dict(file)
    with h5py.File(folder / "maps.h5") as file:
        for name in (*MAPS, "mask"):
            assert file[name].shape == (2, 64, 64)
        mask, ff = file["mask"][...] > 0, file["FF"][...]
        assert np.all(np.isfinite(ff) == mask)
        inside = mask & (truth["mask"] > 0)
        assert inside.sum() > 0.97 * (truth["mask"] > 0).sum()
        assert np.corrcoef(ff[inside], truth["FF"][inside])[0, 1] > 0.9
        assert np.corrcoef(file["df"][...][inside], truth["df"][inside])[0, 1] > 0.9
    for name in MAPS:
        image = nibabel.load(folder / f"{name}.nii.gz")
        assert image.shape == (64, 64, 2)
        sidecar = json.loads((folder / f"{name}.json").read_text())
        assert sidecar["Sources"][0]["sha256"]
        assert all(seconds > 0 for seconds in sidecar["Notes"]["seconds_of_stages"].values())
    page = page_data((folder / "report.html").read_text())
    assert len(page["comparisons"]) == 5
    assert "at the grid limit" in [name for name, _, _ in page["findings"]]
    with h5py.File(folder / "fingerprints.h5") as file:
        assert len(file["measured"]) == mask.sum()
        assert file["basis"].shape == (page["fingerprints"]["frames"], page["fingerprints"]["rank"])
    np.testing.assert_array_equal(np.isfinite(nibabel.load(folder / "FF.nii.gz").get_fdata()[5, :, 1]), mask[1, :, 5])
    assert sorted(p.name for p in folder.glob("*.png")) == ["coils.png", "maps.png"]


def test_raw_scan_and_frames_give_the_same_maps(run, study, of_raw, tmp_path):
    assert read_frames_header(study / "leg.frames.h5").provenance.notes["seconds_of_stages"]["images"] > 0
    run("match", study / "leg.frames.h5", "-d", study / "small.h5", "-o", tmp_path, "--method", "brute")
    with h5py.File(of_raw[1] / "maps.h5") as raw, h5py.File(tmp_path / "leg/maps.h5") as frames:
        for name in ("FF", "B1", "df"):
            same = np.isclose(raw[name][...], frames[name][...], equal_nan=True)
            assert same.mean() > 0.999


@pytest.mark.slow
def test_bids(run, study, tmp_path):
    """One dataset of two calls; what BIDS cannot call a scan is refused before the work."""
    frames = study / "leg.frames.h5"
    match = ("match", frames, "-d", study / "small.h5", "-o", tmp_path, "--bids")
    run(*match, "--subject", "01", "--session", "a")
    run(*match)
    assert json.loads((tmp_path / "dataset_description.json").read_text())["DatasetType"] == "derivative"
    for folder, name in ((tmp_path / "sub-01" / "ses-a", "sub-01_ses-a"), (tmp_path / "sub-leg", "sub-leg")):
        seconds = nibabel.load(folder / "anat" / f"{name}_T1map.nii.gz").get_fdata()
        assert 0.1 < np.nanmedian(seconds) < 3
        assert f"<h1>{name}</h1>" in (folder / "report.html").read_text()
    assert "skipped" in run(*match, "--subject", "01", "--session", "a").stderr
    assert "letters and digits only" in run(*match, "--subject", "sub-01", code=2).stderr
    assert "require --bids" in run(*match[:-1], "--session", "a", code=2).stderr
    assert "--subject names the subject of one scan" in run(*match, study / "leg.h5", "--subject", "01", code=2).stderr


def test_train_reconstruct_and_evaluate(run, study, tmp_path):
    model, common = tmp_path / "model", ("--protocol", study / "small.toml", "--epochs", 2)
    run("train", study / "leg.frames.h5", study / "leg.h5", "-o", model, *common)
    assert sorted(p.name for p in model.iterdir()) == ["model.json", "model.safetensors"]
    assert not list(tmp_path.glob("*checkpoint*"))
    run("train", study / "leg.h5", "-o", model, *common, code=5)
    told = run("reconstruct", study / "leg.h5", "--model", model, "-o", tmp_path / "out").stderr
    assert told.splitlines()[-1] == f"next: open {tmp_path / 'out' / 'leg' / 'report.html'} in a browser"
    result = run("evaluate", tmp_path / "out" / "leg", study / "leg.truth.npz", "--json")
    errors = json.loads(result.stdout)
    assert set(errors) == {"FF", "T1H2O", "T1fat", "df", "B1"}
    assert errors["T1H2O"]["unit"] == "ms"
    assert errors["FF"]["n_missing"] < 0.03 * errors["FF"]["n_voxels"]
    table = run("evaluate", tmp_path / "out" / "leg", study / "leg.truth.npz").stdout
    assert table.splitlines()[1].startswith("FF ")
    assert "network" in run("info", model).stdout
    assert "convolutional network" in run("info", tmp_path / "out").stdout


def test_labels_by_matching(run, study, tmp_path):
    run(
        "train",
        study / "leg.frames.h5",
        "-o",
        tmp_path / "m",
        "--labels",
        "match",
        "-d",
        study / "small.h5",
        "--epochs",
        1,
    )
    run("train", study / "leg.frames.h5", "-o", tmp_path / "n", "--labels", "match", code=2)


@pytest.mark.slow
def test_published_networks_are_trained_by_name_and_used(run, study, tmp_path):
    common = ("train", study / "leg.frames.h5", "--protocol", study / "small.toml", "--epochs", 1)
    options = ("--validate", study / "leg.frames.h5", "--log", tmp_path / "log.jsonl")
    result = run(*common, "-o", tmp_path / "fang", "--preset", "fang", *options)
    assert "3,842,069 parameters" in result.stdout
    assert not list(tmp_path.glob("fang.checkpoint*"))
    assert json.loads((tmp_path / "log.jsonl").read_text())["epoch"] == 1
    run("reconstruct", study / "leg.frames.h5", "--model", tmp_path / "fang", "-o", tmp_path / "out")
    assert (tmp_path / "out" / "leg" / "maps.h5").exists()
    assert "network" in run("info", tmp_path / "fang").stdout


def test_an_interrupted_training_is_resumed(run, study, tmp_path):
    common = ("--protocol", study / "small.toml", "--epochs", 1)
    checkpoint = tmp_path / "model.checkpoint"
    checkpoint.write_bytes(b"not a checkpoint")
    result = run("train", study / "leg.frames.h5", "-o", tmp_path / "model", *common, code=5)
    assert "continue it with --resume or discard it with --force" in result.stderr
    run("train", study / "leg.frames.h5", "-o", tmp_path / "model", *common, "--resume", code=3)
    run("train", study / "leg.frames.h5", "-o", tmp_path / "model", *common, "--force")


def test_info_knows_every_kind_of_file(run, study):
    for path, kind in (
        ("t1ff", "protocol"),
        (study / "small.toml", "protocol"),
        (study / "leg.h5", "raw scan"),
        (study / "leg.frames.h5", "frames"),
        (study / "small.h5", "dictionary"),
    ):
        first, *rest = run("info", path).stdout.splitlines()
        assert first.split(":")[1].strip().startswith(kind)
        assert len(rest) > 3


def test_info_of_a_protocol_is_its_sequence(run, tmp_path):
    lines = dict(line.split(":", 1) for line in run("info", "t1ff").stdout.splitlines())
    sequence = {key: text.strip() for key, text in lines.items()}
    assert sequence["3 flip angle"] == "5 deg x 600, 10 deg x 200, 5 deg x 200, 15 deg x 200, 5 deg x 200"
    assert sequence["3 TE"] == "2.39 ms x 800, 3.45 ms x 400, 4.63 ms x 200"
    assert sequence["3 TR"] == "3.52 ms x 800, 4.58 ms x 400, 5.76 ms x 200"
    assert sequence["1 inversion"] == "100% inverted"
    assert (sequence["2 delay"], sequence["4 delay"]) == ("8.32 ms", "4200 ms")
    assert sequence["3 RF phase increment"] == "50 deg"
    assert sequence["readout"] == "golden-radial, 111.24611797 deg, oversampling 2"
    assert sequence["history"] == "repeated"
    assert sequence["components"] == "water (T1 T1H2O, T2 40 ms), fat (T1 T1fat, T2 80 ms)"
    assert sequence["matrix"] == "350 x 350, FOV 350 mm, slice 8 mm"
    block = '[[sequence]]\nblock = "excitations"\ncount = 8\nflip_deg = {}\nte_ms = 2.0\ntr_ms = 4.0\n'
    text = load_protocol("t1ff").toml
    head, tail = text.split("[[sequence]]", 1)[0], "[parameters." + text.split("[parameters.", 1)[1]
    (tmp_path / "many.toml").write_text(head + "".join(block.format(5 + n) for n in range(12)) + tail)
    told = run("info", tmp_path / "many.toml").stdout
    assert "1 flip angle:          5 to 16 deg, 12 values in 96 readouts\n" in told
    assert "1 TE:                  2 ms x 96\n" in told
    assert "RF phase:" not in told
    phases = "count = 4\nphase_deg = [0, 180, 0, 180]"
    (tmp_path / "alternating.toml").write_text(head + block.format(30).replace("count = 8", phases) * 2 + tail)
    told = run("info", tmp_path / "alternating.toml").stdout
    assert "1 RF phase:            0 deg x 1, 180 deg x 1, 0 deg x 1, 180 deg x 1, 0 deg x 1, 180 deg x 1" in told


def test_seeds_make_other_people_and_the_same_seed_the_same(run, study, tmp_path):
    def phantom(name, *options):
        run("phantom", tmp_path / name, "--protocol", study / "small.toml", "--coils", 2, *options)
        with h5py.File(tmp_path / name) as file:
            return file["dataset/data"][100]["data"]

    first, again, other = phantom("a.h5"), phantom("b.h5", "--seed", 0), phantom("c.h5", "--seed", 1)
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_quiet_says_nothing_but_results(run, study, tmp_path):
    result = run("simulate", study / "small.toml", "-o", tmp_path / "d.h5", "-q")
    assert result.stderr == ""
    assert result.stdout.startswith(f"{tmp_path / 'd.h5'}: 7,260 entries")
    run("simulate", study / "small.toml", "-o", tmp_path / "e.h5", "-q", "-v", code=2)
    run("simulate", study / "small.toml", "-o", tmp_path / "e.h5", "--rank", 5, "--energy", 0.9, code=2)
    run("simulate", study / "small.toml", "-o", tmp_path / "e.h5", "--rank", 176, code=2)


def test_verbose_shows_the_traceback(tmp_path):
    words = ("export", str(tmp_path / "none"), "-o", str(tmp_path / "none.onnx"))
    line = [sys.executable, "-c", "from mrfpipe.cli import main; main()", *words]
    short = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (short.returncode, short.stderr.count("\n")) == (3, 1)
    long = subprocess.run([*line, "-v"], capture_output=True, text=True, check=False)
    assert long.returncode == 3
    assert "Traceback" in long.stderr
    assert long.stderr.endswith(short.stderr)


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_ctrl_c_leaves_nothing_behind(tmp_path):
    """Interrupt a phantom of twenty slices, which takes long enough to be caught in the middle."""
    # Shells start background jobs with interrupts ignored, which the tests may be in.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from mrfpipe.cli import main; main()"
    )
    line = [sys.executable, "-c", code, "phantom", str(tmp_path / "a.h5"), "--slices", "20"]
    with subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        time.sleep(5)
        process.send_signal(signal.SIGINT)
        try:
            _, stderr = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130, stderr
    assert stderr.strip() == "mrfpipe: interrupted; nothing was written under a final name."
    assert not list(tmp_path.iterdir())


def test_dictionaries_of_every_model_are_told_apart_and_match(run, study, tmp_path):
    for model in ("epg", "bloch"):
        dictionary = tmp_path / f"{model}.h5"
        result = run("simulate", study / "small.toml", "-o", dictionary, "--model", model)
        assert f"protocol t1ff-small, {model}, rank" in result.stdout
        assert f"signal model:          {model}\n" in run("info", dictionary).stdout
    result = run("match", study / "leg.frames.h5", "-d", tmp_path / "epg.h5", "-o", tmp_path / "out")
    assert "FF" in result.stdout
    sidecar = json.loads(next((tmp_path / "out").rglob("FF.json")).read_text())
    assert sidecar["EstimationAlgorithm"].endswith("epg)")


def test_a_slice_profile_is_part_of_the_model(run, study, tmp_path):
    run("simulate", study / "small.toml", "-o", tmp_path / "p.h5", "--slice-profile")
    assert "spoiled with slice profile" in run("info", tmp_path / "p.h5").stdout


@pytest.mark.slow
def test_study_writes_a_table_and_a_figure(run, tmp_path, monkeypatch):
    from mrfpipe.studies import spoiling

    monkeypatch.setattr(spoiling, "INCREMENTS_DEG", (50.0,))
    monkeypatch.setitem(spoiling.N_VOXELS, "small", 12)
    result = run("study", "spoiling", "-o", tmp_path / "s")
    assert "epg with slice profile" in result.stdout
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == ["spoiling.csv", "spoiling.png"]
    run("study", "spoiling", "-o", tmp_path / "s", code=5)


def test_a_study_that_is_there_or_that_nobody_knows(run, tmp_path):
    (tmp_path / "spoiling.csv").touch()
    run("study", "spoiling", "-o", tmp_path, code=5)
    run("study", "nothing", "-o", tmp_path, code=2)


def test_group_matching_needs_groups(run, study, tmp_path):
    line = ("match", study / "leg.frames.h5", "-d", study / "small.h5", "-o", tmp_path, "--method", "group")
    assert "make it again with mrfpipe simulate --groups" in run(*line, code=4).stderr


@pytest.mark.slow
def test_group_matching_finds_what_exact_finds(run, study, tmp_path):
    assert " groups" in run("simulate", study / "small.toml", "-o", tmp_path / "g.h5", "--groups").stdout
    maps = {}
    for method in ("group", "exact"):
        out = tmp_path / method
        run("match", study / "leg.frames.h5", "-d", tmp_path / "g.h5", "-o", out, "--method", method, "--no-refine")
        with h5py.File(out / "leg" / "maps.h5") as file:
            maps[method] = file["FF"][...][file["mask"][...] > 0]
    assert np.mean(maps["group"] == maps["exact"]) > 0.9


def test_refinement_is_on_by_default_and_leaves_the_grid(run, study, of_frames, tmp_path):
    run("match", study / "leg.frames.h5", "-d", study / "small.h5", "-o", tmp_path, "--no-refine")
    values = {}
    for name, folder in (("refined", of_frames), ("grid", tmp_path / "leg")):
        with h5py.File(folder / "maps.h5") as file:
            values[name] = {key: file[key][...][file["mask"][...] > 0] for key in ("df", "match")}
    assert len(np.unique(values["grid"]["df"])) <= 13 < len(np.unique(values["refined"]["df"]))
    assert np.all(values["refined"]["match"] >= values["grid"]["match"] - 1e-6)


def test_gap_and_memory(run, study, of_frames, tmp_path):
    common = ("match", study / "leg.frames.h5", "-d", study / "small.h5", "-o", tmp_path / "out")
    result = run(*common, "--memory", 0.1, code=6)
    assert "cannot work in 0.1 GB of memory; give it at least 0.27 GB" in result.stderr
    assert not (tmp_path / "out" / "leg").exists()
    with h5py.File(of_frames / "maps.h5") as file:
        assert "gap" not in file
    # A result without the gap is not the one asked for, and is not silently replaced; nor one with it by one without.
    shutil.copytree(of_frames, tmp_path / "out" / "leg")
    assert "made with other settings (gap)" in run(*common, "--gap", code=5).stderr
    run(*common, "--gap", "--force", "--memory", 0.3)
    assert "made with other settings (gap)" in run(*common, code=5).stderr
    with h5py.File(tmp_path / "out/leg/maps.h5") as file:
        mask = file["mask"][...] > 0
        gap = file["gap"][...][mask]
        assert np.all((gap >= 0) & (gap <= file["match"][...][mask] + 0.01))
        assert np.median(gap) > 0.1
    assert (tmp_path / "out/leg/gap.nii.gz").exists()


def page_data(page):
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)[1])


def test_every_result_has_a_page_that_can_be_made_again_with_a_reference(run, study, of_frames, tmp_path):
    shutil.copytree(of_frames, tmp_path / "leg")
    page = tmp_path / "leg" / "report.html"
    data = page_data(page.read_text())
    assert data["title"] == "leg"
    (tmp_path / "other").mkdir()
    (tmp_path / "leg" / "maps.h5").rename(tmp_path / "other" / "maps.h5")
    assert "open it in a browser" in run("report", tmp_path / "other").stdout
    run("report", tmp_path / "other", code=5)
    alone = page_data((tmp_path / "other" / "report.html").read_text())
    assert (alone["title"], alone["truthMask"]) == ("other", None)
    run("report", tmp_path / "other", study / "leg.truth.npz", "--force")
    assert page_data((tmp_path / "other" / "report.html").read_text())["truthMask"]
    run("report", study, code=3)


def test_regions_from_an_image_come_with_the_page(run, study, of_frames, tmp_path):
    shutil.copytree(of_frames, tmp_path / "leg")
    image = nibabel.load(tmp_path / "leg" / "FF.nii.gz")
    inside = np.isfinite(image.get_fdata()).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(4 * inside, image.affine), tmp_path / "roi.nii.gz")
    run("report", tmp_path / "leg", "--roi", tmp_path / "roi.nii.gz", "--force")
    assert page_data((tmp_path / "leg" / "report.html").read_text())["labels"]["numbers"] == [4]
    words = ("compare", tmp_path / "leg", study / "leg.truth.npz", "-o", tmp_path / "page.html")
    run(*words, "--roi", tmp_path / "roi.nii.gz")
    assert page_data((tmp_path / "page.html").read_text())["comparisons"][0]["points"] == "region"
    nibabel.save(nibabel.Nifti1Image(inside, image.affine @ np.diag([1, 1, 2, 1])), tmp_path / "thick.nii.gz")
    moved = run(*words, "--roi", tmp_path / "thick.nii.gz", "--force", code=4)
    assert "thick.nii.gz lies elsewhere than the maps" in moved.stderr


def test_no_stage_is_silent(run, study, tmp_path, monkeypatch):
    """What takes more than a moment says what it is: from the imports to the last file, each stage begun and ended."""
    told = []

    def progress(settings, stage):
        told.append([stage])
        return lambda done, total: told[[t[0] for t in told].index(stage)].append((done, total))

    def stages(*words):
        told.clear()
        run(*words)
        for stage, *steps in told:
            assert not steps or steps[-1][0] == steps[-1][1], f"{stage} ended at {steps[-1]}"
        return list(dict.fromkeys(stage for stage, *_ in told))

    monkeypatch.setattr("mrfpipe.cli.options.Settings.progress", progress)
    scan, dictionary = study / "leg.h5", study / "small.h5"
    found = stages("simulate", study / "small.toml", "-o", tmp_path / "d.h5")
    assert found == ["load", "dictionary", "simulate", "write"]
    found = stages("match", scan, "-d", dictionary, "-o", tmp_path)
    assert found == ["load", "dictionary", "read", "joint", "match", "write"]
    found = stages("report", tmp_path / "leg", study / "leg.truth.npz", "--force")
    assert found == ["load", "write"]

"""Jobs: which result is the one asked for, and what a neighbour of the scan may cost."""

import json
import threading
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from helpers import small_protocol

from mrfpipe.dictionary import build_dictionary
from mrfpipe.files import provenance
from mrfpipe.files.dictionaries import save_dictionary
from mrfpipe.files.frames import save_frames
from mrfpipe.files.maps import load_maps, read_maps_provenance
from mrfpipe.files.provenance import Provenance, sha256_of
from mrfpipe.imaging.choices import Imaging
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.progress import SILENT
from mrfpipe.run import batch, scan
from mrfpipe.run.by import MatchBy
from mrfpipe.run.choices import Matching
from mrfpipe.run.job import MapsJob


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A frames file of two slices of fingerprints, and two dictionaries of its protocol that differ in rank."""
    folder = tmp_path_factory.mktemp("jobs")
    protocol = small_protocol(matrix=8, df="[[0, 20, 20]]", T1H2O="[[600, 1000, 200]]")
    dictionary = build_dictionary(protocol, rank=4)
    save_dictionary(dictionary, folder / "dictionary.h5")
    save_dictionary(build_dictionary(protocol, rank=5), folder / "other.h5")
    signals = dictionary.entries(np.arange(128) * 3) @ dictionary.basis.T
    series = FrameSeries(
        name="scan",
        images=np.ascontiguousarray(signals.reshape(2, 8, 8, -1).transpose(0, 3, 1, 2)),
        mask=np.ones((2, 8, 8), np.bool_),
        affine=np.eye(4),
        sequence_hash=protocol.sequence.hash,
    )
    made = Provenance(
        command=[], inputs={}, protocol_name="p", protocol_hash="h", method="m", device="cpu", started="", duration_s=0
    )
    save_frames(series, folder / "scan.frames.h5", protocol=protocol, provenance=lambda: made)
    return folder


def job_of(folder: Path, target: Path, **changes: object) -> MapsJob:
    """A job; `dictionary` and fields of `Matching` change what its maps are made by."""
    chosen = {name: changes.pop(name) for name in ("method", "refined", "gap", "memory") if name in changes}
    by = MatchBy(
        dictionary=changes.pop("dictionary", folder / "dictionary.h5"),
        matching=Matching(**{"refined": False} | chosen),
    )
    settings = {
        "source": folder / "scan.frames.h5",
        "target": target,
        "force": False,
        "command": ["mrfpipe", "match"],
        "bids": False,
        "by": by,
        "device": "cpu",
        "imaging": Imaging(),
    }
    return MapsJob(**settings | changes)


@pytest.fixture(scope="module")
def result(folder):
    """The result of the job, and the job."""
    job = job_of(folder, folder / "out" / "scan", gap=True)
    assert batch.run_job(job, SILENT).state == "done"
    return job


def test_the_same_job_is_done_and_no_other_is(result, folder):
    assert batch.run_job(result, SILENT).state == "skipped"
    changes = {
        "gap": {"gap": False},
        "refined": {"refined": True},
        "method": {"method": "brute"},
        "dictionary or network": {"dictionary": folder / "other.h5"},
        "layout or DICOM of the images": {"bids": True},
    }
    for name, change in changes.items():
        outcome = batch.run_job(job_of(folder, result.target, **{"gap": True} | change), SILENT)
        assert outcome.state == "failed", name
        assert f"exists already, made with other settings ({name}); replace it with --force" in outcome.text
    # What does not change the maps is not looked at.
    same = job_of(folder, result.target, gap=True, memory=1 << 30, command=["other"], threads=1)
    assert batch.run_job(same, SILENT).state == "skipped"


def test_a_result_with_the_gap_is_not_taken_for_one_without_nor_by_its_wording(result, folder, monkeypatch):
    """Prose is for people: what it says decides nothing."""
    worded = replace(result.made(), method="dictionary matching by hand")
    monkeypatch.setattr(MapsJob, "made", lambda _: worded)
    assert batch.run_job(result, SILENT).state == "skipped"
    assert batch.run_job(job_of(folder, result.target), SILENT).state == "failed"


@pytest.mark.parametrize("recon", ["nufft", "subspace"])
def test_imaging_options_count_for_a_raw_scan_only(result, folder, recon):
    frames = replace(result, imaging=Imaging(noise="edges"))
    assert frames.recipe() == result.recipe()
    raw = replace(result, source=folder / "dictionary.h5", imaging=Imaging(recon=recon))  # any file without frames
    other = replace(raw, imaging=Imaging(recon=recon, noise="edges"))
    assert raw.recipe().differences(other.recipe()) == ["noise"]
    # A field map counts by its content; what is made without is what it was before there were any.
    mapped = replace(raw, imaging=Imaging(recon=recon, field_map=folder / "other.h5"))
    assert raw.recipe().differences(mapped.recipe()) == ["field_map"]
    assert "field_map" not in raw.recipe().imaging
    frames = replace(
        mapped, source=result.source, target=folder / "corrected", imaging=replace(mapped.imaging, recon="nufft")
    )
    outcome = batch.run_job(frames, SILENT)
    assert "scan.frames.h5 holds frames; off-resonance is corrected in the raw scan" in outcome.text
    # Coils that are compressed to eight anyway are no difference.
    eight = replace(raw, imaging=Imaging(recon=recon, virtual_coils=8))
    assert raw.recipe() == eight.recipe()


def test_another_version_or_a_result_without_a_recipe_is_not_the_one_asked_for(result, monkeypatch):
    made = result.made()
    assert made.recipe is not None
    older = replace(made, recipe=replace(made.recipe, mrfpipe="0.0.1"))
    monkeypatch.setattr(MapsJob, "made", lambda _: older)
    assert (
        "made with other settings (version of mrfpipe); replace it with --force" in batch.run_job(result, SILENT).text
    )
    monkeypatch.setattr(MapsJob, "made", lambda _: replace(made, recipe=None))
    outcome = batch.run_job(result, SILENT)
    assert (outcome.state, outcome.error.exit_code) == ("failed", 5)
    assert "does not record all of its settings; replace it with --force" in outcome.text


def test_what_a_recipe_says_is_kept_and_checked(result):
    made = read_maps_provenance(result.target / "maps.h5")
    assert made.recipe == result.recipe()
    assert made.recipe.options == {"method": "exact", "refined": False, "gap": True}
    assert (made.recipe.kind, made.recipe.signal_model) == ("matching", "spoiled")
    for wrong in ({"scan": 1}, {"options": [1]}, {"imaging": {"density": [1]}}, {"unknown": 1}):
        text = replace(made, recipe=None).to_json()
        values = asdict(made.recipe) | wrong
        with pytest.raises(ValueError, match="recipe"):
            Provenance.from_json(json.dumps(json.loads(text) | {"recipe": values}))


@pytest.mark.parametrize(
    ("truth", "complaint"),
    [
        (b"PK\x03\x04 not a truth", "scan.truth.npz cannot be read as .npz"),
        (3, "scan.truth.npz has shape (3, 8, 8), the maps (2, 8, 8) (slices, y, x); it belongs to another scan"),
        (2, ""),
    ],
)
def test_a_truth_that_is_damaged_or_of_another_scan_is_told_and_costs_no_maps(folder, tmp_path, truth, complaint):
    (tmp_path / "scan.frames.h5").symlink_to(folder / "scan.frames.h5")
    if isinstance(truth, bytes):
        (tmp_path / "scan.truth.npz").write_bytes(truth)
    else:
        values = {name: np.full((truth, 8, 8), 0.5) for name in ("FF", "T1H2O", "T1fat", "df", "B1")}
        np.savez(tmp_path / "scan.truth.npz", mask=np.ones((truth, 8, 8), np.uint8), **values)
    job = job_of(folder, tmp_path / "out", source=tmp_path / "scan.frames.h5")
    outcome = batch.run_job(job, SILENT)
    assert outcome.state == "done", outcome.text
    assert load_maps(tmp_path / "out" / "maps.h5").mask.sum() == 128
    assert complaint in outcome.warning
    assert bool(complaint) == ("ground truth" in outcome.warning)
    assert "\n" not in outcome.warning


def test_a_scan_is_read_while_its_sha256_is_computed(folder, tmp_path, monkeypatch):
    """A sha256 that is ready only once the scan is open: who waits for it first waits in vain."""
    is_open, opens, hashed = threading.Event(), scan.open_series, []

    def open_it(*args, **options):
        is_open.set()
        return opens(*args, **options)

    def compute(path):
        if path == folder / "scan.frames.h5":
            hashed.append(is_open.wait(3))
        return sha256_of(path)

    monkeypatch.setattr(scan, "open_series", open_it)
    for module in (provenance, scan):
        monkeypatch.setattr(module, "sha256_of", compute)
    job_of(folder, tmp_path / "scan").run(SILENT)
    assert hashed == [True], "once, and beside"
    recipe = read_maps_provenance(tmp_path / "scan" / "maps.h5").recipe
    assert recipe.scan == sha256_of(folder / "scan.frames.h5")

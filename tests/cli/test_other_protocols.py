"""A protocol of T1 and T2, with spokes and with stored spirals, through every command that T1-FF goes through."""

import json
import re
from importlib import resources

import h5py
import numpy as np
import pytest

MATRIX = 32


@pytest.fixture(scope="module", params=["fisp", pytest.param("fisp-spiral", marks=pytest.mark.slow)])
def scanned(request, tmp_path_factory, run):
    """A small matrix and a coarse grid; everything else as it comes."""
    folder = tmp_path_factory.mktemp(request.param)
    text = (resources.files("mrfpipe.dictionaries") / f"{request.param}.toml").read_text()
    text = re.sub(r"matrix = \d+", f"matrix = {MATRIX}", text)
    for name, ranges in (
        ("T1", "[[100, 400, 50], [500, 2500, 100]]"),
        ("T2", "[[10, 100, 10], [120, 600, 40]]"),
        ("B1", "[[0.8, 1.1, 0.1]]"),
    ):
        text = re.sub(rf"(\[parameters\.{name}\]\nquantity = \"\w+\"\nranges = ).*", rf"\g<1>{ranges}", text)
    (folder / "p.toml").write_text(text)
    run("simulate", folder / "p.toml", "-o", folder / "d.h5", "--rank", 12)
    run("phantom", folder / "s.h5", "--anatomy", "spheres", "--protocol", folder / "p.toml", "--coils", 4)
    return folder


def test_subspace_maps_have_the_times_of_the_spheres(scanned, run):
    told = run(
        "match", scanned / "s.h5", "-d", scanned / "d.h5", "-o", scanned / "out", "--recon", "subspace", "--bids"
    )
    assert re.search(r"^  T2 +\d", told.stdout, re.MULTILINE)
    folder = scanned / "out" / "sub-s"
    with h5py.File(folder / "maps.h5") as file, np.load(scanned / "s.truth.npz") as truth:
        assert {"T1", "T2", "B1", "M0", "match"} <= set(file)
        inside = (truth["roi"] > 0) & (file["mask"][...] > 0) & (truth["T2"] > 40) & (truth["T2"] < 300)
        for name, most in (("T1", 0.03), ("T2", 0.12)):  # voxels of 7 mm, a coarse grid
            error = np.median(np.abs(file[name][...][inside] / truth[name][inside] - 1))
            assert error < most, (name, error)
    assert json.loads((folder / "anat" / "sub-s_T2map.json").read_text())["Units"] == "s"
    page = (folder / "report.html").read_text()
    assert '"name":"T2"' in page.replace('": "', '":"')
    errors = json.loads(run("evaluate", folder, scanned / "s.truth.npz", "--json").stdout)
    assert list(errors) == ["T1", "T2", "B1"]
    assert errors["T2"]["unit"] == "ms"


def test_a_network_learns_its_maps(scanned, run):
    run("train", scanned / "s.h5", "-o", scanned / "net", "--protocol", scanned / "p.toml", "--epochs", 1)
    run("reconstruct", scanned / "s.h5", "--model", scanned / "net", "-o", scanned / "by-network")
    with h5py.File(scanned / "by-network" / "s" / "maps.h5") as file:
        assert np.isfinite(file["T2"][...][file["mask"][...] > 0]).all()
    description = json.loads((scanned / "net" / "model.json").read_text())
    assert description["signal_model"]["spoiling"] == "epg"
    assert [one["name"] for one in description["maps"]] == ["T1", "T2", "B1"]


def test_what_does_not_fit_is_refused_in_a_line(scanned, run):
    if "spiral" in scanned.name:
        line = ("match", scanned / "s.h5", "-d", scanned / "d.h5", "-o", scanned / "x", "--delays")
        assert "delays" in run(*line, code=4).stderr
    told = run("phantom", scanned / "leg.h5", "--anatomy", "leg", "--protocol", scanned / "p.toml", code=4)
    assert "use a phantom with T1" in told.stderr

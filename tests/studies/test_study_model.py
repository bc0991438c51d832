"""The study of the bundled network: lesions are put where they can be judged; slowly, what it keeps of them."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from mrfpipe.maps import ParameterMaps
from mrfpipe.phantom.truth import PARAMETERS, Phantom
from mrfpipe.studies import model as study
from mrfpipe.studies.catalogue import run_study
from mrfpipe.studies.model import STEP, WIDTH, contrast, with_lesions


@pytest.fixture(scope="module")
def muscle():
    """A slice of lean muscle on the left and of fat on the right, one region."""
    mask = np.ones((1, 48, 64), np.bool_)
    values = {"FF": 0.1, "T1H2O": 1.3, "T1fat": 0.3, "df": 10.0, "B1": 0.8}
    si = {name: np.full(mask.shape, value, np.float32) for name, value in values.items()}
    si["FF"][..., 40:] = 0.9
    truth = ParameterMaps.known(PARAMETERS, si, mask, np.eye(4))
    return Phantom(maps=truth, rois=mask.astype(np.uint8), roi_names=("muscle",))


def test_lesions_lie_apart_in_lean_muscle_and_blurring_takes_their_contrast(muscle):
    phantom, lesions = with_lesions(muscle, 3)
    assert lesions.max() >= 2
    sizes = np.bincount(lesions.ravel())[1:]
    assert set(sizes) == {WIDTH**2}
    assert not lesions[..., 40:].any()
    raised = phantom.maps.si["T1H2O"] - muscle.maps.si["T1H2O"]
    np.testing.assert_allclose(raised, STEP * (lesions > 0), atol=1e-6)
    assert contrast(phantom.maps, phantom.maps, lesions) == pytest.approx(1)
    assert contrast(muscle.maps, phantom.maps, lesions) == pytest.approx(0, abs=1e-6)
    t1 = gaussian_filter(phantom.maps.si["T1H2O"], (0, 1, 1))
    blurred = replace(phantom.maps, si=dict(phantom.maps.si) | {"T1H2O": t1})
    # Four voxels in a row keep (4 g(0) + 6 g(1) + 4 g(2) + 2 g(3)) / 4 = 0.818 of their mean through a Gaussian g of
    # one voxel, a square that squared: 0.669. What is around gains less than 0.01.
    assert contrast(blurred, phantom.maps, lesions) == pytest.approx(0.669, abs=0.01)


@pytest.mark.slow
def test_the_bundled_network_keeps_regions_and_lesions(tmp_path, monkeypatch):
    """On a subject that no training had, next to the matching that it corrects.

    Bounds are the largest of four such phantoms and a half: 0.3 % of the range for means of regions (T1fat 0.9 %).
    """
    monkeypatch.setitem(study.N_SUBJECTS, "small", 1)
    text = run_study(
        "model",
        tmp_path,
        scale="small",
        seed=1,
        device=torch.device("cpu"),
        force=False,
        progress=lambda _: lambda _done, _total: None,
    )
    assert "| map | network | match-refined |" in text
    with (tmp_path / "model.csv").open() as file:
        lines = {(line["method"], line["map"]): line for line in csv.DictReader(file)}
    for p in PARAMETERS:
        network, matching = (lines[method, p.name] for method in ("network", "match-refined"))
        assert float(network["rmse"]) <= 1.05 * float(matching["rmse"])
        assert float(network["region_bias"]) <= (0.009 if p.name == "T1fat" else 0.003)
        assert 0.25 < float(network["spread"]) < 1.2  # smooth tissue: its deviations are too large
    assert float(lines["network", "T1H2O"]["contrast"]) >= 0.95

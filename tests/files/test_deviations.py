"""Standard deviations go with their maps into every kind of file, in the unit of the map."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from mrfpipe.files.maps import load_maps
from mrfpipe.files.results import save_result


@pytest.fixture
def uncertain(maps):
    """Maps each of which has a deviation of another size, in SI units."""
    sizes = {"FF": 0.01, "T1H2O": 0.02, "T1fat": 0.004, "df": 0.5, "B1": 0.003}
    rng = np.random.default_rng(1)
    return replace(
        maps,
        sd={
            name: np.where(maps.mask, size * rng.uniform(0.5, 1.5, maps.mask.shape), np.nan).astype(np.float32)
            for name, size in sizes.items()
        },
    )


def test_a_result_keeps_them(uncertain, provenance, tmp_path):
    save_result(tmp_path / "scan", uncertain, provenance, force=False)
    again = load_maps(tmp_path / "scan" / "maps.h5")
    for name, values in uncertain.sd.items():
        np.testing.assert_allclose(again.sd[name], values, rtol=1e-6)
    inside = uncertain.mask.transpose(2, 1, 0)
    image = nib.load(tmp_path / "scan" / "T1H2O_sd.nii.gz").get_fdata()
    np.testing.assert_allclose(image[inside], 1e3 * uncertain.sd["T1H2O"].transpose(2, 1, 0)[inside], rtol=1e-6)


def test_maps_without_them_are_read_without(maps, provenance, tmp_path):
    save_result(tmp_path / "scan", maps, provenance, force=False)
    assert load_maps(tmp_path / "scan" / "maps.h5").sd is None
    assert not list((tmp_path / "scan").glob("*_sd*"))


def test_bids_has_them_beside_their_maps_and_ignores_them(uncertain, provenance, tmp_path):
    folder = tmp_path / "data" / "sub-01"
    save_result(folder, uncertain, provenance, bids=True, force=False)
    names = {path.name for path in (folder / "anat").iterdir()}
    assert {f"sub-01_desc-{name}_sdmap.nii.gz" for name in uncertain} <= names
    assert "**/*_sdmap.*" in (tmp_path / "data" / ".bidsignore").read_text().splitlines()


def test_they_must_be_finite_inside_the_mask(uncertain):
    with pytest.raises(ValueError, match="T1H2O_sd is not finite"):
        replace(uncertain, sd=uncertain.sd | {"T1H2O": np.full_like(uncertain.sd["T1H2O"], np.nan)})

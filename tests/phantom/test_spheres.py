"""The spheres of the system phantom: their published relaxation times, their places, and what a scan of them is."""

import numpy as np
import pytest

from mrfpipe.errors import MismatchError
from mrfpipe.phantom.anatomy import thigh
from mrfpipe.phantom.scanner import scan
from mrfpipe.phantom.spheres import T1_ARRAY, T2_ARRAY, spheres
from mrfpipe.physics.simulate import SignalModel, readout_signals
from mrfpipe.protocol import load_protocol


@pytest.fixture(scope="module")
def drawn():
    return spheres(matrix=220, fov=0.22)


def test_every_sphere_has_its_published_times(drawn):
    for number in range(1, 29):
        region = drawn.rois == number
        assert np.unique(np.nonzero(region)[0]).tolist() == [(number - 1) // 14], "the T2 array first"
        t1, t2 = (T2_ARRAY, T1_ARRAY)[(number - 1) // 14][(number - 1) % 14]
        np.testing.assert_allclose(drawn.maps.si["T1"][region], t1, rtol=1e-6)
        np.testing.assert_allclose(drawn.maps.si["T2"][region], t2, rtol=1e-6)
    # Two of Stupic et al. (2021), to see that arrays and units are not mixed up.
    assert drawn.maps["T2"][drawn.rois == 5][0] == pytest.approx(133.27)
    assert drawn.maps["T1"][drawn.rois == 15][0] == pytest.approx(1989)
    assert drawn.roi_names[4] == "T2 5"


def test_spheres_have_their_size_and_lie_apart(drawn):
    voxel = 220 / 220
    areas = [np.sum(drawn.rois == number) * voxel**2 for number in range(1, 29)]
    np.testing.assert_allclose(areas, np.pi * 5.5**2, rtol=0.05)
    assert drawn.maps.mask.sum() * voxel**2 == pytest.approx(28 * np.pi * 7.5**2, rel=0.02)
    # The first sphere lies along +x, and numbers go towards +y.
    y, x = np.argwhere(drawn.rois[0] == 1).mean(axis=0) - 110
    assert (x, y) == pytest.approx((50, 0), abs=0.6)
    y, x = np.argwhere(drawn.rois[0] == 3).mean(axis=0) - 110
    assert y > 40


def test_a_seed_fills_them_with_something_else():
    published, other, again = (spheres(matrix=64, fov=0.22, seed=seed) for seed in (0, 1, 1))
    np.testing.assert_array_equal(other.maps.si["T1"], again.maps.si["T1"])
    inside = other.maps.mask
    assert not np.allclose(other.maps.si["T1"][inside], published.maps.si["T1"][inside])
    assert np.all(other.maps.si["T2"][inside] < other.maps.si["T1"][inside])


def test_what_is_scanned_is_simulated_as_the_protocol_asks():
    """Not ideally spoiled, under which T2 would do nothing but scale."""
    protocol = load_protocol("fisp-spiral")
    values = {"T1": np.array([1.0, 1.0]), "T2": np.array([0.05, 0.1]), "B1": np.ones(2)}
    signals = readout_signals(protocol, values, SignalModel(spoiling="epg"))
    assert np.abs(np.vdot(*signals)) / np.prod(np.linalg.norm(signals, axis=1)) < 0.98
    phantom = spheres(matrix=220, fov=0.22, n_slices=1)
    raw = scan(phantom, protocol, n_coils=1, snr=np.inf)
    assert raw.readout == "stored"
    # At the centre of k-space, a spiral's first sample, is the sum of all voxels times the coil.
    ideal = scan(phantom, protocol, n_coils=1, snr=np.inf, model=SignalModel())
    a, b = (one.kspace[0, 0, :, 0] for one in (raw, ideal))
    assert np.abs(np.vdot(a, b)) / np.linalg.norm(a) / np.linalg.norm(b) < 0.99


def test_a_phantom_without_the_maps_of_a_protocol_is_refused():
    body = thigh(matrix=96, fov=0.22, n_slices=1, slice_spacing=0.01, seed=0)
    with pytest.raises(MismatchError, match=r"has the parameters T1, T2, B1, the phantom has FF, .*use a phantom"):
        scan(body, load_protocol("fisp"))

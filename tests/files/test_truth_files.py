from dataclasses import replace

import numpy as np
import pytest

from mrfpipe.errors import InputError
from mrfpipe.evaluation.metrics import evaluate
from mrfpipe.files.kinds import TRUTH, kind_of
from mrfpipe.files.results import save_result
from mrfpipe.files.truth import load_reference, save_truth, truth_arrays
from mrfpipe.phantom.anatomy import thigh
from mrfpipe.phantom.spheres import spheres
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.quantities import parameters_from_text

SHAPE = (2, 8, 9)


@pytest.fixture
def truth() -> dict[str, np.ndarray]:
    """A truth as simulations write it: zero outside the mask, whose values go beyond one, and in file units."""
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 3, SHAPE).astype(np.uint8)
    limits = {"FF": (0, 1), "T1H2O": (600, 1600), "T1fat": (250, 350), "df": (-50, 50), "B1": (0.5, 1)}
    images = {k: np.where(mask > 0, rng.uniform(*v, SHAPE), 0).astype(np.float32) for k, v in limits.items()}
    return images | {"mask": mask, "roi": rng.integers(0, 4, SHAPE).astype(np.uint8)}


def test_truth_in_file_units_becomes_maps_in_si(tmp_path, truth):
    np.savez_compressed(tmp_path / "truth.npz", **truth)
    maps, rois = load_reference(tmp_path / "truth.npz", PARAMETERS)
    inside = truth["mask"] > 0
    np.testing.assert_array_equal(maps.mask, inside)
    np.testing.assert_allclose(maps.si["T1H2O"][inside], truth["T1H2O"][inside] / 1000, rtol=1e-6)
    np.testing.assert_allclose(maps.si["T1fat"][inside], truth["T1fat"][inside] / 1000, rtol=1e-6)
    np.testing.assert_array_equal(maps.si["df"][inside], truth["df"][inside])
    assert np.isnan(maps.si["df"][~inside]).all()
    np.testing.assert_array_equal(rois, truth["roi"])
    assert rois.dtype == np.int64


def test_single_slice_and_no_regions(tmp_path, truth):
    single = {name: array[0] for name, array in truth.items()}
    np.savez(tmp_path / "one.npz", **single)
    assert load_reference(tmp_path / "one.npz", PARAMETERS)[0].mask.shape == (1, 8, 9)
    for roi in (None, np.zeros(SHAPE, np.uint8)):
        np.savez(tmp_path / "none.npz", **{k: v for k, v in (truth | {"roi": roi}).items() if v is not None})
        assert load_reference(tmp_path / "none.npz", PARAMETERS)[1] is None


def test_regions_may_be_whole_numbers_of_any_type(tmp_path, truth):
    np.savez(tmp_path / "truth.npz", **truth | {"roi": truth["roi"].astype(np.float32)})
    np.testing.assert_array_equal(load_reference(tmp_path / "truth.npz", PARAMETERS)[1], truth["roi"])


def test_result_folder_and_maps_file(tmp_path, maps, provenance):
    save_result(tmp_path / "out" / "scan", maps, provenance, force=False)
    for path in ("out", "out/scan", "out/scan/maps.h5"):
        reference, rois = load_reference(tmp_path / path)
        assert rois is None
        assert evaluate(maps, reference)["T1H2O"].rmse < 1e-3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"df": None}, "has no array df"),
        ({"mask": None}, "has no array mask"),
        ({"T1H2O": np.zeros((2, 9, 8))}, "T1H2O has shape"),
        ({"FF": np.full(SHAPE, np.nan)}, "FF is not finite"),
        ({"B1": np.full(SHAPE, "a")}, "B1 holds"),
        ({"FF": np.full(SHAPE, None)}, "cannot be read as .npz: Object arrays"),
        ({"roi": np.full(SHAPE, 1.5)}, "whole numbers"),
        ({"roi": np.full(SHAPE, np.inf)}, "whole numbers"),
        ({"roi": np.ones((2, 3, 4), int)}, "roi has shape"),
    ],
)
def test_impossible_truth_is_refused(tmp_path, truth, change, words):
    path = tmp_path / "truth.npz"
    np.savez(path, **{k: v for k, v in (truth | change).items() if v is not None}, allow_pickle=True)
    with pytest.raises(InputError, match=words) as caught:
        load_reference(path, PARAMETERS)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nan_outside_the_mask_is_no_matter(tmp_path, truth):
    truth["df"][truth["mask"] == 0] = np.nan
    np.savez(tmp_path / "truth.npz", **truth)
    load_reference(tmp_path / "truth.npz", PARAMETERS)


def test_damaged_truth_is_refused(tmp_path, truth):
    path = tmp_path / "truth.npz"
    np.savez_compressed(path, **truth)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    expected, _ = load_reference(path, PARAMETERS)
    for i in range(200):
        damaged = bytearray(content)
        if i % 2:
            damaged = damaged[: rng.integers(len(damaged))]
        else:
            damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            got, _ = load_reference(path, PARAMETERS)
        except InputError as e:
            assert str(path) in str(e)
        else:
            np.testing.assert_array_equal(got["df"], expected["df"])
    for text in (b"", b"text"):
        path.write_bytes(text)
        with pytest.raises(InputError, match=r"cannot be read as \.npz"):
            load_reference(path, PARAMETERS)


def test_what_is_not_there_is_refused(tmp_path):
    for name in ("absent.npz", "absent.h5", "absent"):
        with pytest.raises(InputError, match=f"{name} does not exist"):
            load_reference(tmp_path / name)


@pytest.fixture(scope="module")
def phantom():
    return thigh(matrix=64, fov=0.35, n_slices=2, slice_spacing=0.01, seed=0)


def test_has_the_units_of_files_and_zeros_outside(phantom):
    arrays = truth_arrays(phantom.maps, phantom.rois)
    assert list(arrays) == ["mask", "FF", "T1H2O", "T1fat", "df", "B1", "roi", "parameters"]
    assert parameters_from_text(str(arrays.pop("parameters"))) == tuple(replace(p, weight=1.0) for p in PARAMETERS)
    mask = phantom.maps.mask
    for name, array in arrays.items():
        assert array.shape == (2, 64, 64)
        assert not array[~mask].any()
        assert array.dtype == (np.uint8 if name in ("mask", "roi") else np.float32)
    np.testing.assert_allclose(arrays["T1H2O"][mask], phantom.maps.si["T1H2O"][mask] * 1000, rtol=1e-6)
    np.testing.assert_allclose(arrays["T1fat"][mask], phantom.maps.si["T1fat"][mask] * 1000, rtol=1e-6)
    np.testing.assert_array_equal(arrays["df"][mask], phantom.maps.si["df"][mask])


def test_is_written_to_exactly_the_path(phantom, tmp_path):
    path = tmp_path / "scan.truth.tmp"
    save_truth(phantom.maps, phantom.rois, path)
    assert [p.name for p in tmp_path.iterdir()] == ["scan.truth.tmp"]
    with np.load(path) as file:
        assert set(file.files) == set(truth_arrays(phantom.maps, phantom.rois))
        for name, array in truth_arrays(phantom.maps, phantom.rois).items():
            np.testing.assert_array_equal(file[name], array)


def test_a_truth_that_does_not_say_what_it_is_of_is_refused_without_parameters(tmp_path, truth):
    np.savez(tmp_path / "truth.npz", **truth)
    with pytest.raises(InputError, match=r"does not name the parameters of its maps; give a result to compare it with"):
        load_reference(tmp_path / "truth.npz")


def test_a_truth_of_any_parameters_is_told_from_other_files(tmp_path):
    """Of spheres it has no fat fraction."""
    maps = spheres(matrix=16, fov=0.25).maps
    save_truth(maps, np.zeros(maps.mask.shape, np.uint8), tmp_path / "spheres.truth.npz")
    assert kind_of(tmp_path / "spheres.truth.npz") == (TRUTH, "the truth of a phantom")
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    assert kind_of(tmp_path / "other.npz")[0] is None

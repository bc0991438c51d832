"""Frames files that hold coefficients and their basis."""

import dataclasses

import h5py
import numpy as np
import pytest
from helpers import complex_normal

from mrfpipe.errors import InputError
from mrfpipe.files.frames import load_frames, read_frames_header, save_frames

RANK = 4


@pytest.fixture
def coefficients(series):
    basis = np.linalg.qr(complex_normal(np.random.default_rng(2), series.n_frames, RANK))[0]
    return dataclasses.replace(series, images=np.ascontiguousarray(series.images[:, :RANK]), basis=basis)


@pytest.fixture
def path(coefficients, protocol, provenance, tmp_path):
    save_frames(coefficients, tmp_path / "frames.h5", protocol=protocol, provenance=lambda: provenance)
    return tmp_path / "frames.h5"


def test_they_are_read_as_they_were_written(path, coefficients):
    found = load_frames(path)
    for name in ("images", "basis", "mask", "affine"):
        np.testing.assert_array_equal(getattr(found, name), getattr(coefficients, name))
    assert found.kind == "coefficients"
    header = read_frames_header(path)
    assert (header.n_frames, header.rank, header.matrix) == (175, RANK, coefficients.images.shape[-2:])


def test_a_file_of_frames_has_no_rank(series, protocol, provenance, tmp_path):
    save_frames(series, tmp_path / "plain.h5", protocol=protocol, provenance=lambda: provenance)
    assert read_frames_header(tmp_path / "plain.h5").rank is None
    assert load_frames(tmp_path / "plain.h5").basis is None


@pytest.mark.parametrize("damage", ["missing", "rank", "double", "nan", "scaled"])
def test_a_basis_that_does_not_fit_is_refused(path, damage):
    with h5py.File(path, "r+") as file:
        basis = file["basis"][...]
        del file["basis"]
        if damage == "rank":
            file["basis"] = basis[:, 1:]
        elif damage == "double":
            file["basis"] = basis.astype(np.complex128)
        elif damage != "missing":
            file["basis"] = basis * np.complex64(np.nan if damage == "nan" else 2)
    with pytest.raises(InputError, match=r"frames\.h5") as caught:
        load_frames(path)
    assert "\n" not in str(caught.value)

"""What a GPU computes in place of the libraries, by the very same code on the CPU."""

import numpy as np
import pytest
import torch
from helpers import complex_normal, exact_dft, small_protocol
from sequences import first_readouts

from mrfpipe.acquisition.trajectory import golden_angle_spokes
from mrfpipe.dictionary import build_dictionary
from mrfpipe.errors import ResourceError
from mrfpipe.imaging import coils, frames, joint, nufft_torch, reconstruction
from mrfpipe.imaging.choices import Imaging
from mrfpipe.imaging.density import ramp_weights
from mrfpipe.imaging.nufft_torch import adjoint, modulated_adjoint
from mrfpipe.imaging.reconstruction import Reconstruction
from mrfpipe.imaging.subspace import normal_equations
from mrfpipe.imaging.toeplitz import spread_kernels
from mrfpipe.phantom.anatomy import thigh
from mrfpipe.phantom.scanner import scan
from mrfpipe.readout_basis import at_readouts, readout_basis

CPU = torch.device("cpu")
MATRIX, N_FRAMES, RANK, N_COILS, SPOKES_PER_FRAME = 17, 20, 3, 2, 8
WITHIN = 3e-5
"""Relative: the kernel errs by 1e-5, float32 sums of hundreds of products by as much again."""
FINUFFT_ERROR = 3e-4
"""As of `tests/imaging/test_nufft.py`; 3e-5 were seen of a scan."""


@pytest.fixture
def by_torch(monkeypatch) -> None:
    """Let torch compute on the CPU, too."""
    monkeypatch.setattr(nufft_torch, "runs_on", lambda _: True)


def relative_error(found, expected) -> float:
    return float(np.linalg.norm(np.asarray(found) - expected) / np.linalg.norm(expected))


def exact_adjoint(samples: np.ndarray, trajectory: np.ndarray, matrix: int) -> np.ndarray:
    """m(y, x) = sum of s(k) exp(2 pi i (kx x + ky y) / N). Shapes (..., k) and (k, 2) to (..., y, x)."""
    voxels = np.eye(matrix**2).reshape(-1, matrix, matrix)
    return (samples @ exact_dft(voxels, trajectory).conj().T).reshape(*samples.shape[:-1], matrix, matrix)


@pytest.mark.parametrize("matrix", [16, 17, 30])
def test_it_is_the_exact_transform(matrix):
    """Of two sets along other trajectories; the first sample of each is at the centre, the second at the edge."""
    rng = np.random.default_rng(matrix)
    trajectory = rng.uniform(-matrix / 2, matrix / 2, (2, 150, 2)).astype(np.float32)
    trajectory[:, 0], trajectory[:, 1] = 0, (-matrix / 2, matrix / 2)
    samples = complex_normal(rng, 2, 3, 150)
    found = adjoint(torch.from_numpy(samples), torch.from_numpy(trajectory), matrix)
    assert found.dtype == torch.complex64
    for k, some, images in zip(trajectory, samples, found, strict=True):
        assert relative_error(images, exact_adjoint(some, k, matrix)) < WITHIN


def test_a_trajectory_beyond_the_grid_is_refused():
    for k in (10.5, np.nan):
        with pytest.raises(ValueError, match="cycles/FOV, a matrix of 20 holds 10"):
            adjoint(torch.zeros((1, 1, 1), dtype=torch.complex64), torch.full((1, 1, 2), k), 20)


def test_each_image_has_its_own_factors(by_torch):
    rng = np.random.default_rng(1)
    trajectory = rng.uniform(-8, 8, (4, 30, 2)).astype(np.float32)
    factors, samples = complex_normal(rng, 3, 4), complex_normal(rng, 4, 30)
    expected = exact_adjoint((factors[:, :, None] * samples).reshape(3, -1), trajectory.reshape(-1, 2), 16)
    found = modulated_adjoint(factors, samples, trajectory, 16, backend="sigpy", device=CPU)
    assert relative_error(found, expected) < WITHIN
    with pytest.raises(ValueError, match="samples has shape"):
        modulated_adjoint(factors[:, :3], samples, trajectory, 16, backend="sigpy", device=CPU)


@pytest.fixture(scope="module")
def trajectory() -> np.ndarray:
    full = small_protocol(matrix=MATRIX).sequence
    return golden_angle_spokes(first_readouts(full, N_FRAMES * SPOKES_PER_FRAME))


@pytest.fixture(scope="module")
def density(trajectory) -> np.ndarray:
    return ramp_weights(trajectory, MATRIX)


@pytest.fixture(scope="module")
def basis() -> np.ndarray:
    t = np.linspace(0, 1, N_FRAMES)
    return np.linalg.qr(np.exp(np.outer(t, [-1.5, 0.5 + 4j, -3 - 2j])))[0].astype(np.complex64)


@pytest.fixture(scope="module")
def maps() -> np.ndarray:
    """Neither real nor alike after a flip or transposition."""
    y, x = np.mgrid[:MATRIX, :MATRIX] / MATRIX
    return np.stack([1 - 0.6 * x + 0.5j * y, (0.3 + 0.7 * x * y) * np.exp(2j * x - 1j * y)]).astype(np.complex64)


@pytest.fixture(scope="module")
def waves(trajectory) -> np.ndarray:
    """The Fourier transform as a matrix. Shape `(voxels, readouts, samples)`."""
    return exact_dft(np.eye(MATRIX**2).reshape(-1, MATRIX, MATRIX), trajectory)


def test_the_equations_of_a_slice_are_those_of_the_explicit_matrix(by_torch, trajectory, density, basis, maps, waves):
    """Right side and kernels: every sign, conjugate and axis."""
    rng, repeated = np.random.default_rng(2), np.repeat(basis, SPOKES_PER_FRAME, axis=0)
    kspace, images = complex_normal(rng, N_COILS, *density.shape), complex_normal(rng, RANK, MATRIX, MATRIX)
    equations = normal_equations(kspace, trajectory, density, maps, repeated, SPOKES_PER_FRAME)
    back = np.einsum("cv,sr,sk,vsk,csk->rv", maps.reshape(N_COILS, -1).conj(), repeated.conj(), N_FRAMES * density,
                     waves.conj(), kspace, optimize=True)  # fmt: skip
    assert equations.right.dtype == torch.complex64
    assert relative_error(equations.right.flatten(1), back) < WITHIN
    seen = np.einsum("cv,sr,vsk,rv->csk", maps.reshape(N_COILS, -1), repeated, waves, images.reshape(RANK, -1),
                     optimize=True)  # fmt: skip
    again = normal_equations(seen, trajectory, density, maps, repeated, SPOKES_PER_FRAME, kernels=equations.kernels)
    assert relative_error(equations.normal(torch.from_numpy(images)), again.right.numpy()) < 2 * WITHIN


def test_kernels_of_another_basis_are_the_libraries(monkeypatch, trajectory, density, basis):
    trains = complex_normal(np.random.default_rng(3), len(trajectory), 2)
    arguments = trajectory, density, np.repeat(basis, SPOKES_PER_FRAME, axis=0), trains, MATRIX
    theirs = spread_kernels(*arguments, backend="finufft")
    monkeypatch.setattr(nufft_torch, "runs_on", lambda _: True)
    assert relative_error(spread_kernels(*arguments), theirs.numpy()) < FINUFFT_ERROR


@pytest.mark.parametrize("at_once", [1, 8, 100])
def test_frames_are_made_of_their_own_readouts(monkeypatch, by_torch, trajectory, density, maps, waves, at_once):
    """Some at a time, of which a last lot is smaller, and a readout too many is left out; each is told once."""
    monkeypatch.setattr(frames, "GRIDS", at_once * N_COILS * 4 * MATRIX**2 * 8)
    kspace, steps = complex_normal(np.random.default_rng(4), N_COILS, *density.shape), []
    n_readouts = len(trajectory) - 3
    part = kspace[:, :n_readouts], trajectory[:n_readouts], maps, density[:n_readouts]
    found = frames.reconstruct_frames(*part, SPOKES_PER_FRAME, progress=lambda *step: steps.append(step))
    n_frames = N_FRAMES - 1
    assert steps == [(frame + 1, n_frames) for frame in range(n_frames)]
    assert found.dtype == np.complex64
    for frame, image in enumerate(found):
        own = slice(frame * SPOKES_PER_FRAME, (frame + 1) * SPOKES_PER_FRAME)
        expected = np.einsum("cv,sk,vsk,csk->v", maps.reshape(N_COILS, -1).conj(), n_frames * density[own],
                             waves[:, own].conj(), kspace[:, own], optimize=True)  # fmt: skip
        assert relative_error(image.ravel(), expected) < WITHIN


def test_records_name_what_computed():
    assert "by frame (torch, coil maps" in Imaging(backend="finufft").described("cuda:1")
    assert "by frame (finufft, coil maps" in Imaging(backend="finufft").described("cpu")


@pytest.fixture(scope="module")
def dictionary():
    return build_dictionary(small_protocol(), rank=10)


@pytest.fixture(scope="module")
def raw(dictionary):
    sequence = dictionary.protocol.sequence
    phantom = thigh(matrix=sequence.matrix, fov=sequence.fov, n_slices=1, slice_spacing=0.012, seed=3)
    return scan(phantom, dictionary.protocol, n_coils=4)


@pytest.mark.parametrize("recon", ["nufft", "subspace", "joint"])
def test_a_scan_has_the_images_that_libraries_make(monkeypatch, raw, dictionary, recon):
    bases = {"basis": None if recon == "nufft" else dictionary.subspace}
    extended = {"subspace": at_readouts(dictionary.subspace, dictionary), "joint": readout_basis(dictionary)}
    bases |= {"readout_basis": extended.get(recon)}
    made = []
    for by_torch in (False, True):
        monkeypatch.setattr(nufft_torch, "runs_on", lambda _, by_torch=by_torch: by_torch)
        images = Reconstruction(raw, dictionary.protocol.sequence, Imaging(recon=recon, backend="finufft"), **bases)
        made.append((next(iter(images)), images))
    (theirs, libraries), (ours, torchs) = made
    tissue = theirs.mask[0]
    np.testing.assert_array_equal(ours.mask[0], tissue)
    pairs = [(torchs.coil_maps[:, tissue], libraries.coil_maps[:, tissue])]  # beside it coils see nothing but error
    pairs += [(ours.images[0, :, tissue], theirs.images[0, :, tissue])]
    if recon == "joint":
        pairs += [(getattr(ours.equations, name), getattr(theirs.equations, name)) for name in ("right", "kernels")]
    for found, expected in pairs:
        assert 0 < relative_error(found, np.asarray(expected)) < FINUFFT_ERROR


def test_a_gpu_that_is_too_small_is_named(monkeypatch, raw, dictionary):
    def too_large(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")

    monkeypatch.setattr(reconstruction, "reconstruct_frames", too_large)
    with pytest.raises(ResourceError, match=r"A slice of .* does not fit into the memory of cpu; use --device cpu\."):
        Reconstruction(raw, dictionary.protocol.sequence).series()


def test_nothing_is_left_on_the_cpu(monkeypatch, trajectory, density, basis, maps):
    """A device without numbers refuses to work with arrays of another; and scans hold arrays that must not be written.

    What needs numbers is taken out.
    """
    nowhere, kspace = torch.device("meta"), np.ones((N_COILS, *density.shape), np.complex64)
    for array in (kspace, trajectory, density, basis, maps):
        monkeypatch.setattr(array.flags, "writeable", False)
    monkeypatch.setattr(nufft_torch, "check_reach", lambda *_: None)
    for method, value in (("__float__", 0.0), ("__bool__", False)):
        monkeypatch.setattr(torch.Tensor, method, lambda _, value=value: value)
    monkeypatch.setattr(torch.Tensor, "cpu", lambda one: torch.zeros(one.shape, dtype=one.dtype))
    repeated = np.repeat(basis, SPOKES_PER_FRAME, axis=0)
    equations = normal_equations(kspace, trajectory, density, maps, repeated, SPOKES_PER_FRAME, device=nowhere)
    assert {part.device for part in (equations.right, equations.maps, equations.kernels)} == {nowhere}
    assert equations.normal(equations.right).device == nowhere
    assert spread_kernels(trajectory, density, repeated, repeated, MATRIX, device=nowhere).device == nowhere
    frames.reconstruct_frames(kspace, trajectory, maps, density, SPOKES_PER_FRAME, device=nowhere)
    coils.estimate_coil_maps(kspace, trajectory, MATRIX, device=nowhere)
    mask, jacobian = np.eye(MATRIX, dtype=bool), np.ones((MATRIX, 4, RANK), np.complex64)
    slopes, step = torch.view_as_real(torch.from_numpy(jacobian)).flatten(2), torch.ones((MATRIX, 4))
    sampled = joint._sampled(equations, slopes.to(nowhere), torch.from_numpy(np.flatnonzero(mask)), step)
    assert sampled.shape == (MATRIX, 4)

"""What runs on a GPU, against its twin on the CPU."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import complex_normal, scores_in_double, small_protocol

from mrfpipe.dictionary import build_dictionary
from mrfpipe.imaging.choices import Imaging
from mrfpipe.imaging.nufft_torch import adjoint
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.learning.inference import reconstruct
from mrfpipe.learning.presets import PRESETS
from mrfpipe.learning.training import train
from mrfpipe.matching.brute import match_brute
from mrfpipe.matching.exact import match_exact
from mrfpipe.matching.group import match_group
from mrfpipe.matching.grouping import build_groups
from mrfpipe.matching.match import match_series
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.physics.simulate import MODELS, SignalModel, component_signals
from mrfpipe.protocol import Grid, load_protocol
from mrfpipe.readout_basis import at_readouts, readout_basis

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU that torch can use"),
]
GPU = torch.device("cuda:0")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dictionary():
    return build_dictionary(load_protocol("t1ff-small"), rank=12)


@pytest.fixture(scope="module")
def series(dictionary):
    """One slice of 40 x 40 voxels that are noisy entries."""
    rng = np.random.default_rng(0)
    entries = dictionary.entries(rng.integers(0, dictionary.n_entries, 1600)) @ dictionary.basis.T
    entries = entries + 0.1 * np.abs(entries).mean() * complex_normal(rng, *entries.shape)
    return FrameSeries(
        name="s",
        images=np.ascontiguousarray(entries.T.reshape(1, -1, 40, 40).astype(np.complex64)),
        mask=np.ones((1, 40, 40), bool),
        affine=np.eye(4),
        sequence_hash=dictionary.protocol.sequence.hash,
    )


def thinned(name):
    """A protocol with few values of each parameter."""
    protocol = load_protocol(name)
    axes = {parameter: axis[:: max(1, len(axis) // 6)] for parameter, axis in protocol.grid.items()}
    return replace(protocol, grid=Grid(axes=axes))


@pytest.mark.parametrize("slice_profile", [False, True])
@pytest.mark.parametrize("spoiling", MODELS)
@pytest.mark.parametrize("name", ["t1ff-small", "fisp"])
def test_signals_are_the_same(name, spoiling, slice_profile):
    protocol, model = thinned(name), SignalModel(spoiling=spoiling, slice_profile=slice_profile)
    gpu, cpu = (component_signals(protocol, model, device) for device in (GPU, CPU))
    # complex64; phase graphs in single precision that follow 64 orders, on the CPU as many as matter.
    within = 1e-3 if spoiling == "epg" else 1e-6
    for ours, theirs in zip(gpu, cpu, strict=True):
        assert np.all(np.linalg.norm(ours - theirs, axis=-1) < within * np.linalg.norm(theirs, axis=-1))


def test_brute_force_is_the_same(dictionary):
    signals = complex_normal(np.random.default_rng(1), 300, dictionary.rank)
    gpu, cpu = (match_brute(signals, dictionary, device) for device in (GPU, CPU))
    np.testing.assert_allclose(gpu.score, cpu.score, rtol=1e-5)


@pytest.mark.parametrize("rank", [8, 12, 20])
@pytest.mark.parametrize("name", ["t1ff-small", "t1ff", "fisp"])
def test_exact_matching_is_the_same(name, rank):
    """Entries with a random phase and noise from none to a hundred times their norm."""
    rng, n = np.random.default_rng(rank), 2000
    dictionary = build_dictionary(load_protocol(name), rank=rank)
    clean = dictionary.entries(rng.integers(0, dictionary.n_entries, n))
    clean *= np.exp(2j * np.pi * rng.random(n))[:, None] / np.linalg.norm(clean, axis=1, keepdims=True)
    level = rng.choice([0, 0.003, 0.03, 0.1, 0.3, 1, 100], n) / np.sqrt(rank)
    signals = (clean + level[:, None] * complex_normal(rng, n, rank)).astype(np.complex64)
    gpu, cpu = (match_exact(signals, dictionary, device) for device in (GPU, CPU))
    np.testing.assert_allclose(gpu.score, cpu.score, rtol=1e-5)
    scores = [scores_in_double(dictionary, signals, found.entry) for found in (gpu, cpu)]
    np.testing.assert_allclose(*scores, rtol=1e-5)
    np.testing.assert_allclose(scores[0], gpu.score, rtol=1e-5)
    parts = [match_exact(some, dictionary, GPU) for some in np.array_split(signals, 7)]
    np.testing.assert_array_equal(np.concatenate([part.entry for part in parts]), gpu.entry)
    np.testing.assert_array_equal(np.concatenate([part.score for part in parts]), gpu.score)


def test_a_series_is_matched_on_the_gpu(dictionary, series):
    gpu, cpu = (match_series(series, dictionary, refined=False, device=device)[0] for device in (GPU, CPU))
    np.testing.assert_allclose(gpu.match, cpu.match, rtol=1e-5)


def test_group_matching_is_the_same(dictionary):
    groups = build_groups(dictionary, device=GPU)
    signals = complex_normal(np.random.default_rng(2), 300, dictionary.rank)
    gpu, cpu = (match_group(signals, dictionary, groups, kept=1, device=device) for device in (GPU, CPU))
    np.testing.assert_allclose(gpu.score, cpu.score, rtol=1e-5)
    np.testing.assert_allclose(gpu.score, match_brute(signals, dictionary).score, rtol=1e-5)


def test_a_network_trained_on_it_gives_the_same_maps_on_both(dictionary, series):
    labels = match_series(series, dictionary, refined=False)[0]
    protocol = dictionary.protocol
    model = train([series], [labels], preset=replace(PRESETS["small"], n_epochs=2), protocol=protocol, device=GPU)
    gpu, cpu = (reconstruct(series, model, protocol, device=device)[0] for device in (GPU, CPU))
    for parameter in PARAMETERS:
        axis = protocol.grid[parameter.name]
        # float32 is off by up to 4e-6 of a range here, sums in another order by as much again; TF32 would be by 3e-3.
        np.testing.assert_allclose(gpu.si[parameter.name], cpu.si[parameter.name], atol=1e-4 * (axis[-1] - axis[0]))


@pytest.mark.parametrize("n_images", [1, 9])
def test_the_nufft_is_the_same(n_images):
    """By the same code, adding in another order; many samples at one point of the grid, as at the centre of k-space."""
    rng, n = np.random.default_rng(3), 20_000
    samples = torch.from_numpy(complex_normal(rng, 2, n_images, n))
    trajectory = torch.from_numpy(rng.uniform(-24, 24, (2, n, 2)).astype(np.float32))
    trajectory[:, ::7] = 0
    gpu, cpu = (adjoint(samples.to(device), trajectory.to(device), 48).cpu() for device in (GPU, CPU))
    torch.testing.assert_close(gpu, cpu, rtol=0, atol=1e-5 * float(cpu.abs().max()))


@pytest.fixture(scope="module")
def small():
    return build_dictionary(small_protocol(), rank=10)


@pytest.fixture(scope="module")
def raw(small):
    """A scan of 4 coils. Without what reads scans, which a machine with a GPU may lack, there is none."""
    pytest.importorskip("finufft")
    pytest.importorskip("ismrmrd")
    from mrfpipe.phantom.anatomy import thigh
    from mrfpipe.phantom.scanner import scan

    sequence = small.protocol.sequence
    phantom = thigh(matrix=sequence.matrix, fov=sequence.fov, n_slices=1, slice_spacing=0.012, seed=3)
    return scan(phantom, small.protocol, n_coils=4)


def images(raw, small, recon, device):
    from mrfpipe.imaging.reconstruction import Reconstruction

    bases = {"basis": None if recon == "nufft" else small.subspace}
    extended = {"subspace": at_readouts(small.subspace, small), "joint": readout_basis(small)}
    bases |= {"readout_basis": extended.get(recon)}
    imaging = Imaging(recon=recon, backend="finufft")
    return next(iter(Reconstruction(raw, small.protocol.sequence, imaging, device=device, **bases)))


@pytest.mark.parametrize("recon", ["nufft", "subspace"])
def test_images_are_the_same(raw, small, recon):
    """By torch on a GPU, by finufft, which errs by 1e-4, on the CPU."""
    gpu, cpu = (images(raw, small, recon, device).images for device in (GPU, CPU))
    assert np.linalg.norm(gpu - cpu) < 1e-3 * np.linalg.norm(cpu)


def test_joint_maps_and_their_deviations_are_the_same(raw, small):
    series = {device: images(raw, small, "joint", device) for device in (GPU, CPU)}
    gpu, cpu = (match_series(one, small, device=device)[0] for device, one in series.items())
    inside = gpu.mask & cpu.mask
    assert inside.sum() > 0.99 * cpu.mask.sum()
    for name, axis in small.protocol.grid.items():
        # Of the median voxel: where a parameter hardly matters, a little more noise moves it far.
        apart = np.median(np.abs(gpu.si[name] - cpu.si[name])[inside])
        assert apart < 1e-3 * (axis[-1] - axis[0]), name
        np.testing.assert_allclose(np.median(gpu.sd[name][inside]), np.median(cpu.sd[name][inside]), rtol=0.02)

"""Off-resonance during readouts: samples by the exact sum over voxels that turn, and what is made of them."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import complex_normal, small_protocol
from sequences import first_readouts

from mrfpipe.acquisition.scan import RawScan
from mrfpipe.acquisition.trajectory import golden_angle_spokes
from mrfpipe.errors import MismatchError
from mrfpipe.imaging.choices import Imaging
from mrfpipe.imaging.off_resonance import ERROR, OffResonance
from mrfpipe.imaging.reconstruction import FREQUENCIES, Reconstruction
from mrfpipe.phantom.spiral import golden_angle_spirals
from mrfpipe.protocol import Readout

MATRIX, N_READOUTS, N_SAMPLES, PER_FRAME = 24, 48, 96, 8
DURATION = 5e-3
"""Of a readout in s: 100 Hz make half a turn."""
SPOKES = first_readouts(small_protocol(matrix=MATRIX).sequence, N_READOUTS)
SEQUENCE = replace(SPOKES, readout=Readout(kind="stored", readouts_per_frame=PER_FRAME))
SPIRALS = golden_angle_spirals(SEQUENCE, n_samples=N_SAMPLES)
TIMES = np.tile(np.linspace(1e-3, 1e-3 + DURATION, N_SAMPLES, dtype=np.float32), (N_READOUTS, 1))
"""From the pulse on, a millisecond before the spiral begins."""
Y, X = np.mgrid[:MATRIX, :MATRIX] - MATRIX // 2
FIELD = (60 + 120 * np.exp(-((X - 5) ** 2 + (Y + 4) ** 2) / 60) - 8 * X).astype(np.float32)
"""From 4 to 180 Hz in the objects, never alike after a flip or transposition."""


def objects() -> np.ndarray:
    """Smooth, so that their k-space ends within the disc that spirals reach. Shape `(objects, y, x)`."""
    places = [(-5, 3, 3, 2, 1.0), (4, -4, 2, 2.5, 0.8j)]
    return np.array([p * np.exp(-(((X - a) / w) ** 2 + ((Y - b) / h) ** 2) / 2) for a, b, w, h, p in places])


def terms(trajectory: np.ndarray, since: np.ndarray, field: np.ndarray) -> np.ndarray:
    """What voxels add to samples of the exact sum, turned by then. Shape `(readouts samples, y x)`."""
    k, since = trajectory.reshape(-1, 2).astype(float), since.reshape(-1, 1)
    return np.exp(2j * np.pi * (since * field.ravel() - (k[:, :1] * X.ravel() + k[:, 1:] * Y.ravel()) / MATRIX))


@pytest.mark.parametrize("kind", ["spirals", "spokes"])
def test_a_linear_reconstruction_turns_every_voxel_back(kind):
    """Summing all samples into a voxel, turned back by its own frequency: the adjoint of the exact sum."""
    k = SPIRALS[:12] if kind == "spirals" else golden_angle_spokes(SPOKES)[:12]
    times = np.tile(np.linspace(1e-3, 1e-3 + DURATION, k.shape[1], dtype=np.float32), (12, 1))
    times[1] = times[1, ::-1]  # measured from its other end: its time runs back
    since = times - times[np.arange(12), np.hypot(*np.moveaxis(k, -1, 0)).argmin(axis=1)][:, None]
    samples = complex_normal(np.random.default_rng(0), 2, *k.shape[:2])
    still = terms(k, 0 * since, FIELD)

    def adjoint(kspace: np.ndarray) -> np.ndarray:
        return (kspace.reshape(2, -1) @ still.conj()).reshape(-1, MATRIX, MATRIX)

    expected = (samples.reshape(2, -1) @ terms(k, since, FIELD).conj()).reshape(-1, MATRIX, MATRIX)
    found = OffResonance.of(FIELD[None], times, k).corrected(0, samples, adjoint)
    # Random samples add up in square, as the error of their turns does.
    assert np.linalg.norm(found - expected) < ERROR * np.linalg.norm(expected)


def test_frequencies_are_few_and_within_the_field():
    assert OffResonance.of(np.full((1, 4, 4), 50.0), TIMES, SPIRALS).frequencies.tolist() == [50.0]
    counts = []
    for width in (20.0, 100.0, 400.0):
        found = OffResonance.of(np.array([[[-30.0, width - 30.0]]]), TIMES, SPIRALS).frequencies
        assert -30 < found.min() < found.max() < width - 30
        counts.append(found.size)
    assert counts == [2, 3, 5]  # half a turn takes two to three, two turns five


def scanned(field: np.ndarray) -> RawScan:
    """What two coils receive of two objects, one that recovers and one that decays, with the same noise."""
    y, x = np.mgrid[:MATRIX, :MATRIX] / MATRIX - 0.5
    coils = np.stack([1 - 0.5 * x + 0.3j * y, (0.8 + 0.4 * y) * np.exp(1j * x)])
    seen = (objects()[:, None] * coils).reshape(2, 2, -1) @ terms(SPIRALS, TIMES - TIMES[:, :1], field).T
    kspace = np.einsum("or,ocrs->crs", np.repeat(courses(), PER_FRAME, axis=1), seen.reshape(2, 2, *TIMES.shape))
    kspace = kspace + 0.02 * complex_normal(np.random.default_rng(1), *kspace.shape)
    return RawScan(
        name="off",
        kspace=kspace.astype(np.complex64)[None],
        trajectory=SPIRALS,
        noise=None,
        affine=np.eye(4),
        matrix=MATRIX,
        fov=SEQUENCE.fov,
        readout="stored",
        times=TIMES,
    )


def courses() -> np.ndarray:
    t = np.linspace(0, 1, N_READOUTS // PER_FRAME)
    return np.stack([1 - 1.8 * np.exp(-4 * t), np.exp(-1.5 * t)])


@pytest.fixture(scope="module")
def scan() -> RawScan:
    return scanned(FIELD)


def apart(scan: RawScan, field: np.ndarray | None, recon: str = "subspace", **imaging: object) -> np.ndarray:
    """Magnitudes of the objects, told apart by their courses."""
    basis = np.linalg.qr(courses().T)[0].astype(np.complex64)
    imaging = Imaging(recon=recon, **imaging)
    made = Reconstruction(scan, SEQUENCE, imaging, basis=basis if recon == "subspace" else None, field=field)
    images = made.series().images[0]
    frames = np.tensordot(basis, images, 1) if recon == "subspace" else images
    assert (field is None) == (FREQUENCIES not in made.notes)
    return np.abs(np.tensordot(np.linalg.pinv(courses().T), frames, 1))


@pytest.mark.parametrize(("recon", "most"), [("subspace", 0.03), ("nufft", 0.045)])  # 0.018 and 0.027 seen
def test_objects_are_as_on_resonance_where_a_map_says_what_they_turn_by(scan, recon, most):
    """They are blurred without, and more so by a map of the other sign."""
    still = apart(scanned(0 * FIELD), None, recon)

    def difference(field: np.ndarray | None) -> float:
        return float(np.linalg.norm(apart(scan, field, recon) - still) / np.linalg.norm(still))

    corrected, left, wrong = difference(FIELD[None]), difference(None), difference(-FIELD[None])
    assert corrected < most < left / 2 < wrong / 4


def test_every_frequency_is_a_step(scan):
    steps = []
    made = Reconstruction(scan, SEQUENCE, field=FIELD[None], progress=lambda *step: steps.append(step))
    made.series()
    n = len(made.notes[FREQUENCIES]) * SEQUENCE.n_frames
    assert steps == [(i, n) for i in range(1, n + 1)]


def test_a_scan_of_the_other_sense_turns_the_other_way(scan):
    """Its conjugate has the objects' conjugates; the map stays as it is."""
    other = replace(scan, kspace=scan.kspace.conj(), trajectory=-scan.trajectory)
    found = apart(other, FIELD[None], conjugate=True)
    np.testing.assert_allclose(found, apart(scan, FIELD[None]), atol=1e-3 * found.max())  # float32, in another order


def test_a_scan_without_times_is_refused(scan):
    with pytest.raises(MismatchError, match=r"which scan off does not say; put the Pulseq file .* sample_time_us"):
        Reconstruction(replace(scan, times=None), SEQUENCE, field=FIELD[None])
    with pytest.raises(ValueError, match="field has shape"):
        Reconstruction(scan, SEQUENCE, field=FIELD[None, 1:])

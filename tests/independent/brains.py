"""Brains of volunteers in the scanner: a forward model of FISP that shares no code with mrfpipe.

The brains are published maps of T1, T2 and proton density at 1 mm. Every voxel has the signal of an extended phase
graph of its own, with all its orders; every readout of every coil is a Fourier transform of its own, by
finufft. Of mrfpipe are the protocol's file and where a spiral leads. As a program:

    python tests/independent/brains.py brain-3 fisp-spiral 230 OUT.h5

writes OUT.h5 (ISMRMRD) of the whole head, OUT.truth.npz beside it with the brain alone in its mask, and OUT.toml, the
protocol with the matrix and field of view of the scan. With a number of Hz behind it, the brain is off resonance by up
to so many, and OUT.field.nii.gz is its field map.
"""

import re
import sys
import tomllib
from importlib import resources
from pathlib import Path

import finufft
import ismrmrd
import ismrmrd.xsd as xsd
import nibabel
import numpy as np
from numba import njit, prange
from scipy import ndimage

BRAINS = Path(__file__).parents[2].parent / "shared" / "foreign" / "brain"
FULL, FOV = 230, 0.23
"""Voxels along x and y of the published maps, and their field of view in m."""
COILS, SNR = 8, 4000
"""SNR is the mean magnitude of the centre of k-space, over the whole scan, over the standard deviation of the noise."""
NOISE_READINGS = 4096
THICKNESS_MM = 5.0
DWELL = 4e-6
"""Time of a sample in s."""
SKULL = 0.3
"""Share of the largest proton density below which a voxel is skull."""
PRECISION = 1e-6
"""Of the Fourier transform; noise is 2.5e-4."""


def brain(name: str, matrix: int) -> dict[str, np.ndarray]:
    """T1 and T2 in s, density, B1, where the head is and where the brain. All of shape `(y, x)`.

    A smaller matrix takes single voxels out of the maps. B1, which they lack, falls from 1.08 in the middle to about
    0.85 at the brain's edge. The brain is the largest part of the head that is left without skull and thin bridges.
    """
    with np.load(BRAINS / f"{name}.npz") as file:
        head, t1, t2, density = file["mask"] > 0, file["T1"] * 1e-3, file["T2"] * 1e-4, file["PD"] / 4095
    tissue = head & (density > SKULL)
    parts, _ = ndimage.label(ndimage.binary_erosion(tissue, iterations=3))
    largest = parts == 1 + np.argmax(np.bincount(parts[parts > 0] - 1))
    inside = ndimage.binary_fill_holes(ndimage.binary_dilation(largest, iterations=3, mask=tissue))
    y, x = (np.mgrid[:FULL, :FULL] - FULL // 2) / (FULL / 2)
    b1 = 1.08 - 0.25 * (x**2 + 1.3 * y**2)
    maps = {"head": head, "brain": inside, "T1": t1, "T2": t2, "density": density, "B1": b1}
    taken = np.arange(matrix) * FULL // matrix
    return {key: image[np.ix_(taken, taken)] for key, image in maps.items()}


def fisp_signals(t1: np.ndarray, t2: np.ndarray, b1: np.ndarray, protocol: dict) -> np.ndarray:
    """Signals of a full inversion, a delay and a train with one dephasing a repetition. Shape `(voxels, readouts)`."""
    inversion, delay, train = protocol["sequence"]
    assert inversion["efficiency"] == 1 and protocol["history"]["kind"] == "equilibrium"
    te, tr, wait = (1e-3 * ms for ms in (train["te_ms"], train["tr_ms"], delay["duration_ms"]))
    return _train(t1, t2, b1, np.deg2rad(train["flip_deg"]), wait, te, tr)


@njit(parallel=True)
def _train(
    t1: np.ndarray, t2: np.ndarray, b1: np.ndarray, flips: np.ndarray, wait: float, te: float, tr: float
) -> np.ndarray:
    """Play the train. All pulses are about y, so that all states are real: F(k), F(-k) and Z(k) for k from 0."""
    n = flips.size
    signals = np.empty((t1.size, n))
    for v in prange(t1.size):
        plus, minus, along = np.zeros(n + 2), np.zeros(n + 2), np.zeros(n + 2)
        e1, e2 = np.exp(-tr / t1[v]), np.exp(-tr / t2[v])
        along[0] = 1 - 2 * np.exp(-wait / t1[v])
        for i in range(n):
            cos, sin = np.cos(flips[i] * b1[v]), np.sin(flips[i] * b1[v])
            for k in range(i + 1):
                p, m, z = plus[k], minus[k], along[k]
                plus[k] = (1 + cos) / 2 * p - (1 - cos) / 2 * m + sin * z
                minus[k] = (1 + cos) / 2 * m - (1 - cos) / 2 * p + sin * z
                along[k] = cos * z - sin / 2 * (p + m)
            signals[v, i] = plus[0] * np.exp(-te / t2[v])
            for k in range(i + 1, 0, -1):
                plus[k], along[k] = e2 * plus[k - 1], e1 * along[k]
            for k in range(i + 1):
                minus[k] = e2 * minus[k + 1]
            plus[0], along[0] = minus[0], 1 + e1 * (along[0] - 1)
    return signals


def coil_maps(matrix: int) -> np.ndarray:
    """Smooth sensitivities of coils around the head. Shape `(coils, y, x)`."""
    y, x = (np.mgrid[:matrix, :matrix] - matrix // 2) / matrix
    at = 2 * np.pi * (np.arange(COILS)[:, None, None] + 0.4) / COILS
    far = (x - 0.7 * np.cos(at)) ** 2 + (y - 0.7 * np.sin(at)) ** 2
    return np.exp(-far / (2 * 0.5**2) + 1j * (2 * at + 1.3 * x * np.cos(2 * at) - 0.9 * y * np.sin(at)))


def spokes(matrix: int, protocol: dict) -> np.ndarray:
    """Golden-angle spokes, (kx, ky) in cycles/FOV. Shape `(readouts, samples, 2)`."""
    n = matrix * protocol["readout"]["oversampling"]
    angle = np.deg2rad(protocol["readout"]["angle_increment_deg"]) * np.arange(len(protocol["sequence"][2]["flip_deg"]))
    along = (np.arange(n) - n // 2) * matrix / n
    return along[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)[:, None]


def spirals(toml: Path) -> np.ndarray:
    """The spirals of mrfpipe's phantoms, as gradients could play them in 6 ms. Shape `(readouts, samples, 2)`."""
    from mrfpipe.phantom.spiral import golden_angle_spirals
    from mrfpipe.protocol import load_protocol

    return golden_angle_spirals(load_protocol(toml).sequence)


def field_map(matrix: int, most: float) -> np.ndarray:
    """Off-resonance in Hz: of up to so many above a cavity in front, a third of it below zero beside. `(y, x)`."""
    y, x = (np.mgrid[:matrix, :matrix] - matrix // 2) / (matrix / 2)
    above = np.exp(-((x - 0.1) ** 2 + (y + 0.5) ** 2) / (2 * 0.22**2))
    below = np.exp(-((x + 0.45) ** 2 + (y - 0.2) ** 2) / (2 * 0.3**2))
    return most * (above - below / 3)


def sample_off_resonance(
    images: np.ndarray, signals: np.ndarray, mask: np.ndarray, trajectory: np.ndarray, field: np.ndarray
) -> np.ndarray:
    """Sum over all voxels what each adds to every sample, turned since the spiral began. As `sample`."""
    kspace = np.empty((len(images), *trajectory.shape[:2]), complex)
    turned = np.exp(2j * np.pi * np.outer(DWELL * np.arange(trajectory.shape[1]), field[mask]))
    y, x = np.nonzero(mask)
    voxels = np.arange(mask.shape[0]) - mask.shape[0] // 2
    for i, k in enumerate(trajectory.astype(float)):
        along_x, along_y = (np.exp(-2j * np.pi * np.outer(axis, voxels) / mask.shape[0]) for axis in k.T)
        kspace[:, i] = (images[:, mask] * signals[:, i]) @ (turned * along_x[:, x] * along_y[:, y]).T
    return kspace


def sample(images: np.ndarray, signals: np.ndarray, mask: np.ndarray, trajectory: np.ndarray) -> np.ndarray:
    """Transform the slice as it is at every readout, seen by every coil. Shape `(coils, readouts, samples)`."""
    kspace = np.empty((len(images), *trajectory.shape[:2]), complex)
    plan = finufft.Plan(2, mask.shape, n_trans=len(images), eps=PRECISION, isign=-1)
    points = 2 * np.pi * trajectory.astype(float) / mask.shape[0]
    now = np.zeros(mask.shape)
    for i in range(len(trajectory)):
        now[mask] = signals[:, i]
        plan.setpts(np.ascontiguousarray(points[i, :, 1]), np.ascontiguousarray(points[i, :, 0]))
        kspace[:, i] = plan.execute(images * now)
    return kspace


def receivers(rng: np.random.Generator) -> np.ndarray:
    """Mix noise of variance 1, as receivers hear each other's. Shape `(coils, coils)`, the mean variance kept."""
    mixing = np.eye(COILS) + 0.1 * rng.standard_normal((COILS, COILS))
    return mixing * np.sqrt(COILS) / np.linalg.norm(mixing)


def scan_brain(name: str, kind: str, matrix: int, raw: Path, *, most: float = 0.0, seed: int = 0) -> None:
    """Write scan, truth and protocol, of off-resonance of up to so many Hz."""
    text = (resources.files("mrfpipe.dictionaries") / f"{kind}.toml").read_text()
    text = re.sub(r"^matrix = \d+", f"matrix = {matrix}", text, flags=re.MULTILINE)
    text = re.sub(r"^fov_mm = [\d.]+", f"fov_mm = {FOV * 1e3}", text, flags=re.MULTILINE)
    raw.with_suffix(".toml").write_text(text)
    protocol, body = tomllib.loads(text), brain(name, matrix)
    trajectory = spokes(matrix, protocol) if kind == "fisp" else spirals(raw.with_suffix(".toml"))
    head = body["head"]
    signals = fisp_signals(body["T1"][head], body["T2"][head], body["B1"][head], protocol)
    images, field = coil_maps(matrix) * body["density"], field_map(matrix, most)
    if most:
        kspace = sample_off_resonance(images, signals, head, trajectory, field)
    else:
        kspace = sample(images, signals, head, trajectory)
    rng = np.random.default_rng(seed)
    centre = int(np.argmin(np.abs(trajectory[0]).sum(axis=-1)))
    mixing = receivers(rng) * np.abs(kspace[..., centre]).mean() / SNR

    def noise(*shape: int) -> np.ndarray:
        white = rng.standard_normal((COILS, *shape, 2)).view(complex)[..., 0] / np.sqrt(2)
        return np.tensordot(mixing, white, 1)

    _write(raw, kspace + noise(*kspace.shape[1:]), trajectory, noise(NOISE_READINGS), centre, matrix)
    if most:
        write_field(field, raw.with_suffix(".field.nii.gz"))
    units = {"T1": 1e3, "T2": 1e3, "B1": 1}
    truth = {key: np.where(head, body[key] * unit, 0)[None].astype(np.float32) for key, unit in units.items()}
    np.savez_compressed(raw.with_suffix(".truth.npz"), mask=body["brain"][None].astype(np.uint8), **truth)


def write_field(field: np.ndarray, path: Path) -> None:
    """Write a map as BIDS has it, in Hz: the offset of the Larmor frequency, which turns signals the other way."""
    matrix = len(field)
    affine = np.diag([-FOV * 1e3 / matrix, -FOV * 1e3 / matrix, THICKNESS_MM, 1])  # LPS to RAS, as the scan lies
    affine[:2, 3] = FOV * 1e3 / 2
    nibabel.save(nibabel.Nifti1Image(-field.T[..., None], affine), path)


def _write(path: Path, kspace: np.ndarray, trajectory: np.ndarray, noise: np.ndarray, centre: int, matrix: int) -> None:
    """Write ISMRMRD by the package of that name; the trajectory in cycles/FOV, declared."""
    spiral, n = centre == 0, len(trajectory)
    longer = 1 if spiral else trajectory.shape[1] // matrix

    def space(times: int) -> xsd.encodingSpaceType:
        return xsd.encodingSpaceType(
            matrixSize=xsd.matrixSizeType(x=times * matrix, y=matrix, z=1),
            fieldOfView_mm=xsd.fieldOfViewMm(x=times * FOV * 1e3, y=FOV * 1e3, z=THICKNESS_MM),
        )

    header = xsd.ismrmrdHeader(
        experimentalConditions=xsd.experimentalConditionsType(H1resonanceFrequency_Hz=127_729_200),
        acquisitionSystemInformation=xsd.acquisitionSystemInformationType(receiverChannels=COILS),
        encoding=[
            xsd.encodingType(
                encodedSpace=space(longer),
                reconSpace=space(1),
                encodingLimits=xsd.encodingLimitsType(
                    kspace_encoding_step_1=xsd.limitType(minimum=0, maximum=n - 1, center=0),
                    slice=xsd.limitType(minimum=0, maximum=0, center=0),
                ),
                trajectory=xsd.trajectoryType.SPIRAL if spiral else xsd.trajectoryType.GOLDENANGLE,
                trajectoryDescription=xsd.trajectoryDescriptionType(
                    identifier="brain",
                    userParameterString=[xsd.userParameterStringType(name="trajectory_unit", value="cycles/FOV")],
                ),
            )
        ],
    )
    path.unlink(missing_ok=True)
    with ismrmrd.Dataset(str(path)) as file:
        file.write_xml_header(xsd.ToXML(header))
        alone = ismrmrd.Acquisition.from_array(noise.astype(np.complex64))
        alone.set_flag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
        file.append_acquisition(alone)
        for i in range(n):
            one = ismrmrd.Acquisition.from_array(kspace[:, i].astype(np.complex64), trajectory[i].astype(np.float32))
            one.idx.kspace_encode_step_1, one.center_sample, one.scan_counter = i, centre, i + 1
            one.sample_time_us = 1e6 * DWELL
            one.read_dir[0] = one.phase_dir[1] = one.slice_dir[2] = 1
            file.append_acquisition(one)


if __name__ == "__main__":
    off_resonance = float(sys.argv[5]) if len(sys.argv) > 5 else 0.0
    scan_brain(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]), most=off_resonance)

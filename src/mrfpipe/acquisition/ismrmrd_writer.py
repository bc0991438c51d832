"""Write raw scans as ISMRMRD files, for the phantom and for tests."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import ismrmrd
import ismrmrd.xsd as xsd
import numpy as np
import numpy.typing as npt
from ismrmrd.hdf5 import acquisition_dtype, acquisition_header_dtype

from mrfpipe.acquisition.geometry import Stack, stack_of
from mrfpipe.acquisition.ismrmrd_trajectory import CYCLES_PER_FOV
from mrfpipe.acquisition.scan import RawScan
from mrfpipe.acquisition.trajectory import GYROMAGNETIC_RATIO
from mrfpipe.arrays import Complex, Double, Float, check_shape
from mrfpipe.protocol import Sequence

_LARGEST_COUNT = 65535  # of the 16-bit fields of a head
_WRITE_ROWS = 256


def write_ismrmrd(scan: RawScan, sequence: Sequence, path: str | Path, *, field: float = 3.0) -> None:
    """Write a raw scan of a sequence to exactly `path`, replacing any file there; the static field is in T.

    Flip angles, TE, TR and TI are taken from the scan if it has them, and otherwise from the sequence. ValueError if
    scan and sequence do not fit each other, or the scan does not fit the format; OSError if the file cannot be written.
    """
    _check(scan, sequence)
    stack = stack_of(scan.affine, scan.matrix, scan.n_slices)
    n_rows = scan.n_slices * scan.n_readouts + len(_noise_parts(scan.noise))
    with h5py.File(path, "w") as file:
        group = file.create_group("dataset")
        text = group.create_dataset("xml", shape=(1,), dtype=h5py.special_dtype(vlen=bytes))
        text[0] = xsd.ToXML(_header(scan, sequence, stack, field), "utf-8").encode()
        chunks = (min(n_rows, _WRITE_ROWS),)
        data = group.create_dataset("data", (n_rows,), acquisition_dtype, maxshape=(None,), chunks=chunks)
        start = 0
        for rows in _rows(scan, stack):
            rows["head"]["scan_counter"] = np.arange(start, start + rows.size)
            data[start : start + rows.size] = rows
            start += rows.size


def sequence_name(sequence: Sequence) -> str:
    """Return the name that the header of a written scan gives to its sequence, different for any other sequence."""
    return f"mrfpipe {sequence.hash[:12]}"


def _check(scan: RawScan, sequence: Sequence) -> None:
    sizes = {"readouts": sequence.n_readouts}
    if sequence.n_samples is not None:
        sizes["samples"] = sequence.n_samples
    check_shape("kspace", scan.kspace, "slices coils readouts samples", sizes)
    if scan.readout != sequence.readout.kind:
        raise ValueError(f"The readouts of the scan are {scan.readout}, those of the sequence {sequence.readout.kind}.")
    if max(scan.kspace.shape) > _LARGEST_COUNT:
        raise ValueError(f"kspace has shape {scan.kspace.shape}, ISMRMRD counts to {_LARGEST_COUNT}.")
    if scan.matrix != sequence.matrix or not np.isclose(scan.fov, sequence.fov, rtol=1e-6):
        raise ValueError(
            f"scan has matrix {scan.matrix} and FOV {scan.fov:g} m, "
            f"the sequence {sequence.matrix} and {sequence.fov:g} m."
        )
    voxels = np.linalg.norm(scan.affine[:3, :2], axis=0)
    if not np.allclose(voxels, scan.fov * 1e3 / scan.matrix, rtol=1e-3):
        raise ValueError(f"affine has voxels of {voxels} mm, not {scan.fov * 1e3 / scan.matrix:g} mm.")


def _noise_parts(noise: Complex | None) -> list[Complex]:
    """Split noise samples into acquisitions that 16-bit counters can hold."""
    if noise is None:
        return []
    return [noise[:, i : i + _LARGEST_COUNT] for i in range(0, noise.shape[1], _LARGEST_COUNT)]


def _rows(scan: RawScan, stack: Stack) -> Iterator[npt.NDArray[np.void]]:
    """Make the acquisitions: noise first, then slice by slice, in blocks to limit memory."""
    none = np.zeros((1, 0, 0), np.float32)
    centre = int(np.hypot(scan.trajectory[..., 0], scan.trajectory[..., 1]).sum(axis=0).argmin())
    for part in _noise_parts(scan.noise):
        rows = _empty_rows(part[:, None], none)
        rows["head"]["flags"] = _flag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
        yield rows
    for s in range(scan.n_slices):
        for start in range(0, scan.n_readouts, _WRITE_ROWS):
            chosen = slice(start, min(start + _WRITE_ROWS, scan.n_readouts))
            rows = _empty_rows(scan.kspace[s, :, chosen], scan.trajectory[chosen])
            head, readouts = rows["head"], np.arange(chosen.start, chosen.stop)
            head["idx"]["kspace_encode_step_1"], head["idx"]["slice"] = readouts, s
            head["center_sample"] = centre
            head["position"] = stack.positions[s]
            head["read_dir"], head["phase_dir"], head["slice_dir"] = stack.directions
            head["flags"] = _edge_flags(readouts, scan.n_readouts, is_last_slice=s == scan.n_slices - 1)
            yield rows


def _empty_rows(samples: Complex, trajectory: Float) -> npt.NDArray[np.void]:
    """Make rows for samples `(coils, readouts, samples)` and trajectories `(readouts, samples, dimensions)`."""
    n_coils, n_readouts, n_samples = samples.shape
    rows = np.zeros(n_readouts, acquisition_dtype)
    head = np.zeros(n_readouts, acquisition_header_dtype)
    head["version"] = 1
    head["number_of_samples"] = n_samples
    head["available_channels"] = head["active_channels"] = n_coils
    for coil in range(n_coils):
        head["channel_mask"][:, coil // 64] |= np.uint64(1 << coil % 64)
    head["trajectory_dimensions"] = trajectory.shape[2]
    rows["head"] = head
    for i in range(n_readouts):
        rows["data"][i] = np.ascontiguousarray(samples[:, i]).view(np.float32).ravel()
        rows["traj"][i] = np.ascontiguousarray(trajectory[i]).ravel()
    return rows


def _flag(number: int) -> np.uint64:
    return np.uint64(1 << (number - 1))


def _edge_flags(
    readouts: npt.NDArray[np.integer[Any]], n_readouts: int, *, is_last_slice: bool
) -> npt.NDArray[np.uint64]:
    flags = np.zeros(readouts.size, np.uint64)
    flags[readouts == 0] |= _flag(ismrmrd.ACQ_FIRST_IN_SLICE)
    flags[readouts == n_readouts - 1] |= _flag(ismrmrd.ACQ_LAST_IN_SLICE)
    if is_last_slice:
        flags[readouts == n_readouts - 1] |= _flag(ismrmrd.ACQ_LAST_IN_MEASUREMENT)
    return flags


def _header(scan: RawScan, sequence: Sequence, stack: Stack, field: float) -> Any:  # noqa: ANN401 - untyped schema
    inversion_time = sequence.inversion_time if scan.inversion_time is None else scan.inversion_time
    return xsd.ismrmrdHeader(
        experimentalConditions=xsd.experimentalConditionsType(
            H1resonanceFrequency_Hz=round(GYROMAGNETIC_RATIO * field)
        ),
        acquisitionSystemInformation=xsd.acquisitionSystemInformationType(
            systemVendor=scan.vendor or "mrfpipe phantom", systemFieldStrength_T=field, receiverChannels=scan.n_coils
        ),
        measurementInformation=xsd.measurementInformationType(
            patientPosition=xsd.patientPositionType.HFS, protocolName=scan.name, sequenceName=sequence_name(sequence)
        ),
        encoding=[_encoding(scan, sequence, stack)],
        sequenceParameters=xsd.sequenceParametersType(
            TR=_listed(sequence.tr if scan.tr is None else scan.tr, 1e3),
            TE=_listed(sequence.te if scan.te is None else scan.te, 1e3),
            TI=[] if inversion_time is None else _listed(np.array([inversion_time]), 1e3),
            flipAngle_deg=_listed(sequence.flip if scan.flip is None else scan.flip, 180 / np.pi),
        ),
    )


def _encoding(scan: RawScan, sequence: Sequence, stack: Stack) -> Any:  # noqa: ANN401 - untyped schema
    fov_mm, readout = scan.fov * 1e3, sequence.readout
    thickness_mm = sequence.slice_thickness * 1e3 if scan.n_slices > 1 else stack.spacing_mm

    def space(factor: int) -> Any:  # noqa: ANN401 - untyped schema
        return xsd.encodingSpaceType(
            matrixSize=xsd.matrixSizeType(x=factor * scan.matrix, y=scan.matrix, z=1),
            fieldOfView_mm=xsd.fieldOfViewMm(x=factor * fov_mm, y=fov_mm, z=thickness_mm),
        )

    def limit(n: int) -> Any:  # noqa: ANN401 - untyped schema
        return xsd.limitType(minimum=0, maximum=n - 1, center=0)

    angles, trajectory, identifier = [], xsd.trajectoryType.OTHER, str(readout.kind)
    if readout.angle_increment is not None:
        trajectory, identifier = xsd.trajectoryType.GOLDENANGLE, "golden-angle-radial"
        angle_deg = float(np.rad2deg(readout.angle_increment))
        angles = [xsd.userParameterDoubleType(name="angle_increment_deg", value=angle_deg)]
    frame = sequence.readouts_per_frame if scan.readouts_per_frame is None else scan.readouts_per_frame
    return xsd.encodingType(
        encodedSpace=space(readout.oversampling or 1),
        reconSpace=space(1),
        encodingLimits=xsd.encodingLimitsType(
            kspace_encoding_step_1=limit(scan.n_readouts), slice=limit(scan.n_slices)
        ),
        trajectory=trajectory,
        trajectoryDescription=xsd.trajectoryDescriptionType(
            identifier=identifier,
            userParameterLong=[xsd.userParameterLongType(name="readouts_per_frame", value=frame)],
            userParameterDouble=angles,
            userParameterString=[xsd.userParameterStringType(name="trajectory_unit", value=CYCLES_PER_FOV)],
        ),
    )


def _listed(train: Double, scale: float) -> list[float]:
    """Return values in the unit of the header, rounded to remove the rounding errors of the conversion."""
    return [round(float(v) * scale, 9) for v in train]

"""Assemble a RawScan from the heads, the header and the samples of a file of any format, with all checks."""

from pathlib import Path

import ismrmrd
import numpy as np

from mrfpipe.acquisition.geometry import affine_of, in_order_of_place
from mrfpipe.acquisition.header import Header, believed, trains_of
from mrfpipe.acquisition.heads import Acquisition, Heads, RawFile
from mrfpipe.acquisition.implausible import check_plausible, check_plausible_noise
from mrfpipe.acquisition.ismrmrd_trajectory import StoredTrajectory
from mrfpipe.acquisition.joined import readouts_in_order
from mrfpipe.acquisition.pulseq_scan import PulseqScan, find_pulseq
from mrfpipe.acquisition.readouts import (
    check_alike,
    check_complete,
    check_one_way,
    check_samples,
    has_flag,
    last_repetition,
    n_repetitions,
    noise_of,
)
from mrfpipe.acquisition.scan import RawScan
from mrfpipe.acquisition.trajectory import golden_angle_spokes, is_one_readout_turned
from mrfpipe.arrays import Complex, Float, Int, available_memory
from mrfpipe.errors import InputError, MismatchError, ResourceError
from mrfpipe.protocol import Sequence

_LONGEST_DWELL_US = 1e4


def assemble(file: RawFile, imaging: Heads, header: Header, sequence: Sequence, *, trusted: bool = False) -> RawScan:
    """Sort the readouts of a file into a scan.

    Parameters
    ----------
    file
        The open file.
    imaging
        Heads of the imaging acquisitions, all repetitions.
    header
        Header of the file.
    sequence
        Sequence that the scan is expected to have.
    trusted
        Whether the sequence overrides the header where they differ.

    Returns
    -------
        The scan: complete, finite, with its trajectory in cycles/FOV.

    Raises
    ------
    InputError
        If the scan is damaged or incomplete, or lacks a trajectory that is needed.
    MismatchError
        If the scan was made with another sequence.
    ResourceError
        If the scan does not fit into memory.
    """
    path, vendor = file.path, header.vendor
    if imaging.size == 0:
        raise InputError(f"{path}: holds no imaging acquisitions; measure or convert the scan again.")
    played = find_pulseq(sequence, path)
    computed = played is None and not imaging["trajectory_dimensions"][0]
    header, disbelieved = believed(header, sequence, path, computed=computed, trusted=trusted)
    if computed and sequence.n_samples is None:
        name = sequence.readout.pulseq
        where = f"put {name} beside it, or in the current folder, or " if name else ""
        raise InputError(
            f"{path}: stores no trajectory, which a protocol of stored readouts requires; {where}convert "
            "it to ISMRMRD with its trajectory."
        )
    file, imaging, unmarked, decided = readouts_in_order(file, imaging, sequence, header, played)
    n_repeated, imaging = n_repetitions(imaging), last_repetition(imaging, path)
    check_alike(imaging, path)
    n_slices = check_complete(imaging, sequence.n_readouts, header.n_slices, path)
    n_samples = check_samples(imaging, sequence, path)
    trains = trains_of(header, sequence)
    imaging = in_order_of_place(imaging)
    affine = affine_of(imaging, sequence.matrix, sequence.fov * 1e3, _thickness_mm(header, sequence), path)
    stored = None
    if imaging["trajectory_dimensions"][0]:
        stored = StoredTrajectory(header, sequence, n_samples, path, None if played is None else played.trajectory)
    elif played is None:
        _check_can_compute(imaging, n_repeated, n_samples, path)
    elif played.trajectory.shape[1] != n_samples:
        raise MismatchError(
            f"{path}: readouts have {n_samples} samples, those of its Pulseq file {played.trajectory.shape[1]}."
        )
    shape = (n_slices, int(imaging["active_channels"][0]), sequence.n_readouts, n_samples)
    kspace = _read_kspace(file, imaging, shape, stored)
    noise, n_silent = _read_noise(file, np.concatenate([noise_of(file.heads), unmarked]), kspace.shape[1])
    if stored is not None:
        trajectory = stored.result()
    else:
        trajectory = golden_angle_spokes(sequence) if played is None else played.trajectory
    remarks = (
        *disbelieved,
        decided,
        stored and stored.decided,
        n_silent and f"{n_silent} noise measurement(s) of nothing but zeros are left out",
    )
    return RawScan(
        name=path.stem,
        vendor=vendor,
        kspace=kspace,
        trajectory=trajectory,
        noise=noise,
        affine=affine,
        matrix=sequence.matrix,
        fov=sequence.fov,
        readout=sequence.readout.kind,
        times=_times(imaging, trajectory.shape, played),
        order=np.argsort(np.argsort([imaging["number"][imaging["slice"] == s].min() for s in range(n_slices)])),
        readouts_per_frame=header.readouts_per_frame,
        flip=trains.flip,
        te=trains.te,
        tr=trains.tr,
        inversion_time=trains.inversion_time,
        remarks=tuple(str(remark) for remark in remarks if remark),
    )


def _times(imaging: Heads, shape: tuple[int, ...], played: PulseqScan | None) -> Float | None:
    """Return the sampling times from the Pulseq file, or else from the heads. Shape `(readouts, samples)`."""
    n_readouts, n_samples = shape[:2]
    if played is not None:
        return played.times if played.times.shape[1] == n_samples else None
    dwell_us = np.unique(imaging["sample_time_us"])
    if dwell_us.size != 1 or not 0 < dwell_us[0] < _LONGEST_DWELL_US:
        return None
    times = np.tile(np.arange(n_samples, dtype=np.float32) * np.float32(dwell_us[0] * 1e-6), (n_readouts, 1))
    back = imaging["kspace_encode_step_1"][has_flag(imaging, ismrmrd.ACQ_IS_REVERSE)]
    times[back] = times[0, ::-1].copy()
    return times


def _thickness_mm(header: Header, sequence: Sequence) -> float:
    declared = 0.0 if header.fov_mm is None else header.fov_mm[2]
    return declared if 0 < declared < np.inf else sequence.slice_thickness * 1e3


def _check_can_compute(imaging: Heads, n_repeated: int, n_samples: int, path: Path) -> None:
    """Check that the trajectory can be computed from the sequence, as the file stores none."""
    if n_repeated > 1:
        raise InputError(
            f"{path}: stores no trajectory and holds {n_repeated} repetitions, so the angle at which the last one "
            "starts is unknown; convert it to ISMRMRD with its trajectory."
        )
    check_one_way(imaging, path)
    reverse = has_flag(imaging, ismrmrd.ACQ_IS_REVERSE)
    centre = imaging["center_sample"] - imaging["discard_pre"]
    expected = n_samples // 2
    # 0: not set. In reversed readouts, some files count the centre as measured, others as flipped back.
    known = (imaging["center_sample"] == 0) | (centre == expected)
    wrong = np.flatnonzero(~(known | (reverse & (centre == n_samples - 1 - expected))))
    if wrong.size:
        raise InputError(
            f"{path}: stores no trajectory, and acquisition {imaging['number'][wrong[0]]} has its centre at sample "
            f"{centre[wrong[0]]} instead of {expected}; convert it to ISMRMRD with its trajectory."
        )


def _read_kspace(
    file: RawFile, imaging: Heads, shape: tuple[int, int, int, int], stored: StoredTrajectory | None
) -> Complex:
    """Read all readouts, shape `(slices, coils, readouts, samples)`, and add their trajectories to `stored`."""
    n_bytes = 8 * int(np.prod(shape, dtype=np.int64))
    if n_bytes > file.size:
        raise InputError(f"{file.path}: is shorter than its header states; it is truncated, copy it again.")
    if n_bytes > available_memory():
        raise ResourceError(f"{file.path}: needs {n_bytes / 2**30:.1f} GiB of memory, more than there is; free some.")
    kspace: Complex = np.empty(shape, np.complex64)
    for acquisition in file.acquisitions(imaging):
        measured = _as_on_the_grid(acquisition)
        s, readout = int(measured.head["slice"]), int(measured.head["kspace_encode_step_1"])
        bad = np.flatnonzero(~np.isfinite(measured.samples).all(axis=1))
        if bad.size:
            raise InputError(
                f"{file.path}: slice {s}, readout {readout}, coil {bad[0]} has samples that are not finite; "
                "measure or convert the scan again."
            )
        kspace[s, :, readout] = measured.samples
        if stored is not None:
            stored.add(measured)
    check_plausible(kspace, imaging, file.path, turned=stored is None or is_one_readout_turned(stored.trajectory))
    return kspace


def _as_on_the_grid(acquisition: Acquisition) -> Acquisition:
    """Remove the samples that the head marks as discarded, and flip a reversed readout back."""
    head = acquisition.head
    kept = slice(int(head["discard_pre"]), int(head["number_of_samples"] - head["discard_post"]))
    samples, trajectory = acquisition.samples[:, kept], acquisition.trajectory[kept]
    if has_flag(head, ismrmrd.ACQ_IS_REVERSE):
        samples, trajectory = samples[:, ::-1], trajectory[::-1]
    return Acquisition(head=head, samples=samples, trajectory=trajectory)


def _read_noise(file: RawFile, noise: Heads, n_coils: int) -> tuple[Complex | None, int]:
    """Read and concatenate the noise measurements, shape `(coils, samples)`; count those left out as all zero."""
    wrong = np.flatnonzero(noise["active_channels"] != n_coils)
    if wrong.size:
        head = noise[wrong[0]]
        raise InputError(
            f"{file.path}: acquisition {head['number']} measures the noise of {head['active_channels']} coils, "
            f"the image has {n_coils}; measure or convert the scan again."
        )
    found = list(file.acquisitions(noise))
    for acquisition in found:
        if not np.isfinite(acquisition.samples).all():
            raise InputError(
                f"{file.path}: acquisition {acquisition.head['number']}, noise, is not finite; measure again."
            )
    measured = [acquisition for acquisition in found if acquisition.samples.any()]
    n_silent = len(found) - len(measured)
    if not measured:
        return None, n_silent
    check_plausible_noise(measured, file.path)
    return np.concatenate([acquisition.samples for acquisition in measured], axis=1), n_silent


def describe(heads: Heads, imaging: Heads, header: Header) -> dict[str, object]:
    """Summarize a file from its heads and header; the keys name the units, and the values can be written as JSON."""
    return {
        "vendor": header.vendor,
        "field_strength_t": header.field_strength,
        "protocol_name": header.protocol_name,
        "sequence_name": header.sequence_name,
        "coils": _most(imaging["active_channels"]),
        "slices": int(np.unique(imaging["slice"]).size),
        "repetitions": n_repetitions(imaging),
        "readouts": int(np.unique(imaging["kspace_encode_step_1"]).size),
        "samples": _most(imaging["number_of_samples"]),
        "acquisitions": int(heads.size),
        "noise_scans": int(noise_of(heads).size),
        "trajectory": header.trajectory,
        "trajectory_stored": bool((imaging["trajectory_dimensions"] > 0).any()),
        "trajectory_unit": header.trajectory_unit,
        "readouts_per_frame": header.readouts_per_frame,
        "matrix": None if header.matrix is None else list(header.matrix),
        "fov_mm": None if header.fov_mm is None else list(header.fov_mm),
        "te_ms": _range(header.te_ms),
        "tr_ms": _range(header.tr_ms),
        "ti_ms": _range(header.ti_ms),
        "flip_deg": _range(header.flip_deg),
    }


def _most(counts: Int) -> int:
    return int(counts.max()) if counts.size else 0


def _range(values: tuple[float, ...]) -> list[float] | None:
    """Return the smallest and the largest value, if there are any."""
    return [min(values), max(values)] if values else None

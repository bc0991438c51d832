"""Select the imaging readouts among the acquisitions of a file, and check that each is there exactly once.

Only the heads are used, before any sample is read: flags, repetition, slice and number of the readout, never the order
in the file.
"""

from pathlib import Path

import ismrmrd
import numpy as np

from mrfpipe.acquisition.heads import Heads
from mrfpipe.arrays import Bool, Int
from mrfpipe.errors import InputError, MismatchError
from mrfpipe.protocol import Sequence

_OTHER_PURPOSE = (
    ismrmrd.ACQ_IS_NAVIGATION_DATA,
    ismrmrd.ACQ_IS_PHASECORR_DATA,
    ismrmrd.ACQ_IS_HPFEEDBACK_DATA,
    ismrmrd.ACQ_IS_RTFEEDBACK_DATA,
    ismrmrd.ACQ_IS_DUMMYSCAN_DATA,
    ismrmrd.ACQ_IS_SURFACECOILCORRECTIONSCAN_DATA,
    ismrmrd.ACQ_IS_PHASE_STABILIZATION_REFERENCE,
    ismrmrd.ACQ_IS_PHASE_STABILIZATION,
)


def has_flag(heads: Heads | np.void, *flags: int) -> Bool:
    """Whether each head has any of the flags, numbered from 1 as in ISMRMRD."""
    bits = np.uint64(sum(1 << (flag - 1) for flag in flags))
    any_of: Bool = (heads["flags"] & bits) != 0
    return any_of


def noise_of(heads: Heads) -> Heads:
    """Select the noise measurements."""
    return heads[has_flag(heads, ismrmrd.ACQ_IS_NOISE_MEASUREMENT)]


def imaging_of(heads: Heads) -> Heads:
    """Select the imaging acquisitions: no noise, no navigators, no acquisitions for calibration only."""
    calibration = has_flag(heads, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION) & ~has_flag(
        heads, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING
    )
    return heads[~(has_flag(heads, ismrmrd.ACQ_IS_NOISE_MEASUREMENT, *_OTHER_PURPOSE) | calibration)]


def last_repetition(imaging: Heads, path: Path) -> Heads:
    """Select the last average of the last repetition, where the magnetization is closest to its steady state.

    InputError if it lacks a slice that earlier repetitions have.
    """
    order = _repetition(imaging)
    last: Heads = imaging[order == order.max()]
    lacking = np.setdiff1d(imaging["slice"], last["slice"])
    if lacking.size:
        raise InputError(f"{path}: the last repetition has no slice {lacking[0]}; measure or convert the scan again.")
    return last


def n_repetitions(imaging: Heads) -> int:
    """Count the distinct combinations of repetition and average."""
    return int(np.unique(_repetition(imaging)).size)


def _repetition(imaging: Heads) -> Int:
    """Combine repetition and average of each acquisition into one number that increases with time."""
    numbers: Int = (imaging["repetition"] << 16) + imaging["average"]
    return numbers


def check_alike(imaging: Heads, path: Path) -> None:
    """Check that all acquisitions have the same coils, samples and encoding as the first, and are of a 2-D scan.

    InputError if not; the error names the first acquisition that differs.
    """
    for field, what in (
        ("active_channels", "coils"),
        ("number_of_samples", "samples"),
        ("trajectory_dimensions", "trajectory dimensions"),
        ("encoding_space_ref", "as its encoding's number"),
    ):
        other = np.flatnonzero(imaging[field] != imaging[field][0])
        if other.size:
            head = imaging[other[0]]
            raise InputError(
                f"{path}: acquisition {head['number']} (slice {head['slice']}, readout {head['kspace_encode_step_1']}) "
                f"has {head[field]} {what}, those before have {imaging[field][0]}; measure or convert the scan again."
            )
    if imaging["active_channels"][0] == 0:
        raise InputError(f"{path}: the acquisitions have no coils; convert the scan again.")
    partition = np.flatnonzero(imaging["kspace_encode_step_2"])
    if partition.size:
        raise InputError(
            f"{path}: acquisition {imaging['number'][partition[0]]} is of partition "
            f"{imaging['kspace_encode_step_2'][partition[0]]} of a 3-D scan; mrfpipe reads slices."
        )


def check_one_way(imaging: Heads, path: Path) -> None:
    """Check that all readouts have the same direction, or that directions alternate.

    InputError if single readouts are marked as reversed, which no sequence does; the flags are damaged.
    """
    reverse, odd = has_flag(imaging, ismrmrd.ACQ_IS_REVERSE), imaging["kspace_encode_step_1"] % 2 == 1
    for group in (reverse[odd], reverse[~odd]):
        if group.any() and not group.all():
            raise InputError(
                f"{path}: {np.count_nonzero(reverse)} of {reverse.size} readouts are marked as reversed, "
                "in irregular order; the file is damaged, copy or convert it again."
            )


def check_samples(imaging: Heads, sequence: Sequence, path: Path) -> int:
    """Check that every readout has as many samples as the sequence, or as the first readout if that is not stated.

    Discarded samples do not count. Return the number of samples. InputError if a readout differs from the first one;
    MismatchError if a readout differs from the sequence.
    """
    kept = imaging["number_of_samples"] - imaging["discard_pre"] - imaging["discard_post"]
    n_samples = int(kept[0]) if sequence.n_samples is None else sequence.n_samples
    wrong = np.flatnonzero((kept != n_samples) | (kept < 1))
    if wrong.size == 0:
        return n_samples
    head, n_kept = imaging[wrong[0]], kept[wrong[0]]
    found = f"readouts have {n_kept} samples"
    if head["discard_pre"] or head["discard_post"]:
        found = (
            f"acquisition {head['number']} keeps {n_kept} of {head['number_of_samples']} samples, "
            f"it discards {head['discard_pre']} before and {head['discard_post']} after"
        )
    if sequence.n_samples is None:
        raise InputError(f"{path}: {found}, those before have {n_samples}; measure or convert the scan again.")
    raise MismatchError(
        f"{path}: {found}, but the protocol has {sequence.n_samples} samples per readout (matrix {sequence.matrix}, "
        f"oversampling {sequence.readout.oversampling}); use the protocol that the scan was measured with."
    )


def check_complete(imaging: Heads, n_readouts: int, n_slices: int | None, path: Path) -> int:
    """Check that each slice has each readout once, and return the number of slices.

    `n_readouts` is the number of readouts per slice in the protocol, `n_slices` the number of slices that the file
    declares, if any. InputError if a readout is missing or occurs twice; MismatchError if all slices have the same
    readouts, but more or fewer than the protocol.
    """
    slices, readouts = imaging["slice"], imaging["kspace_encode_step_1"]
    present = np.unique(slices)
    gap = np.flatnonzero(present != np.arange(present.size))
    if gap.size:
        raise InputError(f"{path}: slice {gap[0]} has no readouts, slice {present[-1]} has; measure or convert again.")
    if n_slices is not None and present.size < n_slices:
        raise InputError(
            f"{path}: has readouts of {present.size} slices, its header announces {n_slices}; measure or convert again."
        )
    n_measured = int(readouts.max()) + 1
    if n_measured > n_readouts:
        raise MismatchError(
            f"{path}: has {n_measured} readouts per slice, the protocol has {n_readouts}; "
            "use the protocol that the scan was measured with."
        )
    for s in present:
        count = np.bincount(readouts[slices == s], minlength=n_measured)
        for wrong, what in ((np.flatnonzero(count > 1), "more than once"), (np.flatnonzero(count == 0), "missing")):
            if wrong.size:
                raise InputError(f"{path}: slice {s}, readout {wrong[0]} is {what}; measure or convert the scan again.")
    if n_measured < n_readouts:
        raise MismatchError(
            f"{path}: has {n_measured} readouts per slice, the protocol has {n_readouts}; "
            "the scan was stopped early, or use the protocol that it was measured with."
        )
    return int(present.size)

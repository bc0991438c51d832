"""From a series of frames to maps, by comparing every voxel with every entry of a dictionary."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Literal, Self

import numpy as np
import torch

from mrfpipe.arrays import Bool, Byte, Complex, Double, Float, Int, available_memory
from mrfpipe.dictionary import Dictionary, EntryGroups
from mrfpipe.errors import MismatchError, ResourceError
from mrfpipe.imaging.quality import compare_signals
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.maps import Fingerprints, ParameterMaps
from mrfpipe.matching.brute import VOXELS_AT_ONCE, match_brute
from mrfpipe.matching.deviation import gains, predicted_deviations
from mrfpipe.matching.exact import match_exact
from mrfpipe.matching.gap import correlation_gap
from mrfpipe.matching.group import match_group, pair_bytes
from mrfpipe.matching.joint import fitted, joint_estimates
from mrfpipe.matching.refine import Estimates, estimates_at, on_grid, refine
from mrfpipe.matching.score import Matches
from mrfpipe.progress import UNTOLD, Steps

Method = Literal["exact", "group", "brute"]
CPU = torch.device("cpu")
LEAST_MEMORY = 256 << 20
"""Least memory of matching, in bytes, however few voxels are matched at once; blocks of fixed size fit into half."""
BLOCK = VOXELS_AT_ONCE
"""Voxels are matched in multiples of this, the block size of brute and exact matching, so that results do not depend,
to the last bit, on how many voxels are matched at once."""
SIGNALS_AT_ONCE = 8 * BLOCK
"""Voxels whose frames are copied and compressed at a time: little memory compared with the frames of a slice."""
MOST_AT_ONCE = 512 * BLOCK
"""Most voxels to match at once: more would not be faster, and would fill a GPU."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Voxels:
    """The voxels of some slices, as matching needs them."""

    coefficients: Complex
    """Signals inside the mask, in the dictionary's basis or in that of the series. Shape `(voxels, rank)`."""
    norm: Float
    """Norms of the measured signals over all frames, or of the coefficients of the series. Shape `(voxels)`."""
    noise: Double
    """Variance of the noise of a coefficient, NaN where unknown. Shape `(voxels)`."""
    mask: Bool
    """Mask of the voxels. Shape `(slices, y, x)`."""

    @classmethod
    def of(cls, series: FrameSeries, dictionary: Dictionary) -> Self:
        """Compress the signals of a series, slice after slice, unless the series holds coefficients."""
        mask = series.mask & np.any(series.images, axis=1)
        coefficients, norms = [], []
        for signals in _signals(series, mask):
            coefficients.append(signals if series.basis is not None else dictionary.compress(signals))
            norms.append(np.linalg.norm(signals, axis=1))
        noise = np.nan if series.noise is None else series.noise
        return cls(
            noise=np.full(int(mask.sum()), noise),
            coefficients=np.concatenate(coefficients),
            norm=np.concatenate(norms),
            mask=mask,
        )

    @classmethod
    def joined(cls, parts: list[Self]) -> Self:
        """Concatenate the voxels of several stacks of slices."""
        names = [field.name for field in fields(cls)]
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def _signals(series: FrameSeries, mask: Bool) -> Iterator[Complex]:
    """Yield copies of the signals inside a mask, some voxels at a time. Shape `(voxels, frames)`."""
    for images, inside in zip(series.images, mask, strict=True):
        frames, places = images.reshape(len(images), -1), np.flatnonzero(inside)
        for some in np.array_split(places, max(1, places.size // SIGNALS_AT_ONCE)):
            yield frames[:, some].T


def match_series(
    series: FrameSeries | Iterable[FrameSeries],
    dictionary: Dictionary,
    method: Method = "exact",
    *,
    groups: EntryGroups | None = None,
    refined: bool = True,
    gap: bool = False,
    memory: int | None = None,
    device: torch.device = CPU,
    progress: Steps = UNTOLD,
) -> tuple[ParameterMaps, Fingerprints]:
    """Match every voxel inside the mask.

    The map `match` is the normalised correlation over all frames, so that aliasing lowers it, or over the subspace if
    the series holds coefficients; `m0` and `phase` are the complex scale between signal and fingerprint.

    Parameters
    ----------
    series
        Frames of all slices, or their coefficients in this dictionary's basis or another; or an iterable of single
        slices, so that not all images have to be in memory at once. To match coefficients, the entries are expressed in
        their basis.
    dictionary
        Dictionary of the sequence that the frames were measured with.
    method
        ``exact`` and ``brute`` find the same best entry, brute by visiting every entry; ``group`` finds it for nearly
        every voxel.
    groups
        Groups of the dictionary's entries; needed for group matching.
    refined
        Whether to refine estimates between grid points (`mrfpipe.matching.refine`), as the command does. If the series
        has the equations of its samples, refined estimates are then fitted to them (`mrfpipe.imaging.joint`).
    gap
        Whether to look for the second-best explanation, which takes long; see `mrfpipe.matching.gap`.
    memory
        Bytes of working memory, besides frames and maps; by default a quarter of the free memory. It limits how many
        voxels are matched at once; the maps are the same.
    device
        Where to match; refinement and gap run on the CPU. Blocks of fixed size limit the memory needed on a GPU.
    progress
        Called by brute matching, which is slow, with the number of points of the shared axes done and of all points.

    Returns
    -------
        The maps, and the measured signals with the fingerprints at the estimates, which lie off the grid if the
        estimates were refined.

    Raises
    ------
    MismatchError
        If the frames are of another sequence than the dictionary, or groups are needed and not given.
    ResourceError
        If the device is a GPU that exact matching cannot use, or `memory` is less than matching needs.
    """
    if method == "group" and groups is None:
        raise MismatchError(
            f"The dictionary of protocol '{dictionary.protocol.name}' has no groups; "
            "make it again with mrfpipe simulate --groups."
        )
    at_once = voxels_at_once(dictionary, groups if method == "group" else None, memory)
    parts: list[_Voxels] = []
    joint: list[Double] = []
    again: dict[int, Callable[[], FrameSeries]] = {}
    whole = dictionary
    affine = np.eye(4)

    def entries(coefficients: Complex, among: Dictionary) -> Int:
        return _match(coefficients, among, method, groups, at_once, device, progress).entry

    for part in [series] if isinstance(series, FrameSeries) else series:
        _check_sequence(part, dictionary)
        if not parts:
            affine = part.affine
            if part.basis is not None:
                groups = None if groups is None else groups.in_basis(part.basis, dictionary.basis)
                dictionary = dictionary.in_basis(part.basis)
        if part.equations is not None and refined:
            joint.append(joint_estimates(part, whole, entries).parameters)
        parts.append(_Voxels.of(part, dictionary))
        if part.replica is not None:
            again[len(parts) - 1] = part.replica
        denoised = part.basis is not None
        del part  # frees the memory of this slice before the next is made
    voxels = _Voxels.joined(parts)
    if joint:
        found = estimates_at(np.concatenate(joint), dictionary)
    else:
        matched = entries(voxels.coefficients, dictionary)
        found = refine(voxels.coefficients, matched, dictionary) if refined else on_grid(matched, dictionary)
    sd = None
    if refined:
        near = np.zeros(voxels.mask.shape, np.int64)
        near[voxels.mask] = dictionary.nearest(found.parameters)
        replicas = {s: _replica(make(), near[s], whole, dictionary, device) for s, make in again.items()}
        sd = _deviations(voxels, found, replicas, dictionary, denoised=denoised)
    compared = compare_signals(voxels.coefficients, found.signals, voxels.norm)
    m0, phase, agreement = (_image(values, voxels.mask) for values in compared)
    lacking = None
    if gap:
        inside = np.linalg.norm(voxels.coefficients, axis=1) / voxels.norm
        lacking = _image(correlation_gap(voxels.coefficients, dictionary) * inside, voxels.mask)
    edge = np.zeros(voxels.mask.shape, np.uint8)
    edge[voxels.mask] = edge_bits(found.parameters, dictionary)
    maps = ParameterMaps(
        parameters=dictionary.protocol.parameters,
        si={name: _image(values.astype(np.float32), voxels.mask) for name, values in found.parameters.items()},
        m0=m0,
        phase=phase,
        match=agreement,
        gap=lacking,
        edge=edge,
        mask=voxels.mask,
        affine=affine,
        sd=sd,
    )
    fingerprints = Fingerprints(
        basis=dictionary.basis, measured=voxels.coefficients, simulated=found.signals.astype(np.complex64, copy=False)
    )
    return maps, fingerprints


def _replica(series: FrameSeries, near: Int, whole: Dictionary, dictionary: Dictionary, device: torch.device) -> Double:
    """Map a slice again from noisier samples, starting from nearby entries. Shape `(parameters, y, x)`, NaN outside."""
    voxels = _Voxels.of(series, dictionary)
    if series.equations is not None:
        found = fitted(series, whole, device).parameters.T
    else:
        found = np.stack([*refine(voxels.coefficients, near[voxels.mask[0]], dictionary).parameters.values()])
    maps = np.full((len(found), *voxels.mask.shape[1:]), np.nan)
    maps[:, voxels.mask[0]] = found
    return maps


def _deviations(
    voxels: _Voxels, found: Estimates, replicas: Mapping[int, Double], dictionary: Dictionary, *, denoised: bool
) -> dict[str, Float] | None:
    """Return maps of standard deviations by parameter; None if noise, or its share left by denoising, is unknown."""
    if np.isnan(voxels.noise).any() or (denoised and not replicas):
        return None
    at = np.stack(list(found.parameters.values()), axis=1)
    masks = list(voxels.mask) if denoised else None
    predicted = predicted_deviations(dictionary, at, voxels.coefficients, voxels.noise, masks)
    if denoised:
        slices = np.repeat(np.arange(len(voxels.mask)), [mask.sum() for mask in voxels.mask])
        some = np.flatnonzero(np.isin(slices, list(replicas)))
        after = np.concatenate([replicas[s][:, voxels.mask[s]].T for s in sorted(replicas)])
        known = np.isfinite(after).all(axis=1)
        predicted *= gains(at[some[known]], after[known], predicted[some[known]], predicted)
    return {
        name: _image(values.astype(np.float32), voxels.mask)
        for name, values in zip(found.parameters, predicted.T, strict=True)
    }


def default_memory() -> int:
    """Default working memory of matching in bytes: a quarter of the free memory, but at least `LEAST_MEMORY`."""
    return max(LEAST_MEMORY, available_memory() // 4)


def voxels_at_once(dictionary: Dictionary, groups: EntryGroups | None, memory: int | None) -> int:
    """Return how many voxels are matched at once in some memory; `groups` are given for group matching.

    Raises
    ------
    ResourceError
        If matching needs more memory than that.
    """
    memory = default_memory() if memory is None else memory
    if memory < LEAST_MEMORY:
        raise ResourceError(
            f"Matching cannot work in {memory / 1e9:.3g} GB of memory; give it at least {LEAST_MEMORY / 1e9:.2g} GB."
        )
    # Signals as given, of unit norm, and as real and imaginary parts; then the entry found and its score.
    each = 3 * 8 * dictionary.rank + 64 + (pair_bytes(groups) if groups is not None else 0)
    return min(MOST_AT_ONCE, max(1, memory // 2 // each // BLOCK) * BLOCK)


def _check_sequence(series: FrameSeries, dictionary: Dictionary) -> None:
    if series.sequence_hash != dictionary.protocol.sequence.hash:
        raise MismatchError(
            f"The frames of {series.name} are of another sequence than the dictionary's protocol "
            f"'{dictionary.protocol.name}'; make both with one protocol."
        )


def _match(
    coefficients: Complex,
    dictionary: Dictionary,
    method: Method,
    groups: EntryGroups | None,
    at_once: int,
    device: torch.device,
    progress: Steps,
) -> Matches:
    starts = range(0, max(1, len(coefficients)), at_once)
    found = []
    for i, start in enumerate(starts):
        part = coefficients[start : start + at_once]
        if method == "group" and groups is not None:
            found.append(match_group(part, dictionary, groups, device=device))
        elif method == "brute":
            found.append(match_brute(part, dictionary, device, _of_parts(progress, i, len(starts))))
        else:
            found.append(match_exact(part, dictionary, device))
    return Matches(entry=np.concatenate([m.entry for m in found]), score=np.concatenate([m.score for m in found]))


def _of_parts(progress: Steps, part: int, n_parts: int) -> Steps:
    """Convert the progress of one part to that of all parts."""
    return lambda done, all_: progress(part * all_ + done, n_parts * all_)


def _image(values: Float, mask: Bool) -> Float:
    """Arrange the values of the voxels inside the mask as images. Shape `(slices, y, x)`, NaN outside."""
    image = np.full(mask.shape, np.nan, np.float32)
    image[mask] = values
    return image


def edge_bits(parameters: Mapping[str, Double], dictionary: Dictionary) -> Byte:
    """Bit n of every voxel is set where the n-th parameter lies at an end of its grid axis. Shape `(voxels)`."""
    ends = [
        (parameters[name] <= axis[0]) | (parameters[name] >= axis[-1])
        for name, axis in dictionary.protocol.grid.items()
    ]
    bits = np.zeros(ends[0].shape, np.uint8)
    for n, at_end in enumerate(ends):
        bits |= at_end.astype(np.uint8) << np.uint8(n)
    return bits

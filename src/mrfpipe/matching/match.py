"""From a series of frames to maps, by comparing every voxel with every entry of a dictionary."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch

from mrfpipe.arrays import Bool, Byte, Complex, Double, Float
from mrfpipe.dictionary import Dictionary, EntryGroups
from mrfpipe.errors import MismatchError
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.maps import PARAMETERS, ParameterMaps
from mrfpipe.matching.brute import match_brute
from mrfpipe.matching.exact import match_exact
from mrfpipe.matching.group import match_group
from mrfpipe.matching.refine import Estimates, refine
from mrfpipe.matching.score import Matches

Method = Literal["exact", "group", "brute"]
CPU = torch.device("cpu")


def match_series(
    series: FrameSeries,
    dictionary: Dictionary,
    method: Method = "exact",
    *,
    groups: EntryGroups | None = None,
    refined: bool = False,
    device: torch.device = CPU,
    progress: Callable[[int, int], None] | None = None,
) -> ParameterMaps:
    """Match every voxel inside the mask.

    The map `match` is the normalised correlation over all frames, so that aliasing lowers it, or over the subspace if
    the series holds coefficients; `m0` is the magnitude of the scale between signal and fingerprint.

    Parameters
    ----------
    series
        Frames of all slices, or their coefficients in this dictionary's basis or another.
    dictionary
        Of the sequence that the frames were measured with.
    method
        ``exact`` or ``brute``, which find the same, brute by visiting every entry; or ``group``, which finds it for
        nearly every voxel.
    groups
        Of the dictionary's entries; group matching needs them.
    refined
        Whether the estimates leave the grid for the best signal between its entries; see `mrfpipe.matching.refine`.
    device
        Where to match; refinement runs on the CPU.
    progress
        Called by brute matching, which takes long, with the pairs of B1 and df done and of all.

    Raises
    ------
    MismatchError
        If the frames are of another sequence than the dictionary, or groups are needed and there are none.
    ResourceError
        If the device is a GPU that exact matching cannot use.
    """
    if series.sequence_hash != dictionary.protocol.sequence.hash:
        raise MismatchError(
            f"The frames of {series.name} are of another sequence than the dictionary's protocol "
            f"'{dictionary.protocol.name}'; make both with one protocol."
        )
    if method == "group" and groups is None:
        raise MismatchError(
            f"The dictionary of protocol '{dictionary.protocol.name}' has no groups; "
            "make it again with mrfpipe simulate --groups."
        )
    mask = series.mask & np.any(series.images != 0, axis=1)
    slices = [_compressed(series.images[s][:, mask[s]].T, series.basis, dictionary) for s in range(series.n_slices)]
    coefficients, norm = (np.concatenate(parts) for parts in zip(*slices, strict=True))
    matches = _match(coefficients, dictionary, method, groups, device, progress)
    found = refine(coefficients, matches.entry, dictionary) if refined else _on_grid(matches, dictionary)
    maps = {field: estimate.astype(np.float32) for field, estimate in found.parameters.items()}
    overlap = np.abs(np.sum(found.signals.conj() * coefficients, axis=1))
    length = np.linalg.norm(found.signals, axis=1)
    maps |= {"m0": overlap / length**2, "match": overlap / (length * norm)}
    edge = np.zeros(mask.shape, np.uint8)
    edge[mask] = edge_bits(found.parameters, dictionary)
    return ParameterMaps(
        **{name: _image(values, mask) for name, values in maps.items()}, edge=edge, mask=mask, affine=series.affine
    )


def _compressed(signals: Complex, basis: Complex | None, dictionary: Dictionary) -> tuple[Complex, Float]:
    """Return the signals `(voxels, frames or rank)` of a slice in the dictionary's basis, and their own norms."""
    norm = np.linalg.norm(signals, axis=1)
    if basis is None:
        return dictionary.compress(signals), norm
    if np.array_equal(basis, dictionary.basis):
        return np.ascontiguousarray(signals), norm
    return signals @ dictionary.compress(basis.T), norm


def _image(values: Float, mask: Bool) -> Float:
    """Put the values of the voxels inside the mask where they belong. Shape `(slices, y, x)`, NaN outside."""
    image = np.full(mask.shape, np.nan, np.float32)
    image[mask] = values
    return image


def _match(
    coefficients: Complex,
    dictionary: Dictionary,
    method: Method,
    groups: EntryGroups | None,
    device: torch.device,
    progress: Callable[[int, int], None] | None,
) -> Matches:
    if method == "group" and groups is not None:
        return match_group(coefficients, dictionary, groups, device=device)
    if method == "brute":
        return match_brute(coefficients, dictionary, device, progress)
    return match_exact(coefficients, dictionary, device)


def _on_grid(matches: Matches, dictionary: Dictionary) -> Estimates:
    """Take the matched entries as they are."""
    return Estimates(parameters=dictionary.parameters(matches.entry), signals=dictionary.entries(matches.entry))


def edge_bits(parameters: dict[str, Double], dictionary: Dictionary) -> Byte:
    """Bit n of every voxel is set where the n-th of `PARAMETERS` lies at an end of its grid axis. Shape `(voxels)`."""
    bits = np.zeros(len(parameters["ff"]), np.uint8)
    for n, parameter in enumerate(PARAMETERS):
        axis = getattr(dictionary.protocol.grid, parameter.field)
        estimate = parameters[parameter.field]
        bits |= ((estimate <= axis[0]) | (estimate >= axis[-1])).astype(np.uint8) << np.uint8(n)
    return bits

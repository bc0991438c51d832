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
from mrfpipe.matching.score import Matches

Method = Literal["exact", "group", "brute"]
CPU = torch.device("cpu")


def match_series(
    series: FrameSeries,
    dictionary: Dictionary,
    method: Method = "exact",
    *,
    groups: EntryGroups | None = None,
    device: torch.device = CPU,
    progress: Callable[[int, int], None] | None = None,
) -> ParameterMaps:
    """Match every voxel inside the mask.

    The map `match` is the normalised correlation over all frames, so that aliasing lowers it; `m0` is the magnitude of
    the scale between signal and fingerprint.

    Parameters
    ----------
    series
        Frames of all slices.
    dictionary
        Of the sequence that the frames were measured with.
    method
        ``exact`` or ``brute``, which find the same, brute by visiting every entry; or ``group``, which finds it for
        nearly every voxel.
    groups
        Of the dictionary's entries; group matching needs them.
    device
        Where group and brute matching compute; exact matching runs on the CPU.
    progress
        Called after every slice with the slices done and all slices.

    Raises
    ------
    MismatchError
        If the frames are of another sequence than the dictionary, or groups are needed and there are none.
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
    values = {name: np.full(mask.shape, np.nan, np.float32) for name in (*(p.field for p in PARAMETERS), "m0", "match")}
    edge = np.zeros(mask.shape, np.uint8)
    for s in range(series.n_slices):
        inside = mask[s]
        if inside.any():
            signals = np.ascontiguousarray(series.images[s][:, inside].T)
            coefficients = dictionary.compress(signals)
            matches = _match(coefficients, dictionary, method, groups, device)
            _fill(matches, signals, coefficients, dictionary, {k: v[s] for k, v in values.items()}, edge[s], inside)
        if progress is not None:
            progress(s + 1, series.n_slices)
    return ParameterMaps(**values, edge=edge, mask=mask, affine=series.affine)


def _match(
    coefficients: Complex, dictionary: Dictionary, method: Method, groups: EntryGroups | None, device: torch.device
) -> Matches:
    if method == "group" and groups is not None:
        return match_group(coefficients, dictionary, groups, device=device)
    if method == "brute":
        return match_brute(coefficients, dictionary, device)
    return match_exact(coefficients, dictionary)


def _fill(
    matches: Matches,
    signals: Complex,
    coefficients: Complex,
    dictionary: Dictionary,
    values: dict[str, Float],
    edge: Byte,
    inside: Bool,
) -> None:
    """Write the matches of a slice's voxels `inside` into its maps."""
    entries = dictionary.entries(matches.entry)
    overlap = np.abs(np.sum(entries.conj() * coefficients, axis=1))
    length = np.linalg.norm(entries, axis=1)
    values["m0"][inside] = overlap / length**2
    values["match"][inside] = overlap / (length * np.linalg.norm(signals, axis=1))
    parameters = dictionary.parameters(matches.entry)
    for field, estimate in parameters.items():
        values[field][inside] = estimate
    edge[inside] = edge_bits(parameters, dictionary)


def edge_bits(parameters: dict[str, Double], dictionary: Dictionary) -> Byte:
    """Bit n of every voxel is set where the n-th of `PARAMETERS` lies at an end of its grid axis. Shape `(voxels)`."""
    bits = np.zeros(len(parameters["ff"]), np.uint8)
    for n, parameter in enumerate(PARAMETERS):
        axis = getattr(dictionary.protocol.grid, parameter.field)
        estimate = parameters[parameter.field]
        bits |= ((estimate <= axis[0]) | (estimate >= axis[-1])).astype(np.uint8) << np.uint8(n)
    return bits

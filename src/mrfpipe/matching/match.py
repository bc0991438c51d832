"""From a series of frames to maps, by comparing every voxel with every entry of a dictionary."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch

from mrfpipe.arrays import Bool, Byte, Complex, Double, Float
from mrfpipe.dictionary import Dictionary
from mrfpipe.errors import MismatchError
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.maps import PARAMETERS, ParameterMaps
from mrfpipe.matching.brute import match_brute
from mrfpipe.matching.exact import match_exact
from mrfpipe.matching.refine import Estimates, refine
from mrfpipe.matching.score import Matches

Method = Literal["exact", "brute"]
CPU = torch.device("cpu")


def match_series(
    series: FrameSeries,
    dictionary: Dictionary,
    method: Method = "exact",
    *,
    refined: bool = False,
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
        ``exact`` or ``brute``; both find the same, brute visits every entry.
    refined
        Whether the estimates leave the grid for the best signal between its entries; see `mrfpipe.matching.refine`.
    device
        Where to compute.
    progress
        Called after every slice with the slices done and all slices.

    Raises
    ------
    MismatchError
        If the frames are of another sequence than the dictionary.
    ResourceError
        If the device is a GPU that exact matching cannot use.
    """
    if series.sequence_hash != dictionary.protocol.sequence.hash:
        raise MismatchError(
            f"The frames of {series.name} are of another sequence than the dictionary's protocol "
            f"'{dictionary.protocol.name}'; make both with one protocol."
        )
    mask = series.mask & np.any(series.images != 0, axis=1)
    values = {name: np.full(mask.shape, np.nan, np.float32) for name in (*(p.field for p in PARAMETERS), "m0", "match")}
    edge = np.zeros(mask.shape, np.uint8)
    for s in range(series.n_slices):
        inside = mask[s]
        if inside.any():
            signals = np.ascontiguousarray(series.images[s][:, inside].T)
            coefficients = dictionary.compress(signals)
            if method == "exact":
                matches = match_exact(coefficients, dictionary, device)
            else:
                matches = match_brute(coefficients, dictionary, device)
            found = refine(coefficients, matches.entry, dictionary) if refined else _on_grid(matches, dictionary)
            _fill(found, signals, coefficients, dictionary, {k: v[s] for k, v in values.items()}, edge[s], inside)
        if progress is not None:
            progress(s + 1, series.n_slices)
    return ParameterMaps(**values, edge=edge, mask=mask, affine=series.affine)


def _on_grid(matches: Matches, dictionary: Dictionary) -> Estimates:
    """Take the matched entries as they are."""
    return Estimates(parameters=dictionary.parameters(matches.entry), signals=dictionary.entries(matches.entry))


def _fill(
    found: Estimates,
    signals: Complex,
    coefficients: Complex,
    dictionary: Dictionary,
    values: dict[str, Float],
    edge: Byte,
    inside: Bool,
) -> None:
    """Write the estimates of a slice's voxels `inside` into its maps."""
    overlap = np.abs(np.sum(found.signals.conj() * coefficients, axis=1))
    length = np.linalg.norm(found.signals, axis=1)
    values["m0"][inside] = overlap / length**2
    values["match"][inside] = overlap / (length * np.linalg.norm(signals, axis=1))
    for field, estimate in found.parameters.items():
        values[field][inside] = estimate
    edge[inside] = edge_bits(found.parameters, dictionary)


def edge_bits(parameters: dict[str, Double], dictionary: Dictionary) -> Byte:
    """Bit n of every voxel is set where the n-th of `PARAMETERS` lies at an end of its grid axis. Shape `(voxels)`."""
    bits = np.zeros(len(parameters["ff"]), np.uint8)
    for n, parameter in enumerate(PARAMETERS):
        axis = getattr(dictionary.protocol.grid, parameter.field)
        estimate = parameters[parameter.field]
        bits |= ((estimate <= axis[0]) | (estimate >= axis[-1])).astype(np.uint8) << np.uint8(n)
    return bits

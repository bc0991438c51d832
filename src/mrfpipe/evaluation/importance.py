"""Importance of each frame for the maps, measured by permuting its values among voxels.

Section 3.4 of Balsiger et al., Med Image Anal 64:101741 (2020), after Breiman, Mach Learn 45:5 (2001), and Fisher et
al., J Mach Learn Res 20:177 (2019).
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mrfpipe.arrays import Complex, Double
from mrfpipe.errors import MismatchError
from mrfpipe.evaluation.metrics import nrmse
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.maps import ParameterMaps
from mrfpipe.progress import UNTOLD, Steps


def permutation_importance(
    series: FrameSeries,
    reference: ParameterMaps,
    reconstruct: Callable[[FrameSeries], ParameterMaps],
    *,
    seed: int = 0,
    n_together: int = 4,
    progress: Steps = UNTOLD,
) -> Double:
    """Measure how much the NRMSE of each map changes when the values of one frame are permuted.

    The values of a frame are permuted among the voxels of the mask, over all slices; the frame keeps its position in
    time. Normalisation of a whole scan by its mean and standard deviation is not affected.

    Parameters
    ----------
    series
        The frame series of a scan. If it holds coefficients, these are permuted one by one instead of frames.
    reference
        The true maps.
    reconstruct
        Function that makes maps from a frame series. It gets several permuted copies of the scan at once, as slices of
        one scan, and must process all slices in the same way.
    seed
        Seed of the permutations; every frame has its own random generator.
    n_together
        Number of copies that are reconstructed at once: more need more memory, and give the same values.
    progress
        Called after every batch of copies.

    Returns
    -------
        Absolute difference from the NRMSE without permutation, with maps in the order of the parameters. Shape
        `(frames, maps)`.

    Raises
    ------
    MismatchError
        If the scan and the reference differ in shape.
    """
    if series.mask.shape != reference.mask.shape:
        raise MismatchError(
            f"{series.name} has shape {series.mask.shape} and the reference {reference.mask.shape} (slices, y, x); "
            "compare maps of one scan."
        )
    n_frames = series.images.shape[1]
    plain = _errors(reconstruct(series), reference)[0]
    importance = np.empty((n_frames, len(reference)))
    for start in range(0, n_frames, n_together):
        frames = range(start, min(start + n_together, n_frames))
        copies = [permute_frame(series, frame, np.random.default_rng([seed, frame])) for frame in frames]
        together = replace(series, images=np.concatenate(copies), mask=np.concatenate([series.mask] * len(copies)))
        importance[start : frames.stop] = np.abs(_errors(reconstruct(together), reference) - plain)
        progress(frames.stop, n_frames)
    return importance


def permute_frame(series: FrameSeries, frame: int, random: np.random.Generator) -> Complex:
    """Return the images of a scan with the values of one frame permuted among the voxels of the mask, over all slices.

    Shape `(slices, frames, y, x)`.
    """
    images = series.images.copy()
    slices, y, x = np.nonzero(series.mask)
    images[slices, frame, y, x] = random.permutation(images[slices, frame, y, x])
    return images


def _errors(maps: ParameterMaps, reference: ParameterMaps) -> Double:
    """Return the NRMSE of every map and copy of a scan; the copies are consecutive slices. Shape `(copies, maps)`."""
    n_slices = reference.mask.shape[0]
    errors = np.empty((maps.mask.shape[0] // n_slices, len(reference)))
    for i, parameter in enumerate(reference.parameters):
        counts = reference.compared(parameter)
        values = np.where(maps.mask, maps.si[parameter.name], np.nan)
        for copy, error in zip(values.reshape(-1, *reference.mask.shape), errors, strict=True):
            error[i] = nrmse(copy[counts], reference.si[parameter.name][counts])
    return errors

"""MRD images: every map as images for the software of a scanner, one series per map and one image per slice.

Pixels are 16-bit integers, scaled so that ``value = RescaleSlope * pixel + RescaleIntercept`` is in the unit of files;
the rounding error, half a step, is less than 2e-5 of the range of a map. Pixels are 1 to 32767, and 0 where a map is
not defined. The meta attributes describe an image, with the names that Siemens software reads.
"""

from collections.abc import Iterator

import ismrmrd
import numpy as np
import numpy.typing as npt

from mrfpipe.acquisition.geometry import stack_of
from mrfpipe.appearance import match_window, window_from_zero, window_of
from mrfpipe.arrays import Byte, Float
from mrfpipe.maps import ParameterMaps
from mrfpipe.quantities import DEVIATION, GAP, M0, MATCH, Parameter, Quality

MOST = 32767
"""The largest pixel value."""


def images_of(maps: ParameterMaps, method: str) -> Iterator[ismrmrd.Image]:
    """Yield the images of all maps, slice by slice; `method` describes in words how the maps were made."""
    stack = stack_of(maps.affine, maps.mask.shape[-1], len(maps.mask))
    voxel_mm = np.linalg.norm(maps.affine[:3, :3], axis=0)
    for series, (one, values) in enumerate(maps.images(), start=1):
        slope, intercept = _scaling(values, maps)
        pixels = _pixels(values, maps, slope, intercept)
        meta = _meta(one, values, maps, method) | {"RescaleSlope": repr(slope), "RescaleIntercept": repr(intercept)}
        for s, image in enumerate(pixels):
            made = ismrmrd.Image.from_array(image)
            made.image_type, made.image_series_index, made.image_index = ismrmrd.IMTYPE_REAL, series, s + 1
            made.slice = s
            made.field_of_view[:] = (*(voxel_mm[:2] * image.shape[::-1]), voxel_mm[2])
            made.position[:] = stack.positions[s]
            made.read_dir[:], made.phase_dir[:], made.slice_dir[:] = stack.directions
            made.meta = meta
            yield made


def _scaling(values: Float | Byte, maps: ParameterMaps) -> tuple[float, float]:
    """Return the slope (value of a step) and the intercept (value of pixel 0); maps of integers have slope 1."""
    inside = values[maps.mask].astype(np.float64)
    if values.dtype == np.uint8 or not inside.size:
        return 1.0, -1.0
    low, high = float(inside.min()), float(inside.max())
    slope = (high - low) / (MOST - 1) or 1.0
    return slope, low - slope


def _pixels(values: Float | Byte, maps: ParameterMaps, slope: float, intercept: float) -> npt.NDArray[np.int16]:
    scaled = np.where(maps.mask, (values.astype(np.float64) - intercept) / slope, 0)
    return np.clip(np.rint(scaled), 0, MOST).astype(np.int16)


def _meta(one: Parameter | Quality, values: Float | Byte, maps: ParameterMaps, method: str) -> dict[str, object]:
    low, high = _window(one, values, maps)
    return {
        "DataRole": ["Image", "Quantitative"],
        "SeriesDescription": one.name,
        "ImageComment": f"{one.name}: {one.title}, in {one.unit}; {method}",
        "Unit": one.unit,
        "WindowCenter": repr((low + high) / 2),
        "WindowWidth": repr(high - low),
        "Keep_image_geometry": 1,
    }


def _window(one: Parameter | Quality, values: Float | Byte, maps: ParameterMaps) -> tuple[float, float]:
    if isinstance(one, Parameter):
        return window_of(maps, one)
    if one.field == MATCH.field:
        return match_window(maps)
    if one.field in {M0.field, GAP.field, DEVIATION}:
        return window_from_zero(values[maps.mask].astype(np.float64))
    return float(values[maps.mask].min()), float(values[maps.mask].max()) + 1.0

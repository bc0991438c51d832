"""Truth: the true maps of a phantom beside its scan, ``NAME.truth.npz``; and references to compare maps with."""

import zipfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mrfpipe.arrays import Byte, Int
from mrfpipe.errors import InputError, MismatchError, first_line
from mrfpipe.files.maps import load_maps
from mrfpipe.files.nifti import check_place
from mrfpipe.files.results import find_maps, scan_name
from mrfpipe.maps import ParameterMaps
from mrfpipe.quantities import Parameter, parameters_as_text, parameters_from_text

_DAMAGE = (OSError, EOFError, ValueError, TypeError, SyntaxError, RuntimeError, zipfile.BadZipFile, zlib.error)


def truth_arrays(maps: ParameterMaps, rois: Byte) -> dict[str, npt.NDArray[np.generic]]:
    """Return the arrays of a truth by their names in files: `mask`, maps in the units of files, `roi`, `parameters`.

    Parameters
    ----------
    maps
        The truth.
    rois
        Number of the region of interest from 1, or 0 for none. Shape `(slices, y, x)`.

    Returns
    -------
        Arrays of shape `(slices, y, x)`, 0 outside the mask, and `parameters`, a text.
    """
    arrays: dict[str, npt.NDArray[np.generic]] = {"mask": maps.mask.astype(np.uint8)}
    arrays |= {name: np.where(maps.mask, values, np.float32(0)) for name, values in maps.items()}
    return arrays | {"roi": rois, "parameters": np.array(parameters_as_text(maps.parameters))}


def save_truth(maps: ParameterMaps, rois: Byte, path: str | Path) -> None:
    """Write `truth_arrays` as an npz file to exactly `path`, whatever its suffix; an existing file is replaced."""
    with Path(path).open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **truth_arrays(maps, rois))


def truth_path(path: str | Path) -> Path:
    """Return the path of the truth for a phantom's raw scan or frames: ``NAME.truth.npz`` in the same folder."""
    return Path(path).with_name(f"{scan_name(path)}.truth.npz")


def load_truth(path: str | Path, parameters: tuple[Parameter, ...]) -> ParameterMaps | None:
    """Return the truth beside a raw scan or frames file, if any; `parameters` apply if it does not state its own.

    Raises
    ------
    InputError
        If the truth cannot be read.
    """
    truth = truth_path(path)
    return load_reference(truth, parameters)[0] if truth.exists() else None


def load_reference(
    path: str | Path, parameters: tuple[Parameter, ...] | None = None
) -> tuple[ParameterMaps, Int | None]:
    """Read a reference and its regions.

    Parameters
    ----------
    path
        A result folder, a maps file, or a truth ``.npz`` with the arrays ``mask``, one map per parameter by name in the
        units of files, and optionally ``roi``. Shape `(slices, y, x)`, or `(y, x)` for a single slice.
    parameters
        Parameters of a truth that does not state its own.

    Returns
    -------
        The maps in SI units, and the labels of regions, shape `(slices, y, x)`, if the file has any. A truth does not
        contain M0, its phase, match, grid edge and geometry: these are 1, 0, 1, 0 and the identity.

    Raises
    ------
    InputError
        If the file is missing, of another kind, damaged, or not finite inside its mask.
    """
    path = Path(path)
    if path.suffix == ".npz":
        return _load_truth(path, parameters)
    return load_maps(find_maps(path)), None


def load_reference_of(maps: ParameterMaps, path: str | Path) -> tuple[ParameterMaps, Int | None]:
    """Read what maps are to be compared with, and its regions, as `load_reference` does.

    Raises
    ------
    InputError
        As `load_reference`.
    MismatchError
        If it has another shape than the maps, or lies elsewhere. A truth, and maps of an array, do not say where they
        lie: their affine is the identity.
    """
    reference, labels = load_reference(path, maps.parameters)
    shape, found, cure = maps.mask.shape, reference.mask.shape, "compare results of one scan"
    if found != shape:
        raise MismatchError(f"{path} has shape {found[::-1]} and the maps {shape[::-1]} (x, y, slices); {cure}.")
    if not any(np.array_equal(affine, np.eye(4)) for affine in (maps.affine, reference.affine)):
        check_place(Path(path), reference.affine, "the maps", shape, maps.affine, cure)
    return reference, labels


def _load_truth(path: Path, parameters: tuple[Parameter, ...] | None) -> tuple[ParameterMaps, Int | None]:
    parameters, arrays = _read(path, parameters)
    layout = _layout(parameters)
    missing = [name for name in ("mask", *(p.name for p in parameters)) if name not in arrays]
    if missing:
        raise InputError(f"{path} has no array {missing[0]}; {layout}.")
    shape = arrays["mask"].shape
    for name, array in arrays.items():
        if array.shape != shape or len(shape) != 3:
            raise InputError(f"{path}: {name} has shape {array.shape}, expected that of mask, (slices, y, x).")
        if array.dtype.kind not in "buif":
            raise InputError(f"{path}: {name} holds {array.dtype}, not numbers; {layout}.")
    mask = arrays["mask"].astype(np.float64) > 0
    for p in parameters:
        if not np.all(np.isfinite(arrays[p.name][mask])):
            raise InputError(f"{path}: {p.name} is not finite everywhere inside the mask; {layout}.")
    si = {
        p.name: np.where(mask, arrays[p.name].astype(np.float64) / p.scale, np.nan).astype(np.float32)
        for p in parameters
    }
    return ParameterMaps.known(parameters, si, mask, np.eye(4)), _regions(arrays.get("roi"), path, layout)


def _layout(parameters: tuple[Parameter, ...]) -> str:
    maps = ", ".join(p.heading for p in parameters)
    return f"a truth .npz holds mask, {maps or 'a map of every parameter'} and, if there are regions, roi"


def _read(
    path: Path, parameters: tuple[Parameter, ...] | None
) -> tuple[tuple[Parameter, ...], dict[str, npt.NDArray[np.generic]]]:
    """Read the parameters of a truth and its arrays."""
    layout = _layout(parameters or ())
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            if "parameters" in file:
                parameters = parameters_from_text(str(file["parameters"]))
            if parameters is None:
                raise InputError(f"{path} does not name the parameters of its maps; give a result to compare it with.")
            known = ("mask", *(p.name for p in parameters), "roi")
            return parameters, {name: _with_slices(file[name]) for name in known if name in file}
    except FileNotFoundError as e:
        raise InputError(f"{path} does not exist; {layout}.") from e
    except (*_DAMAGE, AttributeError, LookupError) as e:
        raise InputError(f"{path} cannot be read as .npz: {first_line(e)}; {layout}.") from e


def _with_slices(array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    return array[None] if array.ndim == 2 else array


def _regions(rois: npt.NDArray[np.generic] | None, path: Path, layout: str) -> Int | None:
    if rois is None:
        return None
    values = rois.astype(np.float64)
    if not np.all(np.isfinite(values)) or not np.array_equal(values, np.round(values)):
        raise InputError(f"{path}: roi does not hold whole numbers; {layout}.")
    labels = rois.astype(np.int64)
    return labels if labels.any() else None

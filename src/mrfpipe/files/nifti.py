"""NIfTI: write every map as an image with a JSON sidecar, for viewers and statistics; read images of other programs."""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np

from mrfpipe.arrays import Byte, Double, Float, ShortInt
from mrfpipe.errors import InputError, MismatchError, first_line
from mrfpipe.files.provenance import Provenance
from mrfpipe.maps import ParameterMaps

_NEAR = 0.01
"""Largest distance between corresponding corners of two images, relative to the smallest side of a voxel: NIfTI stores
affines in float32, and viewers may store them as angles."""
_VOXELS_AT = 352
"""Byte at which the voxels begin in a NIfTI-1 file without extensions."""


def read_image(path: Path, what: str, shape: tuple[int, ...], affine: Double, cure: str) -> Double:
    """Read an image that must have this shape and affine, those of ``what``.

    The axes of the file are (x, y, slice); the returned shape is `(slices, y, x)`. InputError if it is not a NIfTI
    image, MismatchError if its shape or position differs; errors end with the cure.
    """
    import nibabel as nib

    try:
        image: Any = nib.load(path)
        values = np.asanyarray(image.dataobj)
    except FileNotFoundError as e:
        raise InputError(f"{path} does not exist; {cure}.") from e
    except (nib.filebasedimages.ImageFileError, OSError, EOFError, ValueError) as e:
        raise InputError(f"{path} cannot be read as NIfTI: {first_line(e)}; {cure}.") from e
    if values.dtype.kind not in "buif":
        raise InputError(f"{path} holds colours or complex numbers, not one real number a voxel; {cure}.")
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    values = values[..., None] if values.ndim == 2 else values
    if values.shape != shape[::-1]:
        raise MismatchError(f"{path} has shape {values.shape} and {what} {shape[::-1]} (x, y, slices); {cure}.")
    check_place(path, np.asarray(image.affine, np.float64), what, shape, affine, cure)
    return np.asarray(values.transpose(2, 1, 0), np.float64)


def check_place(path: Path, found: Double, what: str, shape: tuple[int, ...], affine: Double, cure: str) -> None:
    """Check that an affine agrees with the affine of ``what``, which has shape `(slices, y, x)`.

    MismatchError if any corners are apart by more than a hundredth of a voxel; the error ends with the cure.
    """
    n_slices, n_y, n_x = shape
    corners = np.array([[x, y, s, 1] for x in (0, n_x - 1) for y in (0, n_y - 1) for s in (0, n_slices - 1)]).T
    apart = float(np.linalg.norm(((found - affine) @ corners)[:3], axis=0).max())
    if not apart <= _NEAR * float(np.linalg.norm(affine[:3, :3], axis=0).min()):
        raise MismatchError(
            f"{path} lies elsewhere than {what}: corners of the two images are up to {apart:.3g} mm apart; {cure}."
        )


def save_nifti(maps: ParameterMaps, folder: str | Path, provenance: Provenance) -> None:
    """Write every map to ``NAME.nii.gz``, NaN outside the mask, with a sidecar ``NAME.json``.

    Not atomic by itself; see `results.save_result`.

    Parameters
    ----------
    maps
        The maps to write.
    folder
        Folder to write to; created if it is missing.
    provenance
        How the maps were made.

    Raises
    ------
    OSError
        If the files cannot be written to the disk.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for one, values in maps.images():
        write_image(values, maps, folder / f"{one.name}.nii.gz")
        write_json(sidecar(provenance, one.unit, one.title), folder / f"{one.name}.json")


def write_image(values: Float | Byte, maps: ParameterMaps, path: Path) -> None:
    """Write one map as a float32 NIfTI with axes (x, y, slice); the same map always gives the same bytes.

    Parameters
    ----------
    values
        The map. Shape `(slices, y, x)`.
    maps
        The maps to which it belongs, for mask and geometry.
    path
        Path of the file.
    """
    import nibabel as nib

    nib.save(_image(np.where(maps.mask, values, np.float32(np.nan)).astype(np.float32), maps.affine), path)


def label_header(maps: ParameterMaps) -> bytes:
    """Return the header of a NIfTI file of labels for these maps; voxels follow as little-endian int32, x fastest."""
    file: bytes = _image(np.zeros(maps.mask.shape, np.int32), maps.affine).to_bytes()
    return file[:_VOXELS_AT]


def _image(values: Float | ShortInt, affine: Double) -> Any:  # noqa: ANN401 - nibabel has no types
    """Make an image with axes (x, y, slice) from values of shape `(slices, y, x)`."""
    import nibabel as nib

    image: Any = nib.Nifti1Image(np.ascontiguousarray(values.transpose(2, 1, 0)), affine)  # type: ignore[no-untyped-call]
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    return image


def sidecar(provenance: Provenance, unit: str, description: str) -> dict[str, object]:
    """Return the content of a BIDS sidecar: what an image is and how it was made."""
    return {
        "Description": description,
        "Units": unit,
        "Sources": [{"path": path, "sha256": sha256} for path, sha256 in sorted(provenance.inputs.items())],
        "EstimationAlgorithm": provenance.method,
        "Protocol": {"Name": provenance.protocol_name, "Hash": provenance.protocol_hash},
        "Software": provenance.versions,
        "Command": shlex.join(provenance.command),
        "Device": provenance.device,
        "Seed": provenance.seed,
        "StartTime": provenance.started,
        "DurationSeconds": provenance.duration_s,
        "Notes": provenance.notes,
    }


def write_json(content: dict[str, object], path: Path) -> None:
    """Write an indented JSON file."""
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")

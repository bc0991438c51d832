"""NIfTI: one image a map for viewers and statistics, with a JSON sidecar that says how it was made."""

import json
import shlex
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from mrfpipe.arrays import Byte, Float
from mrfpipe.files.provenance import Provenance
from mrfpipe.maps import ParameterMaps


def save_nifti(maps: ParameterMaps, folder: str | Path, provenance: Provenance) -> None:
    """Write every map to ``NAME.nii.gz`` with a sidecar ``NAME.json`` beside it, NaN outside the mask.

    Not atomic by itself; see `results.save_result`.

    Parameters
    ----------
    maps
        What to write.
    folder
        Where to; made if it is missing.
    provenance
        How the maps were made.

    Raises
    ------
    OSError
        If the disk does not take the files.
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
        The maps it is one of, for mask and geometry.
    path
        The file to be.
    """
    masked = np.where(maps.mask, values, np.float32(np.nan)).astype(np.float32)
    image: Any = nib.Nifti1Image(np.ascontiguousarray(masked.transpose(2, 1, 0)), maps.affine)  # type: ignore[no-untyped-call]
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(maps.affine, code=1)
    image.set_qform(maps.affine, code=1)
    nib.save(image, path)


def sidecar(provenance: Provenance, unit: str, description: str) -> dict[str, object]:
    """Say in the manner of BIDS what an image is and how it was made."""
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
    """Write a JSON file for people and programs."""
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")

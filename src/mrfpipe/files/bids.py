"""BIDS: parameter maps as a derivative dataset of the Brain Imaging Data Structure, with one or many scans.

BIDS has suffixes for T1, T2, M0, B1 and field maps (https://bids-specification.readthedocs.io, appendix on quantitative
MRI) and prescribes their units, which are listed in `mrfpipe.quantities`. Maps without a BIDS suffix, such as match or
grid edge, are written with suffixes of our own, which are listed in ``.bidsignore`` so that validators skip them.

A scan is a folder of the dataset, ``sub-LABEL`` or ``sub-LABEL/ses-LABEL``, which holds the whole result.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mrfpipe.arrays import Byte, Float
from mrfpipe.errors import InputError, OutputExistsError
from mrfpipe.files.atomic import write_text, writing
from mrfpipe.files.nifti import sidecar, write_image, write_json
from mrfpipe.files.provenance import Provenance
from mrfpipe.maps import ParameterMaps
from mrfpipe.quantities import DEVIATION, EDGE, GAP, M0, MATCH, PHASE
from mrfpipe.version import __version__

_VERSION = "1.10.0"
_DESCRIPTION_FILE = "dataset_description.json"
_IGNORED_FILE = ".bidsignore"


_QUALITIES = (M0, PHASE, MATCH, EDGE, GAP)
_IGNORED = (
    *(f"**/*_{quality.name}map.*" for quality in _QUALITIES if quality.bids is None),
    *("**/*_sdmap.*", "**/*.h5", "**/*.png", "**/*.html", "**/dicom", "**/dicom-int16"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Image:
    """One map, and where it is written in the folder of a scan."""

    values: Float | Byte
    """The map in the unit of BIDS. Shape `(slices, y, x)`."""
    folder: str
    """``anat`` or ``fmap``."""
    ending: str
    """Part of the file name after subject and session."""
    unit: str
    """Unit in BIDS."""
    description: str
    """Description of the map."""
    standard: bool = True
    """Whether the suffix is part of BIDS."""


def _images(maps: ParameterMaps) -> Iterator[_Image]:
    """Yield the image of every map; if several parameters have one quantity, all but the first get a ``desc`` label."""
    seen: set[str] = set()
    for p in maps.parameters:
        bids = p.quantity.bids
        if bids is None:
            yield _unknown(f"{p.name}map", maps[p.name], p.unit, p.title)
            continue
        ending = f"desc-{label_of(p.name)}_{bids.suffix}" if bids.suffix in seen else bids.suffix
        seen.add(bids.suffix)
        yield _Image(
            values=maps.si[p.name] * np.float32(bids.scale),
            folder=bids.folder,
            ending=ending,
            unit=bids.unit,
            description=bids.description or p.title,
        )
        if bids.suffix == "fieldmap":  # BIDS requires a magnitude image with it
            yield _Image(values=maps.m0, folder=bids.folder, ending="magnitude", unit=M0.unit, description=M0.title)
    for quality in maps.quality:
        values = maps.quality_map(quality)
        if quality.field == DEVIATION:
            label = f"desc-{label_of(quality.name.removesuffix('_sd'))}_sdmap"
            yield _unknown(label, values, quality.unit, quality.title)
        elif quality.bids is None:
            yield _unknown(f"{quality.name}map", values, quality.unit, quality.title)
        else:
            folder, suffix, unit = quality.bids.folder, quality.bids.suffix, quality.bids.unit
            yield _Image(values=values, folder=folder, ending=suffix, unit=unit, description=quality.title)


def _unknown(suffix: str, values: Float | Byte, unit: str, title: str) -> _Image:
    """Return the image of a map for which BIDS has no suffix."""
    description = f"{title} (the suffix {suffix} is not part of BIDS)"
    return _Image(values=values, folder="anat", ending=suffix, unit=unit, description=description, standard=False)


def label_of(name: str) -> str:
    """Make a BIDS label (letters and digits only) from the name of a scan."""
    return re.sub(r"[^0-9A-Za-z]", "", name) or "01"


def is_label(text: str) -> bool:
    """Return whether a text can be a BIDS label: it has letters and digits only."""
    return re.fullmatch(r"[0-9A-Za-z]+", text) is not None


def scan_folder(root: Path, subject: str, session: str | None = None) -> Path:
    """Return the folder of a scan in a dataset, after checking that the scan may be written there.

    Parameters
    ----------
    root
        Folder of the dataset, which may not exist yet.
    subject, session
        Labels; without a session, the subject has one scan.

    Raises
    ------
    ValueError
        If a label has characters other than letters and digits.
    OutputExistsError
        If the dataset is not a derivative dataset, or the subject already has a scan without a session.
    InputError
        If the description of the dataset cannot be read.
    """
    for label in (subject, session):
        if label is not None and not is_label(label):
            raise ValueError(f"A BIDS label has letters and digits only, not '{label}'.")
    _description(root)
    folder = root / f"sub-{subject}"
    if session is None:
        return folder
    if is_bids(folder):
        raise OutputExistsError(f"{folder} has a scan without a session; take another subject, or move that scan.")
    return folder / f"ses-{session}"


def is_bids(folder: Path) -> bool:
    """Return whether a result folder is a scan of a BIDS dataset."""
    return (folder / "anat").is_dir()


def scan_entities(folder: Path) -> str:
    """Return the name of a scan as it is used in the names of its files, such as ``sub-01_ses-a``."""
    return f"{folder.parent.name}_{folder.name}" if _is_session(folder) else folder.name


def entities_of(scan: str) -> tuple[str, str]:
    """Split a name that `scan_entities` returned into ``sub-LABEL`` and ``ses-LABEL``; empty if missing."""
    found = re.fullmatch(r"(sub-[0-9A-Za-z]+)(?:_(ses-[0-9A-Za-z]+))?", scan)
    return (found[1], found[2] or "") if found else ("", "")


def _is_session(folder: Path) -> bool:
    return folder.name.startswith("ses-") and folder.parent.name.startswith("sub-")


def save_bids(maps: ParameterMaps, folder: Path, provenance: Provenance, *, entities: str) -> None:
    """Write the maps of one scan of a dataset.

    Not atomic by itself; see `results.save_result`.

    Parameters
    ----------
    maps
        The maps to write.
    folder
        Folder of the scan.
    provenance
        How the maps were made.
    entities
        Prefix of the file names, such as ``sub-01_ses-a``.

    Raises
    ------
    OSError
        If the files cannot be written to the disk.
    """
    for image in _images(maps):
        stem = folder / image.folder / f"{entities}_{image.ending}"
        stem.parent.mkdir(parents=True, exist_ok=True)
        write_image(image.values, maps, stem.with_name(f"{stem.name}.nii.gz"))
        write_json(_sidecar(provenance, image), stem.with_name(f"{stem.name}.json"))


def describe_dataset(folder: Path, maps: ParameterMaps) -> None:
    """Write or extend the description of the dataset to which the folder of a scan, with these maps, belongs.

    Entries that an earlier scan or another program wrote are kept.

    Raises
    ------
    OutputExistsError, InputError
        See `scan_folder`.
    ResourceError
        If the files cannot be written to the disk.
    """
    root = folder.parent.parent if _is_session(folder) else folder.parent
    description = _description(root)
    made_by = description.setdefault("GeneratedBy", [])
    ours = {"Name": "mrfpipe", "Version": __version__}
    if isinstance(made_by, list) and ours not in made_by:
        made_by.append(ours)
        with writing(root / _DESCRIPTION_FILE, force=True) as partial:
            write_json(description, partial)
    ignored = root / _IGNORED_FILE
    lines = ignored.read_text(encoding="utf-8").splitlines() if ignored.exists() else []
    own = [f"**/*_{image.ending}.*" for image in _images(maps) if not image.standard]
    if missing := [line for line in dict.fromkeys((*own, *_IGNORED)) if line not in lines]:
        write_text(ignored, "\n".join([*lines, *missing]) + "\n")


def _description(root: Path) -> dict[str, object]:
    """Read the description of a derivative dataset, or return a new one."""
    path = root / _DESCRIPTION_FILE
    if not path.exists():
        return {"Name": "mrfpipe parameter maps", "BIDSVersion": _VERSION, "DatasetType": "derivative"}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise InputError(f"{path} cannot be read: {e}; correct it, or choose another -o.") from e
    if not isinstance(found, dict) or found.get("DatasetType") != "derivative":
        raise OutputExistsError(
            f"{root} is a BIDS dataset, but not of derivatives; choose another -o, such as one below."
        )
    return found


def _sidecar(provenance: Provenance, image: _Image) -> dict[str, object]:
    content = sidecar(provenance, image.unit, image.description)
    content["Sources"] = sorted(provenance.inputs)  # BIDS requires strings
    content["SourcesSha256"] = [provenance.inputs[path] for path in sorted(provenance.inputs)]
    content["SkullStripped"] = False
    return content

"""BIDS: parameter maps as a derivative dataset of the Brain Imaging Data Structure, one for many scans.

BIDS has suffixes for T1, M0, B1 and field maps (https://bids-specification.readthedocs.io, appendix on quantitative
MRI) and prescribes their units. It has none for the fat fraction, the match or the grid's edge: these are written with
suffixes of our own, as the phase of M0 is, listed in ``.bidsignore`` so that validators pass over them.

The field map is -df. Ours is the frequency in whose direction fat is shifted (`mrfpipe.physics.simulate`), and fat is
shifted to a lower frequency; in BIDS a field map in Hz is the offset of the Larmor frequency, which rises with the
field. The sign is turned here and nowhere else.

A scan is a folder of the dataset, ``sub-LABEL`` or ``sub-LABEL/ses-LABEL``, which holds all of its result.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mrfpipe.errors import InputError, OutputExistsError
from mrfpipe.files.atomic import writing
from mrfpipe.files.nifti import sidecar, write_image, write_json
from mrfpipe.files.provenance import Provenance
from mrfpipe.maps import PARAMETERS, Parameter, ParameterMaps, Quality
from mrfpipe.version import __version__

_VERSION = "1.10.0"
_DESCRIPTION_FILE = "dataset_description.json"
_IGNORED_FILE = ".bidsignore"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Image:
    """One map's place and unit in BIDS."""

    map: str
    """Name of the map elsewhere in mrfpipe."""
    folder: str
    """``anat`` or ``fmap``."""
    ending: str
    """What follows the subject and session in the file's name."""
    unit: str
    """Unit in BIDS."""
    scale: float = 1.0
    """Factor from SI to that unit."""
    standard: bool = True
    """Whether BIDS knows the suffix."""


_IMAGES = (
    _Image(map="T1H2O", folder="anat", ending="T1map", unit="s"),
    _Image(map="T1fat", folder="anat", ending="desc-fat_T1map", unit="s"),
    _Image(map="M0", folder="anat", ending="M0map", unit="arbitrary"),
    _Image(map="B1", folder="fmap", ending="TB1map", unit="percent", scale=100.0),
    _Image(map="df", folder="fmap", ending="fieldmap", unit="Hz", scale=-1.0),
    _Image(map="M0", folder="fmap", ending="magnitude", unit="arbitrary"),  # a field map must have one
    _Image(map="FF", folder="anat", ending="FFmap", unit="1", standard=False),
    _Image(map="M0phase", folder="anat", ending="M0phasemap", unit="rad", standard=False),
    _Image(map="match", folder="anat", ending="matchmap", unit="1", standard=False),
    _Image(map="edge", folder="anat", ending="edgemap", unit="1", standard=False),
    _Image(map="gap", folder="anat", ending="gapmap", unit="1", standard=False),
)
_IGNORED = (
    *(f"**/*_{image.ending}.*" for image in _IMAGES if not image.standard),
    *("**/*.h5", "**/*.png", "**/*.html", "**/dicom"),
)


def label_of(name: str) -> str:
    """Make a BIDS label, letters and digits only, of a scan's name."""
    return re.sub(r"[^0-9A-Za-z]", "", name) or "01"


def is_label(text: str) -> bool:
    """Return whether a text can be a BIDS label: it has letters and digits only."""
    return re.fullmatch(r"[0-9A-Za-z]+", text) is not None


def scan_folder(root: Path, subject: str, session: str | None = None) -> Path:
    """Return the folder of a scan in a dataset, after a look at whether it can be written there.

    Parameters
    ----------
    root
        The dataset's folder, which may not exist yet.
    subject, session
        Labels; without a session, the subject has one scan.

    Raises
    ------
    ValueError
        If a label has other characters than letters and digits.
    OutputExistsError
        If the dataset is not one of derivatives, or the subject has a scan without a session already.
    InputError
        If the dataset's description cannot be read.
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
    """Return what the scan of a folder is called in its files' names, such as ``sub-01_ses-a``."""
    return f"{folder.parent.name}_{folder.name}" if _is_session(folder) else folder.name


def _is_session(folder: Path) -> bool:
    return folder.name.startswith("ses-") and folder.parent.name.startswith("sub-")


def save_bids(maps: ParameterMaps, folder: Path, provenance: Provenance, *, entities: str) -> None:
    """Write the maps of one scan of a dataset.

    Not atomic by itself; see `results.save_result`.

    Parameters
    ----------
    maps
        What to write.
    folder
        The scan's folder.
    provenance
        How the maps were made.
    entities
        What file names begin with, such as ``sub-01_ses-a``.

    Raises
    ------
    OSError
        If the disk does not take the files.
    """
    known: dict[str, Parameter | Quality] = {p.name: p for p in PARAMETERS}
    known.update({q.name: q for q in maps.quality})
    for image in (i for i in _IMAGES if i.map in known):
        stem = folder / image.folder / f"{entities}_{image.ending}"
        stem.parent.mkdir(parents=True, exist_ok=True)
        values = getattr(maps, known[image.map].field) * np.float32(image.scale)
        write_image(values, maps, stem.with_name(f"{stem.name}.nii.gz"))
        write_json(_sidecar(provenance, image, known[image.map].title), stem.with_name(f"{stem.name}.json"))


def describe_dataset(folder: Path) -> None:
    """Write or complete the description of the dataset that a scan's folder belongs to.

    What an earlier scan or another program wrote there stays.

    Raises
    ------
    OutputExistsError, InputError
        As `scan_folder`.
    ResourceError
        If the disk does not take the files.
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
    if missing := [line for line in _IGNORED if line not in lines]:
        with writing(ignored, force=True) as partial:
            partial.write_text("\n".join([*lines, *missing]) + "\n", encoding="utf-8")


def _description(root: Path) -> dict[str, object]:
    """Read the description of a dataset of derivatives, or begin one."""
    path = root / _DESCRIPTION_FILE
    if not path.exists():
        return {"Name": "mrfpipe parameter maps", "BIDSVersion": _VERSION, "DatasetType": "derivative"}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise InputError(f"{path} cannot be read: {e}; mend it, or choose another -o.") from e
    if not isinstance(found, dict) or found.get("DatasetType") != "derivative":
        raise OutputExistsError(
            f"{root} is a BIDS dataset, but not of derivatives; choose another -o, such as one below."
        )
    return found


def _sidecar(provenance: Provenance, image: _Image, title: str) -> dict[str, object]:
    content = sidecar(provenance, image.unit, title)
    content["Sources"] = sorted(provenance.inputs)  # BIDS wants texts
    content["SourcesSha256"] = [provenance.inputs[path] for path in sorted(provenance.inputs)]
    content["SkullStripped"] = False
    if image.ending == "fieldmap":
        content["Description"] = (
            "offset of the Larmor frequency, which is -df: fat, at lower frequency, has a positive df"
        )
    if not image.standard:
        content["Description"] = f"{title} (the suffix {image.ending} is not part of BIDS)"
    return content

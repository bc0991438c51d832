"""BIDS: parameter maps as a derivative dataset of the Brain Imaging Data Structure.

BIDS has suffixes for T1, M0, B1 and field maps (https://bids-specification.readthedocs.io, appendix on quantitative
MRI) and prescribes their units. It has none for the fat fraction, the match or the grid's edge: these are written with
suffixes of our own, as the phase of M0 is, listed in ``.bidsignore`` so that validators pass over them.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mrfpipe import __version__
from mrfpipe.files.nifti import sidecar, write_image, write_json
from mrfpipe.files.provenance import Provenance
from mrfpipe.maps import PARAMETERS, Parameter, ParameterMaps, Quality

_VERSION = "1.10.0"
_DESCRIPTION_FILE = "dataset_description.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Image:
    """One map's place and unit in BIDS."""

    map: str
    """Name of the map elsewhere in mrfpipe."""
    folder: str
    """``anat`` or ``fmap``."""
    ending: str
    """What follows the subject in the file's name."""
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
    _Image(map="df", folder="fmap", ending="fieldmap", unit="Hz"),
    _Image(map="FF", folder="anat", ending="FFmap", unit="1", standard=False),
    _Image(map="M0phase", folder="anat", ending="M0phasemap", unit="rad", standard=False),
    _Image(map="match", folder="anat", ending="matchmap", unit="1", standard=False),
    _Image(map="edge", folder="anat", ending="edgemap", unit="1", standard=False),
    _Image(map="gap", folder="anat", ending="gapmap", unit="1", standard=False),
)


def subject_label(name: str) -> str:
    """Make a BIDS subject label, letters and digits only, of a scan's name."""
    return re.sub(r"[^0-9A-Za-z]", "", name) or "01"


def is_bids(root: Path) -> bool:
    """Return whether a folder is a BIDS dataset."""
    return (root / _DESCRIPTION_FILE).exists()


def save_bids(maps: ParameterMaps, root: Path, provenance: Provenance, *, subject: str) -> None:
    """Write maps as one subject of a BIDS derivative dataset.

    Not atomic by itself; see `results.save_result`.

    Parameters
    ----------
    maps
        What to write.
    root
        The dataset's folder; made if it is missing.
    provenance
        How the maps were made.
    subject
        The subject's label, letters and digits only.

    Raises
    ------
    ValueError
        If the label has other characters.
    OSError
        If the disk does not take the files.
    """
    if not subject or subject_label(subject) != subject:
        raise ValueError(f"A BIDS subject label has letters and digits only, not '{subject}'.")
    known: dict[str, Parameter | Quality] = {p.name: p for p in PARAMETERS}
    known.update({q.name: q for q in maps.quality})
    for image in (i for i in _IMAGES if i.map in known):
        folder = root / f"sub-{subject}" / image.folder
        folder.mkdir(parents=True, exist_ok=True)
        values = getattr(maps, known[image.map].field) * np.float32(image.scale)
        write_image(values, maps, folder / f"sub-{subject}_{image.ending}.nii.gz")
        write_json(_sidecar(provenance, image, known[image.map].title), folder / f"sub-{subject}_{image.ending}.json")
    write_json(_dataset_description(provenance), root / _DESCRIPTION_FILE)
    ignored = [f"**/*_{image.ending}.*" for image in _IMAGES if not image.standard]
    paths = ["/*.h5", "/*.png", "/*.html", "/dicom/"]
    (root / ".bidsignore").write_text("\n".join([*ignored, *paths]) + "\n", encoding="utf-8")


def _sidecar(provenance: Provenance, image: _Image, title: str) -> dict[str, object]:
    content = sidecar(provenance, image.unit, title)
    content["Sources"] = sorted(provenance.inputs)  # BIDS wants texts
    content["SourcesSha256"] = [provenance.inputs[path] for path in sorted(provenance.inputs)]
    if not image.standard:
        content["Description"] = f"{title} (the suffix {image.ending} is not part of BIDS)"
    return content


def _dataset_description(provenance: Provenance) -> dict[str, object]:
    return {
        "Name": "mrfpipe parameter maps",
        "BIDSVersion": _VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [
            {
                "Name": "mrfpipe",
                "Version": provenance.versions.get("mrfpipe", __version__),
                "Description": provenance.method,
            }
        ],
    }

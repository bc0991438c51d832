"""Results: the folder with the maps of a scan, in formats for programs, viewers and people."""

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mrfpipe.acquisition.identity import Identity
from mrfpipe.errors import InputError, MismatchError
from mrfpipe.files.atomic import writing
from mrfpipe.files.bids import describe_dataset, save_bids, scan_entities
from mrfpipe.files.dicom import DICOM_FOLDER, write_dicom
from mrfpipe.files.dicom_identity import ANONYMOUS
from mrfpipe.files.dicom_images import IMAGES_FOLDER, write_dicom_images
from mrfpipe.files.fingerprints import load_fingerprints, write_fingerprints
from mrfpipe.files.frames import read_frames_header
from mrfpipe.files.kinds import MAPS_FILE
from mrfpipe.files.maps import write_maps
from mrfpipe.files.nifti import save_nifti
from mrfpipe.files.provenance import Provenance
from mrfpipe.files.schemas import FRAMES, schema_of
from mrfpipe.maps import Fingerprints, ParameterMaps

FINGERPRINTS_FILE = "fingerprints.h5"
"""File in a result folder with the signals from which the maps were estimated."""


def scan_name(path: str | Path) -> str:
    """Return the name of the scan in a raw scan or frames file; results are named after it.

    Raises
    ------
    InputError
        If the file does not exist, or a frames file cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist; check the path.")
    return read_frames_header(path).name if schema_of(path) == FRAMES.name else path.stem


def save_result(
    folder: str | Path,
    maps: ParameterMaps,
    provenance: Provenance,
    *,
    fingerprints: Fingerprints | None = None,
    bids: bool = False,
    dicom: bool = False,
    dicom_int16: bool = False,
    identity: Identity = ANONYMOUS,
    force: bool,
    extra: Callable[[Path], None] | None = None,
) -> None:
    """Write a result folder with ``maps.h5`` and the images: completely, or not at all.

    Parameters
    ----------
    folder
        Path of the folder; it is named after the scan, or after its subject or session.
    maps, provenance, fingerprints
        The maps, how they were made, and optionally the signals of the voxels inside the mask.
    bids
        Whether the folder is a scan of a BIDS derivative dataset, as returned by `bids.scan_folder`.
    dicom
        Whether the maps are also written as DICOM parametric maps.
    dicom_int16
        Whether the maps are also written as plain DICOM MR images.
    identity
        Patient, study and frame of reference, for DICOM.
    force
        Whether an existing result is replaced.
    extra
        Function that adds further files to the unfinished folder, called while the others are written.

    Raises
    ------
    OutputExistsError
        If the folder exists and `force` is not given, or the folder is not a result.
    ResourceError
        If the files cannot be written to the disk, or highdicom is needed and not installed.
    """
    folder, name = Path(folder), scan_entities(Path(folder))
    with writing(folder, force=force, marker=MAPS_FILE) as partial:
        with ThreadPoolExecutor() as pool:  # most of the time is spent in compression, which releases the GIL
            written = [pool.submit(write_maps, maps, partial / MAPS_FILE, provenance)]
            if fingerprints is not None:
                written.append(pool.submit(write_fingerprints, fingerprints, partial / FINGERPRINTS_FILE))
            if bids:
                written.append(pool.submit(save_bids, maps, partial, provenance, entities=name))
            else:
                written.append(pool.submit(save_nifti, maps, partial, provenance))
            if extra is not None:
                extra(partial)
            for one in written:
                one.result()
        if dicom:
            write_dicom(maps, partial / DICOM_FOLDER, name=name, provenance=provenance, identity=identity)
        if dicom_int16:
            write_dicom_images(maps, partial / IMAGES_FOLDER, name=name, provenance=provenance, identity=identity)
        if bids:
            describe_dataset(folder, maps)


def find_maps(path: str | Path) -> Path:
    """Return the maps file of a result, given the file, its result folder, or a folder with only one result.

    Raises
    ------
    InputError
        If a folder holds no result or more than one.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    if (path / MAPS_FILE).exists():
        return path / MAPS_FILE
    try:
        below = sorted(path.glob(f"*/{MAPS_FILE}"))
    except OSError as e:
        raise InputError(f"{path} cannot be read: {e.strerror}; check its permissions.") from e
    if len(below) > 1:
        names = ", ".join(p.parent.name for p in below[:5])
        raise InputError(f"{path} holds {len(below)} results ({names}{', ...' if len(below) > 5 else ''}); name one.")
    if not below:
        raise InputError(f"{path} is a folder without {MAPS_FILE}; make a result with mrfpipe match or reconstruct.")
    return below[0]


def find_all_maps(path: str | Path) -> list[Path]:
    """Return the maps files of all results of a path, as `find_maps`, but for any number of results in a folder.

    In a BIDS dataset, results of sessions are found too.

    Raises
    ------
    InputError
        If a folder holds no result.
    """
    path = Path(path)
    below = sorted({*path.glob(f"*/{MAPS_FILE}"), *path.glob(f"sub-*/ses-*/{MAPS_FILE}")})
    return below if below and not (path / MAPS_FILE).exists() else [find_maps(path)]


def names_of(maps_files: Iterable[Path]) -> dict[Path, str]:
    """Name results after their scans; if names coincide, prepend the name of the parent folder."""
    scans = {file: scan_entities(file.resolve().parent) for file in maps_files}
    count = Counter(scans.values())
    return {f: name if count[name] == 1 else f"{f.resolve().parent.parent.name}/{name}" for f, name in scans.items()}


def find_fingerprints(maps_file: Path, maps: ParameterMaps) -> Fingerprints | None:
    """Read the fingerprints beside a maps file; None if the result has none.

    Raises
    ------
    InputError
        If they are damaged.
    MismatchError
        If their number differs from the number of voxels in the mask.
    """
    path = maps_file.with_name(FINGERPRINTS_FILE)
    if not path.exists():
        return None
    fingerprints = load_fingerprints(path)
    n_voxels, found = int(maps.mask.sum()), len(fingerprints.measured)
    if found != n_voxels:
        raise MismatchError(
            f"{path} holds {found} fingerprints, the maps beside it {n_voxels} voxels; remove it, or match again."
        )
    return fingerprints

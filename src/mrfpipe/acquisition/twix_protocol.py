"""Derive a protocol from a Siemens Twix scan of T1-FF, whose header holds the times of the sequence.

In the free parameters of a 2-D scan, ``adFree[0]`` is the TR at the shortest TE in ms and ``adFree[1]`` the inversion
time in ms; an integer is the number of readouts per slice. The rest of the repetition time after the train is recovery.
The trains of flip angles and TE are not in the header: they are taken from the protocol that provides the components,
or from a JSON file.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from mrfpipe.acquisition.readouts import imaging_of
from mrfpipe.acquisition.searched import Searched, base_protocol, readouts_per_frame
from mrfpipe.acquisition.twix_file import open_twix
from mrfpipe.acquisition.twix_header import TwixTimes, parse_twix_header, times_of
from mrfpipe.arrays import Double
from mrfpipe.errors import InputError, MismatchError
from mrfpipe.protocol import Delay, Excitations, History, Inversion, Protocol

_SAME_TE = 1e-5  # s: raster time of the scanner
WATER_FAT = Searched(components="water-fat")
"""The components and parameters of T1-FF."""


def protocol_from_twix(path: str | Path, *, searched: Searched = WATER_FAT, trains: Path | None = None) -> Protocol:
    """Derive a protocol from a Twix scan.

    Parameters
    ----------
    path
        A Twix scan of T1-FF.
    searched
        Components and parameters to search for.
    trains
        JSON file with the lists `FA` in degrees and `TE` in ms, one value per spoke; `FA` can be one number that a list
        `B1` is multiplied by. Without it, the trains of T1-FF are used.

    Returns
    -------
        The protocol, named after the file. Several slices are assumed to be measured one after the other, so that the
        inversions of all other slices come before; a single slice is assumed to be measured repeatedly.

    Raises
    ------
    InputError
        If a file is missing or damaged, or the header lacks a number or has an impossible one.
    MismatchError
        If header and trains do not fit each other, or the parameters do not fit the components.
    """
    path = Path(path)
    known = base_protocol(searched)
    flip, te = (known.sequence.flip, known.sequence.te) if trains is None else read_trains(trains)
    with open_twix(path) as file:
        header, times, imaging = (
            parse_twix_header(file.buffers, path),
            times_of(file.buffers, path),
            imaging_of(file.heads),
        )
    if not imaging.size:
        raise InputError(f"{path}: holds no imaging acquisitions; measure the scan again.")
    if header.matrix is None or header.fov_mm is None or header.n_slices is None:
        raise InputError(f"{path}: its header has no matrix, field of view or number of slices; name a scan of T1-FF.")
    if header.readouts_per_slice != flip.size:
        raise MismatchError(
            f"{path}: its header announces {header.readouts_per_slice} readouts per slice, the trains {flip.size}; "
            "give those of the scan by --trains."
        )
    matrix, n_samples = header.matrix[0], int((imaging["number_of_samples"] - imaging["discard_pre"]).max())
    if n_samples % matrix:
        raise InputError(f"{path}: its {n_samples} samples per readout are not a multiple of the matrix, {matrix}.")
    train = _train(flip, te, times, known.sequence.trains[0], path)
    recovery = times.repetition - times.inversion - float(train.tr.sum())
    if recovery < 0:
        raise MismatchError(
            f"{path}: inversion and train take {1e3 * (times.repetition - recovery):.0f} ms, the header gives a "
            f"repetition of {1e3 * times.repetition:.0f} ms; pass the trains of the scan with --trains."
        )
    sequence = replace(
        known.sequence,
        blocks=(Inversion(), Delay(duration=times.inversion), train, Delay(duration=round(recovery, 6))),
        readout=replace(
            known.sequence.readout, oversampling=n_samples // matrix, readouts_per_frame=readouts_per_frame([train])
        ),
        matrix=matrix,
        fov=header.fov_mm[0] * 1e-3,
        slice_thickness=(header.slice_thickness_mm or known.sequence.slice_thickness * 1e3) * 1e-3,
    )
    several = History(kind="multislice", slices=max(1, header.n_slices - 1))
    return replace(
        known,
        name=path.stem,
        description=f"Derived from the Twix scan {path.name}",
        sequence=sequence,
        history=several if header.n_slices > 1 else History(),
    )


def _train(flip: Double, te: Double, times: TwixTimes, like: Excitations, path: Path) -> Excitations:
    if abs(te.min() - times.shortest_te) > _SAME_TE:
        raise MismatchError(
            f"{path}: its shortest TE is {1e3 * times.shortest_te:g} ms, that of the trains {1e3 * te.min():g} ms; "
            "give those of the scan by --trains."
        )
    if times.echo_spacing <= times.shortest_te:
        raise InputError(
            f"{path}: its echo spacing of {1e3 * times.echo_spacing:g} ms is not above the shortest TE of "
            f"{1e3 * times.shortest_te:g} ms; name a 2-D scan of T1-FF."
        )
    tr = np.round(te + times.echo_spacing - times.shortest_te, 9)
    return replace(like, flip=flip, te=te, tr=tr, phase=np.zeros(te.size))


def read_trains(path: Path) -> tuple[Double, Double]:
    """Read flip angles in rad and TEs in s from a JSON file; InputError if it has no valid trains of equal length."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        angles, shares, te_ms = (np.asarray(table.get(key, 1.0), np.float64) for key in ("FA", "B1", "TE"))
        flip_deg = np.broadcast_to(angles * shares, te_ms.shape)
    except (OSError, ValueError, TypeError, AttributeError) as e:
        raise InputError(f"{path}: is not a JSON file with the lists FA and TE, one value per spoke ({e}).") from e
    is_train = te_ms.ndim == 1 and te_ms.size and np.all((te_ms > 0) & np.isfinite(te_ms) & np.isfinite(flip_deg))
    if not is_train or not {"FA", "TE"} <= set(table) or np.any((flip_deg < 0) | (flip_deg > 360)):
        raise InputError(
            f"{path}: its lists FA (degrees) and TE (ms) are not a train; give one value above 0 per spoke."
        )
    return np.deg2rad(flip_deg), te_ms * 1e-3

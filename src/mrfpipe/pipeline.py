"""Pipeline: from a file to a series of frames to maps, by matching or by a network.

Both paths take the same input, a raw scan or a frames file, and give the same value, so that nothing after them can
tell which one ran.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from mrfpipe.acquisition.raw import read_raw
from mrfpipe.arrays import available_memory
from mrfpipe.dictionary import Dictionary, EntryGroups
from mrfpipe.errors import InputError, MismatchError, ResourceError
from mrfpipe.evaluation.reference import load_reference
from mrfpipe.files.frames import load_frames, read_frames_header
from mrfpipe.files.schemas import FRAMES, schema_of
from mrfpipe.imaging.frames import reconstruct_frames
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.learning.inference import reconstruct
from mrfpipe.learning.model import TrainedModel
from mrfpipe.maps import ParameterMaps
from mrfpipe.matching.match import Method, match_series
from mrfpipe.protocol import Protocol, parse_protocol

Progress = Callable[[str], Callable[[int, int], None]]
"""Called with the name of a stage that begins; what it returns is called with the steps done and all steps."""


def scan_name(path: Path) -> str:
    """Return what a raw scan or frames file calls its scan: results are named after it.

    Raises
    ------
    InputError
        If there is no such file, or a frames file cannot be read.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; check the path.")
    return read_frames_header(path).name if schema_of(path) == FRAMES.name else path.stem


def load_series(path: Path, protocol: Protocol, progress: Progress) -> FrameSeries:
    """Get the frames of a scan: from a frames file, or by reconstructing a raw scan.

    Parameters
    ----------
    path
        A raw scan or a frames file.
    protocol
        What the scan is a scan of.
    progress
        Told of every stage.

    Raises
    ------
    InputError
        If the file cannot be read, or holds no tissue.
    MismatchError
        If it is a scan of another protocol.
    ResourceError
        If the frames do not fit into memory.
    """
    if schema_of(path) == FRAMES.name:
        header = read_frames_header(path)
        if header.sequence_hash != protocol.sequence.hash:
            raise MismatchError(
                f"{path} holds frames of another sequence (protocol '{header.protocol.name}') than protocol "
                f"'{protocol.name}'; make frames and dictionary or model with one protocol."
            )
        series = load_frames(path)
    else:
        scan = read_raw(path, protocol.sequence)
        _check_memory(scan.n_slices, protocol)
        series = reconstruct_frames(scan, protocol.sequence, progress("frames"))
    if not series.mask.any():
        raise InputError(f"{path} holds no signal that stands out as tissue; check the scan.")
    return series


def _check_memory(n_slices: int, protocol: Protocol) -> None:
    sequence = protocol.sequence
    needed = n_slices * sequence.n_frames * sequence.matrix**2 * np.dtype(np.complex64).itemsize
    if needed > available_memory():
        raise ResourceError(
            f"The frames of {n_slices} slices take {needed / 1e9:.1f} GB, {available_memory() / 1e9:.1f} GB of memory "
            "are free; close other programs or use a larger machine."
        )


def match_scan(
    path: Path,
    dictionary: Dictionary,
    method: Method,
    device: torch.device,
    progress: Progress,
    *,
    groups: EntryGroups | None = None,
    refined: bool = False,
    gap: bool = False,
    memory: int | None = None,
) -> ParameterMaps:
    """Turn a raw scan or a frames file into maps by matching; errors as `load_series` and `match_series`."""
    series = load_series(path, dictionary.protocol, progress)
    return match_series(
        series,
        dictionary,
        method,
        groups=groups,
        refined=refined,
        gap=gap,
        memory=memory,
        device=device,
        progress=progress("match"),
    )


def model_protocol(model: TrainedModel) -> Protocol:
    """Return the protocol that a network was trained for."""
    return parse_protocol(model.protocol_toml, "the model's protocol")


def reconstruct_scan(path: Path, model: TrainedModel, device: torch.device, progress: Progress) -> ParameterMaps:
    """Turn a raw scan or a frames file into maps by a network; errors as `load_series` and `reconstruct`."""
    protocol = model_protocol(model)
    series = load_series(path, protocol, progress)
    return reconstruct(series, model, protocol, device=device, progress=progress("network"))


def truth_path(path: Path) -> Path:
    """Return where the truth of a phantom's raw scan or frames lies, if it is one: beside it, as ``NAME.truth.npz``."""
    return path.with_name(f"{scan_name(path)}.truth.npz")


def load_truth(path: Path) -> ParameterMaps | None:
    """Return the truth that lies beside a raw scan or frames file, if there is any."""
    truth = truth_path(path)
    return load_reference(truth)[0] if truth.exists() else None

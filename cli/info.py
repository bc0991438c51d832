"""``mrfpipe info``: describes a file."""

from collections.abc import Callable, Mapping
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import INPUT, Settings, common_options

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mrfpipe.arrays import Double
    from mrfpipe.protocol import Block, Readout

MOST_PLATEAUS = 8
"""Largest number of runs of equal values of a sequence that are listed individually."""


@click.command()
@click.argument("path", type=INPUT, metavar="FILE")
@common_options
def command(settings: Settings, path: Path) -> None:  # noqa: ARG001 - all commands have settings
    """Describe FILE: a protocol, raw scan, dictionary, frames file, result or network.

    Example: mrfpipe info thigh.h5
    """
    for key, value in _describe(path).items():
        click.echo(f"{key.replace('_', ' ') + ':':22} {_text(value)}")


def _text(value: object) -> str:
    """Format a value for users: lists without brackets, yes and no, and a dash for a value that the file lacks."""
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _describe(path: Path) -> Mapping[str, object]:
    from mrfpipe.acquisition.raw import describe_raw
    from mrfpipe.errors import InputError
    from mrfpipe.files import schemas
    from mrfpipe.files.kinds import NETWORK, RAW, RESULT, UNSURE, kind_of
    from mrfpipe.protocol import built_in_protocols

    if str(path) in built_in_protocols() or path.suffix == ".toml":
        return _protocol(path)
    kinds: dict[schemas.Kind | None, Callable[[Path], Mapping[str, object]]] = {
        schemas.DICTIONARY: _dictionary,
        schemas.FRAMES: _frames,
        schemas.MAPS: _maps,
        schemas.FINGERPRINTS: _fingerprints,
        RESULT: _maps,
        NETWORK: _model,
    }
    kind, words = kind_of(path)
    if path.is_file() and kind not in {RAW, *kinds} and words not in UNSURE:
        raise InputError(
            f"{path} is {words}, not a protocol, raw scan, dictionary, frames file, result or network, which this "
            "command describes; check the path."
        )
    return kinds.get(kind, _maps if path.is_dir() else describe_raw)(path)


def _protocol(path: Path) -> Mapping[str, object]:
    from mrfpipe.protocol import load_protocol

    protocol = load_protocol(path)
    sequence, grid, history = protocol.sequence, protocol.grid, protocol.history
    axes = ", ".join(f"{name} {axis.size}" for name, axis in grid.items())
    return {
        "kind": "protocol",
        "name": protocol.name,
        "hash": protocol.hash,
        "train": f"{sequence.n_readouts} readouts, {sequence.n_frames} frames of {sequence.readouts_per_frame}",
        **dict(_played(sequence.blocks)),
        "duration": f"{sequence.duration:.2f} s a slice",
        "history": history.kind + (f", after {history.slices} slices" if history.kind == "multislice" else ""),
        "readout": _readout(sequence.readout),
        "matrix": f"{sequence.matrix} x {sequence.matrix}, FOV {1e3 * sequence.fov:g} mm, "
        f"slice {1e3 * sequence.slice_thickness:g} mm",
        "components": ", ".join(f"{c.name} (T1 {_time(c.t1)}, T2 {_time(c.t2)})" for c in protocol.components),
        "grid": f"{grid.n_entries:,} entries ({axes})",
    }


def _played(blocks: "Iterable[Block]") -> "Iterator[tuple[str, str]]":
    import numpy as np

    from mrfpipe.protocol import Delay, Excitations, Inversion, Pulses, T2Preparation

    for number, block in enumerate(blocks, start=1):
        match block:
            case Inversion():
                scales = ", scales with B1" if block.scales_with_b1 else ""
                yield f"{number} inversion", f"{block.efficiency:.0%} inverted{scales}"
            case T2Preparation():
                yield f"{number} T2 preparation", f"{1e3 * block.duration:g} ms"
            case Pulses():
                seconds = float(block.duration.sum())
                yield f"{number} pulses", f"{block.flip.size} without readouts in {1e3 * seconds:g} ms"
            case Delay():
                yield f"{number} delay", f"{1e3 * block.duration:g} ms"
            case Excitations():
                yield f"{number} flip angle", _plateaus(np.rad2deg(block.flip), "deg")
                yield f"{number} TE", _plateaus(1e3 * block.te, "ms")
                yield f"{number} TR", _plateaus(1e3 * block.tr, "ms")
                if np.any(block.phase):
                    yield f"{number} RF phase", _plateaus(np.rad2deg(block.phase), "deg")
                yield f"{number} RF phase increment", f"{np.rad2deg(block.rf_spoiling_increment):g} deg"
                yield f"{number} dephasing", f"{block.dephasing} cycle(s) a TR"
            case _:
                yield f"{number} spoiling", "crushes the transverse magnetisation"


def _readout(readout: "Readout") -> str:
    import numpy as np

    if readout.angle_increment is None:
        return f"{readout.kind}, from the scan" + (f" or {readout.pulseq}" if readout.pulseq else "")
    return f"{readout.kind}, {np.rad2deg(readout.angle_increment):.11g} deg, oversampling {readout.oversampling}"


def _time(parameter: str | float) -> str:
    """Return the name of a parameter, or a constant time in ms."""
    return parameter if isinstance(parameter, str) else f"{1e3 * parameter:g} ms"


def _plateaus(values: "Double", unit: str) -> str:
    """Format the values of all readouts as runs of equal values with their lengths, or as a range if there are many."""
    import numpy as np

    texts = [f"{value:.6g}" for value in values]
    runs = [(text, len(list(same))) for text, same in groupby(texts)]
    if len(runs) > MOST_PLATEAUS:
        ends = f"{values.min():.6g} to {values.max():.6g} {unit}"
        return f"{ends}, {len(np.unique(texts))} values in {len(texts)} readouts"
    return ", ".join(f"{text} {unit} x {n}" for text, n in runs)


def _dictionary(path: Path) -> Mapping[str, object]:
    from mrfpipe.files.dictionaries import load_dictionary

    dictionary = load_dictionary(path)
    return {
        "kind": "dictionary",
        "protocol": f"{dictionary.protocol.name} ({dictionary.protocol.hash[:12]})",
        "signal model": str(dictionary.model),
        "entries": f"{dictionary.n_entries:,}",
        "rank": dictionary.rank,
        "energy kept": f"{dictionary.energy:.6%}",
    }


def _frames(path: Path) -> Mapping[str, object]:
    from mrfpipe.files.frames import read_frames_header

    header = read_frames_header(path)
    return {
        "kind": "frames",
        "scan": header.name,
        "protocol": f"{header.protocol.name} ({header.protocol.hash[:12]})",
        "frames" if header.rank is None else "coefficients": (
            f"{header.n_slices} slice(s) x {header.rank or header.n_frames} images of {header.matrix[0]} x "
            f"{header.matrix[1]}" + ("" if header.rank is None else f", of {header.n_frames} frames")
        ),
        "made": f"{header.provenance.started} by {header.provenance.method}",
    }


def _maps(path: Path) -> Mapping[str, object]:
    from mrfpipe.files.maps import load_maps, read_maps_provenance
    from mrfpipe.files.results import find_maps

    file = find_maps(path)
    provenance, maps = read_maps_provenance(file), load_maps(file)
    n_slices, n_y, n_x = maps.mask.shape
    return {
        "kind": "maps",
        "shape": f"{n_slices} slice(s) of {n_y} x {n_x}",
        "maps": ", ".join(f"{p.name} ({p.unit})" for p in maps.parameters),
        "voxels": f"{maps.mask.sum():,} inside the mask",
        "protocol": f"{provenance.protocol_name} ({provenance.protocol_hash[:12]})",
        "made": f"{provenance.started} by {provenance.method}",
        "command": " ".join(provenance.command),
    }


def _fingerprints(path: Path) -> Mapping[str, object]:
    from mrfpipe.files.fingerprints import load_fingerprints

    n_frames, rank = (fingerprints := load_fingerprints(path)).basis.shape
    return {
        "kind": "fingerprints",
        "voxels": f"{len(fingerprints.measured):,}, the measured signal of each and the fingerprint at its maps",
        "signals": f"{rank} coefficients of {n_frames} frames",
    }


def _model(path: Path) -> Mapping[str, object]:
    import torch

    from mrfpipe.learning.model import load_model
    from mrfpipe.run.mapper import model_protocol

    model = load_model(path, torch.device("cpu"))
    architecture = model.architecture
    return {
        "kind": "network",
        "protocol": f"{model_protocol(model).name} ({model.protocol_hash[:12]})",
        "signal model": str(model.signal_model),
        "parameters": f"{architecture.n_parameters:,}",
        "receptive field": f"{architecture.receptive_field} x {architecture.receptive_field}",
        "trained on": f"{len(model.record.get('scans', []))} scan(s)",
    }

"""Dictionaries on disk: ``dictionary.h5``."""

from pathlib import Path

import numpy as np

from mrfpipe.arrays import Double
from mrfpipe.dictionary import Dictionary, EntryGroups, component_axes
from mrfpipe.files.atomic import writing
from mrfpipe.files.schemas import DICTIONARY
from mrfpipe.files.sink import creating
from mrfpipe.files.source import Source, opening
from mrfpipe.physics.simulate import SignalModel

_BASIS = "frames rank"
_GROUPS = {"entries": "entries", "offsets": "edges", "representatives": "groups rank"}


def save_dictionary(
    dictionary: Dictionary, path: str | Path, groups: EntryGroups | None = None, *, force: bool = False
) -> None:
    """Write a dictionary with its protocol, the grid axes in file units and, for group matching, groups of its entries.

    For the errors, see `atomic.writing`.
    """
    with writing(path, force=force) as partial, creating(partial, DICTIONARY) as sink:
        sink.text("model", dictionary.model.spoiling)
        sink.text("slice_profile", "yes" if dictionary.model.slice_profile else "no")
        sink.number("energy", dictionary.energy)
        sink.protocol(dictionary.protocol)
        sink.array("basis", dictionary.basis, _BASIS, "1")
        protocol = dictionary.protocol
        for component, signals in zip(protocol.components, dictionary.components, strict=True):
            sink.array(f"components/{component.name}", signals, component_axes(protocol, component), "1")
        for parameter in protocol.parameters:
            axis = protocol.grid[parameter.name] * parameter.scale
            sink.array(f"grid/{parameter.name}", axis, parameter.name, parameter.unit)
        if groups is not None:
            for name, axes in _GROUPS.items():
                sink.array(f"groups/{name}", getattr(groups, name), axes, "1", gzip=name == "entries")


def load_dictionary(path: str | Path) -> Dictionary:
    """Read a dictionary.

    InputError if the file is missing, of another kind or damaged, or does not match its protocol.
    """
    with opening(path, DICTIONARY) as source:
        protocol = source.protocol()
        sizes = dict(zip(protocol.grid, protocol.grid.shape, strict=True)) | {"frames": protocol.sequence.n_frames}
        sizes |= source.shape("basis", _BASIS, np.complex64, sizes)
        for parameter in protocol.parameters:
            axis = source.array(f"grid/{parameter.name}", parameter.name, np.float64, sizes)
            _check_axis(parameter.name, axis / parameter.scale, protocol.grid[parameter.name])
        return Dictionary(
            components=tuple(
                source.array(f"components/{c.name}", component_axes(protocol, c), np.complex64, sizes)
                for c in protocol.components
            ),
            basis=source.array("basis", _BASIS, np.complex64, sizes),
            energy=source.number("energy"),
            protocol=protocol,
            model=_model(source),
        )


def load_groups(path: str | Path) -> EntryGroups | None:
    """Read the groups of a dictionary; None if it has none.

    InputError if the file is missing, of another kind or damaged, or its groups do not fit its entries.
    """
    with opening(path, DICTIONARY) as source:
        if not source.holds("groups"):
            return None
        sizes = source.shape("basis", _BASIS, np.complex64) | {"entries": source.protocol().grid.n_entries}
        sizes |= source.shape("groups/representatives", _GROUPS["representatives"], np.complex64, sizes)
        sizes["edges"] = sizes["groups"] + 1
        types = {"entries": np.int32, "offsets": np.int64, "representatives": np.complex64}
        return EntryGroups(
            **{name: source.array(f"groups/{name}", axes, types[name], sizes) for name, axes in _GROUPS.items()}
        )


def _model(source: Source) -> SignalModel:
    profile = source.text("slice_profile")
    if profile not in ("yes", "no"):
        raise source.error(f"slice_profile is {profile!r}, neither yes nor no")
    return SignalModel.of(source.text("model"), slice_profile=profile == "yes")


def _check_axis(name: str, axis: Double, expected: Double) -> None:
    if not np.allclose(axis, expected, rtol=1e-9, atol=1e-12):
        raise ValueError(f"grid/{name} is not the axis of the protocol")

"""Parameter maps on disk: ``maps.h5``, in the units of files."""

from pathlib import Path

import numpy as np

from mrfpipe.arrays import Float
from mrfpipe.files.atomic import writing
from mrfpipe.files.provenance import Provenance
from mrfpipe.files.schemas import MAPS
from mrfpipe.files.sink import creating
from mrfpipe.files.source import opening
from mrfpipe.maps import ParameterMaps
from mrfpipe.quantities import EDGE, GAP, M0, MATCH, PHASE, deviation_of, parameters_as_text, parameters_from_text

_AXES = "slices y x"


def save_maps(maps: ParameterMaps, path: str | Path, provenance: Provenance, *, force: bool = False) -> None:
    """Write parameter maps.

    Parameters
    ----------
    maps
        The maps to write.
    path
        Path of the file.
    provenance
        How the maps were made.
    force
        Whether an existing file is replaced.

    Raises
    ------
    OutputExistsError, ResourceError
        See `atomic.writing`.
    """
    with writing(path, force=force) as partial:
        write_maps(maps, partial, provenance)


def write_maps(maps: ParameterMaps, path: Path, provenance: Provenance) -> None:
    """Write parameter maps to a temporary path, as part of an output that is renamed as a whole.

    Raises
    ------
    OSError
        If the file cannot be written to the disk.
    """
    with creating(path, MAPS) as sink:
        sink.text("provenance", provenance.to_json())
        sink.text("parameters", parameters_as_text(maps.parameters))
        for one, values in maps.images():
            sink.array(one.name, values, _AXES, one.unit, gzip=True)
        sink.array("mask", maps.mask, _AXES, "1", gzip=True)
        sink.array("affine", maps.affine, "4 4", "mm")


def load_maps(path: str | Path) -> ParameterMaps:
    """Read parameter maps, and convert them to SI units.

    Raises
    ------
    InputError
        If the file is missing, of another kind or damaged, or a map is not finite inside the mask.
    """
    with opening(path, MAPS) as source:
        mask = source.mask()
        sizes = source.shape("mask", _AXES, np.uint8)
        parameters = parameters_from_text(source.text("parameters"))
        si: dict[str, Float] = {p.name: source.array(p.name, _AXES, np.float32, sizes) for p in parameters}
        for parameter in parameters:
            si[parameter.name] /= np.float32(parameter.scale)
        names = {p.name: deviation_of(p).name for p in parameters}
        deviations: dict[str, Float] | None = None
        if all(source.holds(name) for name in names.values()):
            deviations = {p: source.array(name, _AXES, np.float32, sizes) for p, name in names.items()}
            for parameter in parameters:
                deviations[parameter.name] /= np.float32(parameter.scale)
        return ParameterMaps(
            parameters=parameters,
            si=si,
            sd=deviations,
            **{q.field: source.array(q.name, _AXES, np.float32, sizes) for q in (M0, PHASE, MATCH)},
            edge=source.array(EDGE.name, _AXES, np.uint8, sizes),
            gap=source.array(GAP.name, _AXES, np.float32, sizes) if source.holds(GAP.name) else None,
            mask=mask,
            affine=source.finite("affine", "4 4", np.float64),
        )


def read_maps_provenance(path: str | Path) -> Provenance:
    """Read the provenance of a maps file without its maps; for the errors, see `load_maps`."""
    with opening(path, MAPS) as source:
        source.shape("mask", _AXES, np.uint8)
        return source.provenance()

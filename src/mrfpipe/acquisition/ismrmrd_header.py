"""Parse the XML header of an ISMRMRD file."""

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import ismrmrd.xsd as xsd

from mrfpipe.acquisition.header import Header
from mrfpipe.errors import InputError, first_line


def parse_headers(xml: bytes, path: Path) -> list[Header]:
    """Parse the XML header of a file; return one header for each of its encodings.

    InputError if it is not XML, is not an ISMRMRD header, or has invalid values.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # values that the parser only warns about are refused below
            document = xsd.CreateFromDocument(xml)
    except (ValueError, TypeError) as e:
        raise InputError(f"{path}: the XML header is not valid ISMRMRD ({first_line(e)}); convert again.") from e
    try:
        return [_header(document, encoding) for encoding in document.encoding]
    except (ValueError, TypeError, AttributeError) as e:
        raise InputError(f"{path}: the XML header has an invalid value ({first_line(e)}); convert again.") from e


def _header(document: Any, encoding: Any) -> Header:  # noqa: ANN401 - the schema's classes are untyped
    system, measurement = document.acquisitionSystemInformation, document.measurementInformation
    sequence, described = document.sequenceParameters, encoding.trajectoryDescription
    field_strength = system.systemFieldStrength_T if system else None
    unit = _parameter(described, "userParameterString", "trajectory_unit")
    angle = _parameter(described, "userParameterDouble", "angle_increment_deg")
    readouts_per_frame = _parameter(described, "userParameterLong", "readouts_per_frame", "spokes_per_frame")
    space, slices = encoding.reconSpace, encoding.encodingLimits.slice
    return Header(
        vendor=system.systemVendor if system else None,
        field_strength=None if field_strength is None else float(field_strength),
        protocol_name=measurement.protocolName if measurement else None,
        sequence_name=measurement.sequenceName if measurement else None,
        trajectory=str(encoding.trajectory.value),
        trajectory_unit=None if unit is None else str(unit),
        angle_increment_deg=None if angle is None else float(angle),
        readouts_per_frame=None if readouts_per_frame is None else int(readouts_per_frame),
        n_slices=None if slices is None else int(slices.maximum) + 1,
        matrix=(int(space.matrixSize.x), int(space.matrixSize.y)),
        fov_mm=(float(space.fieldOfView_mm.x), float(space.fieldOfView_mm.y), float(space.fieldOfView_mm.z)),
        te_ms=_numbers(sequence.TE if sequence else ()),
        tr_ms=_numbers(sequence.TR if sequence else ()),
        ti_ms=_numbers(sequence.TI if sequence else ()),
        flip_deg=_numbers(sequence.flipAngle_deg if sequence else ()),
    )


def _parameter(description: Any, kind: str, *names: str) -> Any:  # noqa: ANN401 - the schema's classes are untyped
    """Look up a user parameter by its name, or by the name in older files."""
    parameters = getattr(description, kind) if description else []
    return next((p.value for p in parameters if p.name in names), None)


def _numbers(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(v) for v in values)

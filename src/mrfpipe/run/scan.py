"""Scan: from a scan to its result, with any mapper."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from mrfpipe.files.dicom_identity import identity_of_scan
from mrfpipe.files.provenance import Recipe, sha256_beside, sha256_of
from mrfpipe.files.results import scan_name
from mrfpipe.files.schemas import FRAMES, schema_of
from mrfpipe.imaging.choices import BY_FRAMES, Imaging
from mrfpipe.imaging.series import FrameSeries, each_slice
from mrfpipe.maps import Fingerprints, ParameterMaps
from mrfpipe.progress import SILENT, Progress
from mrfpipe.report.quality import DOUBT, warnings_of_maps
from mrfpipe.run.mapper import Mapper
from mrfpipe.run.record import Record
from mrfpipe.run.result import Result
from mrfpipe.run.source import Timed, imaging_settings, open_series, usable_slices
from mrfpipe.run.truth import Truth

CPU = torch.device("cpu")


def recipe_of(scan: Path, mapper: Mapper, imaging: Imaging) -> Recipe:
    """Return everything that determines the maps of a raw scan or frames file.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    return mapper.recipe(sha256_of(scan), imaging_settings(scan, mapper.imaging(imaging)))


def map_scan(
    scan: Path,
    mapper: Mapper,
    *,
    imaging: Imaging = BY_FRAMES,
    device: torch.device = CPU,
    progress: Progress = SILENT,
    record: Record | None = None,
) -> Result:
    """Turn a raw scan or a frames file into maps, slice after slice.

    Parameters
    ----------
    scan
        The file.
    mapper
        Mapper that makes the maps. It may change how a raw scan is reconstructed.
    imaging
        How a raw scan is reconstructed.
    device
        Device to compute on.
    progress
        Called in every stage.
    record
        Record of the work, if it began before this call.

    Raises
    ------
    MrfpipeError
        As for `open_series`, `usable_slices` and `Mapper.map`.
    """
    record, sha256 = record or Record(), sha256_beside(scan)
    truth = Truth.beside(scan, mapper.protocol.parameters)
    if imaging.recon is None and schema_of(scan) == FRAMES.name:
        imaging = replace(imaging, recon="nufft")  # the images are reconstructed already
    imaging, began = mapper.imaging(imaging), time.perf_counter()
    source = open_series(
        scan,
        mapper.protocol,
        progress,
        imaging=imaging,
        basis=mapper.basis,
        readout_basis=mapper.readout_basis(imaging.recon),
        device=device,
    )
    slices = usable_slices(source, scan, mapper.protocol)
    timed = Timed(slices, source.n_slices, seconds=time.perf_counter() - began)
    result = _map(timed, scan_name(scan), mapper, device, progress, record)
    truth, made = truth.of(result.maps), result.provenance
    recipe = mapper.recipe(sha256(), imaging_settings(scan, imaging))
    provenance = replace(
        made,
        inputs={str(scan): recipe.scan, **made.inputs},
        method=f"{imaging.described(made.device)}; {made.method}" if recipe.imaging else made.method,
        notes={**source.notes, **made.notes},
        recipe=recipe,
    )
    warning = "; ".join(text for text in (result.warning, truth.warning) if text)
    return replace(
        result,
        provenance=provenance,
        coil_maps=source.coil_maps,
        truth=truth.maps,
        warning=warning,
        identity=identity_of_scan(scan),
    )


def map_series(series: FrameSeries, mapper: Mapper, *, device: torch.device = CPU) -> Result:
    """Turn a series in memory into maps; parameters and errors are those of `map_scan`."""
    slices = usable_slices(each_slice(series), series.name, mapper.protocol)
    return _map(Timed(slices, series.n_slices), series.name, mapper, device, SILENT, Record())


def _map(slices: Timed, name: str, mapper: Mapper, device: torch.device, progress: Progress, record: Record) -> Result:
    """Map slices, and record the time in s that each stage took."""
    began, before = time.perf_counter(), slices.seconds
    maps, fingerprints = mapper.map(slices, device, progress)
    mapping = time.perf_counter() - began - (slices.seconds - before)
    began = time.perf_counter()
    result = result_of(name, (maps, fingerprints), mapper, device, record, {})
    stages = {"images": slices.seconds, mapper.kind: mapping, "doubt": time.perf_counter() - began}
    seconds = {stage: round(taken, 3) for stage, taken in stages.items()}
    notes = {**result.provenance.notes, "seconds_of_stages": seconds}
    return replace(result, provenance=replace(result.provenance, notes=notes))


def result_of(
    name: str,
    mapped: tuple[ParameterMaps, Fingerprints],
    mapper: Mapper,
    device: torch.device,
    record: Record,
    notes: Mapping[str, object],
) -> Result:
    """Combine the maps of a mapper with their provenance and a warning about what may be wrong."""
    maps, fingerprints = mapped
    doubt = mapper.doubt(maps, fingerprints)
    provenance = record.provenance(
        recipe=None,
        inputs={} if mapper.origin is None else {mapper.origin.path: mapper.origin.sha256},
        protocol=mapper.protocol,
        method=mapper.describe(fingerprints.basis.shape[1]),
        device=str(device),
        notes={**notes, **({DOUBT: doubt} if doubt else {})},
    )
    warning = " ".join(text for text in (*warnings_of_maps(maps), doubt) if text)
    return Result(name=name, maps=maps, fingerprints=fingerprints, provenance=provenance, warning=warning)

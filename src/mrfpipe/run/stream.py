"""Stream: maps of a scan while it is measured, every slice as soon as it is complete.

When the scan is complete, it is read like a file, with all checks. If its slices have the same data as when they were
mapped early, their maps are kept. Otherwise, for example if a repetition or a noise scan comes late, or counters do not
identify the readouts, all maps are made from the whole scan. So the maps equal those of the same scan in a file.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

import torch

from mrfpipe.acquisition.ismrmrd import early_slices, read_stream
from mrfpipe.acquisition.ismrmrd_stream import StreamedScan
from mrfpipe.acquisition.scan import RawScan
from mrfpipe.arrays import Complex
from mrfpipe.imaging.choices import BY_FRAMES, Imaging
from mrfpipe.imaging.reconstruction import Reconstruction
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.maps import Fingerprints, ParameterMaps
from mrfpipe.progress import SILENT
from mrfpipe.run.mapper import Mapper
from mrfpipe.run.record import Record
from mrfpipe.run.result import Result
from mrfpipe.run.scan import CPU, result_of
from mrfpipe.run.source import reconstruction_of, usable_slices


def map_stream(
    scan: StreamedScan,
    mapper: Mapper,
    *,
    imaging: Imaging = BY_FRAMES,
    device: torch.device = CPU,
    record: Record | None = None,
) -> Result:
    """Turn a scan into maps while another thread receives it; parameters are those of `mrfpipe.run.scan.map_scan`.

    Raises
    ------
    MrfpipeError
        As for `StreamedScan.wait`, `read_stream`, `reconstruction_of`, `usable_slices` and `Mapper.map`.
    """
    record, name = record or Record(), scan.path.name
    early = _EarlySlices(scan, mapper, mapper.imaging(imaging), device)
    slices = iter(early)
    first = next(slices, None)
    mapped: tuple[ParameterMaps, Fingerprints] | None = None
    if first is not None:
        mapped = mapper.map(usable_slices(chain([first], slices), name, mapper.protocol), device, SILENT)
    raw = read_stream(scan, mapper.protocol.sequence, trusted=early.imaging.trust_protocol)
    whole = early.reconstruction(raw)
    order = early.order(whole)
    if mapped is not None and order is not None:
        maps, fingerprints = mapped
        mapped = maps.in_order(order, raw.affine), fingerprints.in_order(order, maps.mask)
        coil_maps, notes = early.coil_maps[order[len(order) // 2]], early.notes | whole.notes
    else:
        mapped = mapper.map(usable_slices(whole, name, mapper.protocol), device, SILENT)
        coil_maps, notes = whole.coil_maps, whole.notes
    result = result_of(name, mapped, mapper, device, record, notes)
    method = f"{early.imaging.described(str(device))}; {result.provenance.method}"
    return replace(result, coil_maps=coil_maps, provenance=replace(result.provenance, method=method))


class _EarlySlices:
    """Yields the series of each slice as soon as it is complete, until the client has sent everything."""

    def __init__(self, scan: StreamedScan, mapper: Mapper, imaging: Imaging, device: torch.device) -> None:
        self._scan, self._mapper, self._device = scan, mapper, device
        self.imaging = imaging
        self._last: Reconstruction | None = None
        self._digests: list[str] = []
        self.coil_maps: list[Complex | None] = []
        """Coil maps of every slice that was reconstructed early."""

    def __iter__(self) -> Iterator[FrameSeries]:
        sequence, trusted = self._mapper.protocol.sequence, self.imaging.trust_protocol
        for raw in early_slices(self._scan, sequence, trusted=trusted):
            self._last = made = self.reconstruction(raw, self._last)
            self._digests.append(made.digest(0))
            yield from made
            self.coil_maps.append(made.coil_maps)

    @property
    def notes(self) -> dict[str, object]:
        """Notes about the slices that were reconstructed early."""
        return self._last.notes if self._last else {}

    def reconstruction(self, raw: RawScan, before: Reconstruction | None = None) -> Reconstruction:
        """Prepare the reconstruction of slices, alone or as a continuation of earlier ones."""
        return reconstruction_of(
            raw,
            self._mapper.protocol,
            SILENT,
            imaging=self.imaging,
            basis=None if self.imaging.recon == "nufft" else self._mapper.basis,
            readout_basis=self._mapper.readout_basis(self.imaging.recon),
            device=self._device,
            before=before,
        )

    def order(self, whole: Reconstruction) -> list[int] | None:
        """Return, for each slice of the whole scan, its index among the early slices; None unless all data agree."""
        digests = [whole.digest(s) for s in range(whole.n_slices)]
        if sorted(digests) != sorted(self._digests):
            return None
        return [self._digests.index(digest) for digest in digests]

"""Result: the maps of a scan with their provenance, to display and to save."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from mrfpipe.acquisition.identity import Identity
from mrfpipe.arrays import Bool, Byte, Complex, Float
from mrfpipe.evaluation.picture import COILS_FILE, coils_picture, maps_picture, save_picture
from mrfpipe.evaluation.region_table import RegionTable, tabulate
from mrfpipe.files.bids import scan_entities
from mrfpipe.files.dicom_identity import check_identity, identity_of_image
from mrfpipe.files.labels import load_regions
from mrfpipe.files.provenance import Provenance
from mrfpipe.files.results import save_result
from mrfpipe.maps import Fingerprints, ParameterMaps
from mrfpipe.quantities import in_unit
from mrfpipe.report.notebook import as_html
from mrfpipe.report.page import REPORT_FILE, render, write_report
from mrfpipe.run.record import unchecked

MAPS_PICTURE = "maps.png"
"""Picture of the middle slice in a result folder."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Result:
    """Result of matching or of a network; ``result["T1"]`` is the map of this name, in the unit of files."""

    name: str
    """Name of the scan."""
    maps: ParameterMaps
    """The maps, in SI units."""
    provenance: Provenance
    """Inputs, method, versions and notes."""
    fingerprints: Fingerprints | None = None
    """Measured and simulated signals of the voxels; None if a result on disk holds none."""
    coil_maps: Complex | None = None
    """Coil sensitivities of the middle slice of a raw scan. Shape `(coils, y, x)`."""
    truth: ParameterMaps | None = None
    """Ground truth, if it is known; pictures and page show it as well."""
    warning: str = ""
    """A warning about the maps, as one line; empty if there is none."""
    identity: Identity = field(default_factory=dict)
    """Patient and study named in the scan's header, used for DICOM only."""

    def __repr__(self) -> str:
        return f"<Result {self.name}: {self.maps!r}>"

    def __getitem__(self, name: str) -> Float | Byte:
        """Return a map by its name, in the unit of files. Shape `(slices, y, x)`."""
        for one, values in self.maps.images():
            if one.name == name:
                return values
        raise KeyError(f"There is no map {name!r}; choose from {', '.join(self)}.")

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the maps: parameters, then quality maps."""
        return (one.name for one, _ in self.maps.images())

    @property
    def mask(self) -> Bool:
        """Where the maps are defined. Shape `(slices, y, x)`."""
        return self.maps.mask

    def summary(self) -> str:
        """Return the number of voxels, the time, and median and 5 to 95 % range of each parameter, in file units."""
        lines = [f"{self.mask.sum():,} voxels in {self.provenance.duration_s:.1f} s"]
        for parameter in self.maps.parameters:
            low, middle, high = np.percentile(self.maps[parameter.name][self.mask], [5, 50, 95])
            median = in_unit(f"{middle:8.4g}", parameter.unit)
            lines.append(f"  {parameter.name:6} {median}   (5 to 95 %: {low:.4g} to {high:.4g})")
        return "\n".join(lines + unchecked(self.provenance))

    def stats(self, roi: str | Path, names: str | Path | None = None) -> RegionTable:
        """Describe the maps in the regions of a label image; see `mrfpipe.evaluation.region_table.tabulate`.

        Parameters
        ----------
        roi, names
            The image and the table of its regions' names, as for `mrfpipe.files.labels.load_regions`.

        Raises
        ------
        InputError, MismatchError
            As `mrfpipe.files.labels.load_regions`.
        """
        labels, known = load_regions(roi, self.maps, names)
        return tabulate(self.maps, labels, known, scan=self.name)

    def plot(self, slice_index: int | None = None) -> Image.Image:
        """Draw one slice of all maps, with ground truth if it is known; see `mrfpipe.evaluation.picture.maps_picture`.

        Parameters
        ----------
        slice_index
            Index of the slice, from 0; by default the middle slice.
        """
        chosen = len(self.mask) // 2 if slice_index is None else slice_index
        return maps_picture(self.maps, reference=self.truth, slice_index=chosen, title=self.name)

    def _repr_html_(self) -> str:
        """Show the maps in a notebook."""
        return as_html(self.maps, name=self.name)

    def save(
        self,
        folder: str | Path,
        *,
        bids: bool = False,
        dicom: bool = False,
        dicom_int16: bool = False,
        like: str | Path | None = None,
        force: bool = False,
    ) -> None:
        """Write the same result folder as the command: maps, images, fingerprints, pictures and page.

        Parameters
        ----------
        folder
            Folder to write; its name becomes the name of the result.
        bids, dicom, dicom_int16, force
            As for `mrfpipe.files.results.save_result`.
        like
            DICOM image of the same examination, to take patient, study and frame of reference from; by default the
            header of the scan.

        Raises
        ------
        OutputExistsError, ResourceError
            As `mrfpipe.files.results.save_result`.
        InputError
            If DICOM cannot hold a value of patient or study, or the image cannot be read.
        """
        title = scan_entities(Path(folder))
        identity = self.identity if like is None else identity_of_image(like)
        if dicom or dicom_int16:
            check_identity(identity, self.name if like is None else like)

        def draw(partial: Path) -> None:
            save_picture(replace(self, name=title).plot(), partial / MAPS_PICTURE)
            coils = None if self.coil_maps is None else partial / COILS_FILE
            if self.coil_maps is not None and coils is not None:
                save_picture(coils_picture(self.coil_maps), coils)
            page = render(
                self.maps,
                self.provenance,
                title=title,
                truth=self.truth,
                fingerprints=self.fingerprints,
                coils=coils,
            )
            write_report(partial / REPORT_FILE, page)

        save_result(
            folder,
            self.maps,
            self.provenance,
            fingerprints=self.fingerprints,
            bids=bids,
            dicom=dicom,
            dicom_int16=dicom_int16,
            identity=identity,
            force=force,
            extra=draw,
        )

"""Plain MR images: read back with pydicom alone, every value within 1e-4 of its map's range, in its place."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import image_of, with_maps
from test_dicom import NAMES, PLACE_MM, oblique

from mrfpipe.files.dicom_images import IMAGES_FOLDER, write_dicom_images
from mrfpipe.files.results import save_result

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")

LOSS = 1 / 130_000
"""Of the range: half a step of 65,533, and the ninth digit of slope and intercept."""


def stack(folder, name):
    """The datasets of a map in order of their slices, and their values, NaN where there is padding."""
    images = [pydicom.dcmread(path) for path in sorted(folder.glob(f"{name}-*.dcm"))]
    values = [
        np.where(
            image.pixel_array == image.PixelPaddingValue,
            np.nan,
            image.pixel_array * float(image.RescaleSlope) + float(image.RescaleIntercept),
        )
        for image in images
    ]
    return images, np.stack(values)


@pytest.fixture(scope="module")
def written(tmp_path_factory, maps, provenance):
    folder = tmp_path_factory.mktemp("images")
    write_dicom_images(oblique(maps), folder, name="a scan", provenance=provenance)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_every_value_is_kept_and_every_voxel_is_in_its_place(written, maps, name):
    images, values = stack(written, name)
    expected = next(found for one, found in maps.images() if one.name == name)
    np.testing.assert_array_equal(np.isnan(values), ~maps.mask)
    inside = expected[maps.mask].astype(float)
    loss = 0 if name == "edge" else LOSS * np.ptp(inside)
    np.testing.assert_allclose(values[maps.mask], inside, rtol=0, atol=loss)
    affine = oblique(maps).affine
    for s, image in enumerate(images):
        assert image.pixel_array.dtype == np.int16
        cosines, origin = np.array(image.ImageOrientationPatient), np.array(image.ImagePositionPatient)
        d_rows, d_columns = image.PixelSpacing
        # The voxel of column 6 and row 3 by PS3.3, C.7.6.2.1.1, and by the affine, whose RAS is LPS turned round.
        lps = origin + 6 * d_columns * cosines[:3] + 3 * d_rows * cosines[3:]
        np.testing.assert_allclose(lps * [-1, -1, 1], (affine @ [6, 3, s, 1])[:3], atol=PLACE_MM)
        assert image.SliceThickness == pytest.approx(8)


def test_one_series_a_map_one_instance_a_slice(written):
    everything = [pydicom.dcmread(path) for path in written.iterdir()]
    assert len(everything) == 2 * len(NAMES) == len({image.SOPInstanceUID for image in everything})
    for name in NAMES:
        images, _ = stack(written, name)
        assert [image.InstanceNumber for image in images] == [1, 2]
        for same in ("SeriesInstanceUID", "SeriesNumber", "RescaleSlope", "FrameOfReferenceUID"):
            assert len({str(image[same].value) for image in images}) == 1
    assert len({image.SeriesInstanceUID for image in everything}) == len(NAMES)


def test_unit_quantity_and_window_are_said(written):
    (image, _), values = stack(written, "T1H2O")
    assert (image.SOPClassUID, image.RescaleType) == ("1.2.840.10008.5.1.4.1.1.4", "ms")
    (mapping,) = image.RealWorldValueMappingSequence
    assert (mapping.MeasurementUnitsCodeSequence[0].CodeValue, mapping.RealWorldValueSlope) == (
        "ms",
        image.RescaleSlope,
    )
    assert image.WindowWidth == pytest.approx(np.nanmax(values) - np.nanmin(values), rel=1e-4)
    (image, _), _ = stack(written, "FF")
    assert "WindowWidth" not in image


@pytest.mark.parametrize(("low", "high"), [(-3e6, -3e6 + 32), (1e-7, 4e-7), (5.0, 5.0), (-1e9, 1e9)])
def test_ranges_at_the_end_of_what_numbers_can_say(tmp_path, maps, provenance, low, high):
    rng = np.random.default_rng(3)
    m0 = np.where(maps.mask, rng.uniform(low, high, maps.mask.shape), np.nan).astype(np.float32)
    far = with_maps(maps, m0=m0)
    write_dicom_images(far, tmp_path, name="far", provenance=provenance)
    _, values = stack(tmp_path, "M0")
    inside = image_of(far, "m0")[maps.mask].astype(float)
    # Half a step, of a range that is widened by 1e-8 of the values.
    loss = LOSS * (np.ptp(inside) + 1e-7 * np.abs(inside).max())
    np.testing.assert_allclose(values[maps.mask], inside, rtol=0, atol=loss)


def test_result_folder_has_them_for_maps_without_any_voxel_too(tmp_path, maps, provenance):
    empty = replace(maps, mask=np.zeros_like(maps.mask))
    save_result(tmp_path / "scan", empty, provenance, dicom_int16=True, force=False)
    assert np.isnan(stack(tmp_path / "scan" / IMAGES_FOLDER, "FF")[1]).all()

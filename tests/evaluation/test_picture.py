import dataclasses

import numpy as np
import pytest
from PIL import Image

from mrfpipe.errors import MismatchError
from mrfpipe.evaluation.panels import GREY, Panel, draw_panels, places_of, ticks
from mrfpipe.evaluation.picture import coils_picture, maps_panels, maps_picture, save_picture
from mrfpipe.maps import ParameterMaps

SHAPE = (2, 40, 60)
RAMP = np.arange(12.0).reshape(3, 4)


@pytest.fixture
def corner(make) -> ParameterMaps:
    """Tissue of FF = 1 in the upper left quarter of slice 1, and one voxel in its last corner."""
    mask = np.ones(SHAPE, bool)
    mask[1] = False
    mask[1, :20, :30] = True
    mask[1, 39, 59] = True
    return make(0, mask, FF=np.ones(SHAPE))


def panel_of(image, window=(0.0, 11.0), colours="viridis", title="one") -> Panel:
    return Panel(title=title, image=image, colours=colours, window=window)


def drawn(*panels, letters=("", "")) -> np.ndarray:
    """Draw panels in a row; shape `(y, x, 3)`."""
    sides = dict(zip(("left", "top"), letters, strict=True))
    return np.asarray(draw_panels({"row": panels}, title="", letters=sides)).astype(int)


def test_a_voxel_is_a_square_of_one_colour_and_row_0_is_at_the_top():
    picture, places = drawn(panel_of(RAMP), panel_of(RAMP[::-1])), places_of({"": [panel_of(RAMP)] * 2})
    zoom, y, x = places.zoom, places.rows[0], places.columns[0]
    panel = picture[y : y + 3 * zoom, x : x + 4 * zoom]
    voxels = panel.reshape(3, zoom, 4, zoom, 3).swapaxes(1, 2)
    assert np.all(voxels == voxels[:, :, :1, :1])
    assert voxels[0, 0, 0, 0].tolist() == [68, 1, 84]  # the two ends of viridis
    assert voxels[2, 3, 0, 0].tolist() == [253, 231, 36]
    other = picture[y : y + 3 * zoom, places.columns[1] : places.columns[1] + 4 * zoom]
    assert np.array_equal(other.reshape(3, zoom, 4, zoom, 3).swapaxes(1, 2)[::-1], voxels)


def test_maps_and_reference_have_one_window_whatever_either_was_searched_in(corner):
    def searched(low, high):
        parameters = tuple(dataclasses.replace(p, searched=(low, high)) for p in corner.parameters)
        return dataclasses.replace(corner, parameters=parameters)

    rows = maps_panels(searched(0.5, 2.0), reference=searched(0.1, 9.0), slice_index=1)
    windows = [[panel.window for panel in rows[name]] for name in ("maps", "reference")]
    assert windows == 2 * [[(0.0, 1.0), (500.0, 2000.0), (500.0, 2000.0), (-2.0, 2.0), (0.5, 2.0)]]


def test_what_is_masked_is_grey(corner):
    panel = maps_panels(corner, slice_index=1)["maps"][0]
    assert panel.image.shape == (40, 60)
    places = places_of({"": [panel]})
    picture = np.asarray(maps_picture(corner, slice_index=1))
    for (y, x), yellow in (((0.1, 0.1), True), ((0.1, 0.9), False), ((0.9, 0.1), False), ((0.9, 0.9), False)):
        place = (places.rows[0] + int(40 * y) * places.zoom, int(60 * x) * places.zoom)
        pixel = picture[place[0] + 1, places.columns[0] + place[1] + 1].tolist()
        assert pixel == ([253, 231, 36] if yellow else [GREY] * 3)


def test_a_colour_bar_has_points_where_values_lie_beyond():
    """Left and right of the bar, half way up: white, or the colour of its end."""
    inside, beyond = panel_of(RAMP), panel_of(RAMP, window=(1.0, 10.0))
    places = places_of({"": [inside, beyond]})
    width = 4 * places.zoom
    bar = places.rows[0] + 3 * places.zoom + 14 + 7
    picture = drawn(inside, beyond)
    for x, left, right in (
        (places.columns[0], [255] * 3, [255] * 3),
        (places.columns[1], [68, 1, 84], [253, 231, 36]),
    ):
        assert picture[bar, x].tolist() == [68, 1, 84]
        assert picture[bar, x + width - 1].tolist() == [253, 231, 36]
        assert (picture[bar, x - 5].tolist(), picture[bar, x + width + 5].tolist()) == (left, right)


@pytest.mark.parametrize(
    ("window", "most", "texts"),
    [
        ((0.0, 1.0), 5, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ((-34.0, 36.0), 4, ["-20", "0", "20"]),
        ((0.55, 0.8493), 5, ["0.6", "0.7", "0.8"]),
        ((0.0, 0.013), 5, ["0.000", "0.005", "0.010"]),
        ((982.0, 1733.0), 4, ["1000", "1200", "1400", "1600"]),
        ((-0.5, 0.5), 4, ["-0.50", "-0.25", "0.00", "0.25", "0.50"]),
    ],
    ids=str,
)
def test_numbers_of_a_colour_bar_are_round_and_few(window, most, texts):
    found = [(value, text.replace("\N{MINUS SIGN}", "-")) for value, text in ticks(*window, most)]
    assert [text for _, text in found] == texts
    assert [value for value, _ in found] == pytest.approx([float(text) for text in texts], abs=1e-9)


def test_a_number_stands_below_its_value():
    """Of a bar from 0 to 11 the mark of 5, twelve pixels dark below a bar that is not."""
    panel = panel_of(RAMP, window=(0.0, 10.0))
    places, width = places_of({"": [panel]}), 4 * places_of({"": [panel]}).zoom
    below = drawn(panel)[places.rows[0] + 3 * places.zoom + 28 + 3, places.columns[0] : places.columns[0] + width]
    marks = np.flatnonzero(below.sum(axis=1) == 0)
    expected = [round(share * (width - 1)) for share in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)]
    assert marks.tolist() == expected


def test_maps_then_quality(make):
    panels = maps_panels(make(0), slice_index=1)
    titles = [panel.title for row in panels.values() for panel in row]
    assert titles == ["FF", "T1H2O (ms)", "T1fat (ms)", "df (Hz)", "B1", "M0 (arbitrary)", "match"]


def test_reference_and_difference_follow_in_the_same_columns_and_colours(make):
    maps, reference = make(0), make(1)
    rows = list(maps_panels(maps, reference=reference, slice_index=1).values())
    for row, values in zip(
        rows, (maps.si["T1H2O"], reference.si["T1H2O"], maps.si["T1H2O"] - reference.si["T1H2O"]), strict=True
    ):
        assert len(row) == 5
        np.testing.assert_allclose(row[1].image, 1000 * values[1], rtol=1e-4, atol=1e-3)
    assert [p.window for p in rows[0]] == [p.window for p in rows[1]]
    assert rows[0][0].window == (0, 1)
    for panel in (rows[0][3], *rows[2]):
        low, high = panel.window
        assert low == -high


def test_titles_and_letters_are_written(make):
    """The title changes the top of a picture alone, a letter the first panel alone."""
    maps, panel = make(0), panel_of(RAMP)
    plain, titled = (np.asarray(maps_picture(maps, slice_index=1, title=title)) for title in ("", "scan"))
    assert 0 < np.flatnonzero((plain != titled).any(axis=(1, 2))).max() < 44
    places = places_of({"": [panel, panel]})
    rows, columns = np.nonzero((drawn(panel, panel) != drawn(panel, panel, letters=("R", "A"))).any(axis=2))
    left, top = columns - places.columns[0], rows - places.rows[0]
    assert left.min() < 10
    assert top.min() < 10
    assert (left.min() >= 0, top.min() >= 0) == (True, True)
    assert left.max() < 4 * places.zoom
    assert top.max() < 3 * places.zoom


@pytest.mark.parametrize(("shape", "zoom"), [((350, 350), 1), ((40, 60), 7), ((350, 100), 2), ((700, 700), 1)])
def test_a_panel_is_about_as_wide_however_many_voxels_it_has(shape, zoom):
    places = places_of({"": [panel_of(np.zeros(shape))]})
    assert places.zoom == zoom


def test_png_replaces_one_that_is_there(tmp_path, make):
    (tmp_path / "maps.png").write_text("old")
    picture = maps_picture(make(0))
    save_picture(picture, tmp_path / "maps.png")
    with Image.open(tmp_path / "maps.png") as found:
        assert np.array_equal(found, picture)
    assert [p.name for p in tmp_path.iterdir()] == ["maps.png"]


def test_empty_and_constant_maps_can_be_drawn(make):
    zero = np.zeros(SHAPE)
    names = ("FF", "T1H2O", "T1fat", "df", "B1", "m0", "phase", "match")
    constant = make(0, zero == 0, **dict.fromkeys(names, zero))
    empty = make(0, zero > 0)
    assert maps_picture(constant).height > 300
    assert maps_picture(empty, reference=empty).height > 300


def test_impossible_requests_are_refused(make):
    with pytest.raises(IndexError, match="run from 0 to 1"):
        maps_picture(make(0), slice_index=2)
    with pytest.raises(MismatchError, match="shape"):
        maps_picture(make(0), reference=make(0, np.ones((2, 3, 4), bool)))


def test_coil_maps_are_drawn_by_magnitude_and_phase():
    """Nine coils in two rows; a coil that sees nothing is black, and a turn of the phase changes the hue."""
    maps = np.zeros((9, 32, 32), np.complex64)
    maps[0], maps[1] = 1.0, 1j
    image = np.asarray(coils_picture(maps)) / 255
    assert image.shape == (2 * 112, 8 * 112, 3)
    places = {(y, x): np.rint(10 * image[112 * y + 90, 112 * x + 90]).tolist() for y in (0, 1) for x in range(8)}
    red, of_j = [10, 4, 4], [7, 10, 4]  # hues of 0 and of a quarter turn, saturation 0.6
    assert (places[0, 0], places[0, 1]) == (red, of_j)
    assert set(map(tuple, list(places.values())[2:])) == {(0, 0, 0)}

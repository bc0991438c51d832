import matplotlib.image
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from mrfpipe.errors import MismatchError
from mrfpipe.evaluation.picture import draw_coils, draw_maps, maps_figure
from mrfpipe.maps import ParameterMaps

SHAPE = (2, 40, 60)
GREY = round(0.62 * 255)


@pytest.fixture
def corner(make) -> ParameterMaps:
    """Tissue of FF = 1 in the upper left quarter of slice 1, and one voxel in its last corner."""
    mask = np.ones(SHAPE, bool)
    mask[1] = False
    mask[1, :20, :30] = True
    mask[1, 39, 59] = True
    return make(0, mask, FF=np.ones(SHAPE))


def pixels_of(figure, axis) -> np.ndarray:
    """Pixels of one panel, the first row on top. Shape `(y, x, 4)`."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())
    box = axis.get_window_extent()
    height = pixels.shape[0]
    return pixels[round(height - box.y1) : round(height - box.y0), round(box.x0) : round(box.x1)]


def test_row_0_is_at_the_top_and_what_is_masked_is_grey(corner):
    figure = maps_figure(corner, slice_index=1)
    panel = pixels_of(figure, figure.axes[0])
    height, width = panel.shape[:2]
    assert width / height == pytest.approx(60 / 40, rel=0.02)
    red, _, blue, _ = panel[height // 8, width // 8]  # the yellow end of the colours
    assert red > 230
    assert blue < 80
    for y, x in ((0.25, 0.75), (0.75, 0.25), (0.75, 0.75)):
        assert set(panel[int(y * height), int(x * width), :3].tolist()) == {GREY}


def test_maps_then_quality(make):
    figure = maps_figure(make(0), title="scan", slice_index=1)
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    assert titles == ["FF", "T1H2O (ms)", "T1fat (ms)", "df (Hz)", "B1", "M0 (arbitrary)", "match"]
    assert figure.get_suptitle() == "scan, slice 2 of 2"  # as on the page, which counts from 1


def test_reference_and_difference_follow_in_the_same_columns_and_colours(make):
    maps, reference = make(0), make(1)
    panels = [axis.images[0] for axis in maps_figure(maps, reference=reference, slice_index=1).axes if axis.images]
    assert len(panels) == 15
    for image, values in (
        (panels[1], maps.si["T1H2O"]),
        (panels[6], reference.si["T1H2O"]),
        (panels[11], maps.si["T1H2O"] - reference.si["T1H2O"]),
    ):
        np.testing.assert_allclose(image.get_array(), 1000 * values[1], rtol=1e-4, atol=1e-3)
    assert [p.get_clim() for p in panels[:5]] == [p.get_clim() for p in panels[5:10]]
    assert panels[0].get_clim() == (0, 1)
    for image in (panels[3], *panels[10:]):
        low, high = image.get_clim()
        assert low == -high


def test_letters_say_which_side_of_the_patient_it_is(make):
    letters = [text.get_text() for text in maps_figure(make(0)).axes[0].texts]
    assert letters == ["R", "A"]  # the affine of these maps leads x to the left and y to the back


def test_png_replaces_one_that_is_there(tmp_path, make):
    (tmp_path / "maps.png").write_text("old")
    draw_maps(make(0), tmp_path / "maps.png")
    height, width, _ = matplotlib.image.imread(tmp_path / "maps.png").shape
    assert width > height > 300
    assert [p.name for p in tmp_path.iterdir()] == ["maps.png"]


def test_empty_and_constant_maps_can_be_drawn(make):
    zero = np.zeros(SHAPE)
    names = ("FF", "T1H2O", "T1fat", "df", "B1", "m0", "phase", "match")
    constant = make(0, zero == 0, **dict.fromkeys(names, zero))
    empty = make(0, zero > 0)
    for figure in (maps_figure(constant), maps_figure(empty, reference=empty)):
        FigureCanvasAgg(figure).draw()


def test_impossible_requests_are_refused(tmp_path, make):
    with pytest.raises(IndexError, match="run from 0 to 1"):
        draw_maps(make(0), tmp_path / "maps.png", slice_index=2)
    with pytest.raises(MismatchError, match="shape"):
        draw_maps(make(0), tmp_path / "maps.png", reference=make(0, np.ones((2, 3, 4), bool)))
    assert not list(tmp_path.iterdir())


def test_coil_maps_are_drawn_by_magnitude_and_phase(tmp_path):
    """Nine coils in two rows; a coil that sees nothing is black, and a turn of the phase changes the hue."""
    maps = np.zeros((9, 32, 32), np.complex64)
    maps[0], maps[1] = 1.0, 1j
    draw_coils(maps, tmp_path / "coils.png")
    image = matplotlib.image.imread(tmp_path / "coils.png")[..., :3]
    assert image.shape[0] < image.shape[1]
    tenths = set(map(tuple, np.rint(10 * image.reshape(-1, 3)).astype(int).tolist()))
    red, of_j = (10, 4, 4), (7, 10, 4)  # hues of 0 and of a quarter turn, saturation 0.6
    assert {(0, 0, 0), red, of_j} <= tenths

"""The method `point`, and `tessera.point`: which object a click means, in planes and volumes."""

import dask.array as da
import numpy as np
import pytest

import napari_tessera as tessera
from napari_tessera.core.errors import InputError, ParameterError
from napari_tessera.core.jobs import Progress
from tests.helpers.click_network import BrightPieces

SHAPE = (120, 160)


def disc(centre, radius):
    y, x = np.ogrid[: SHAPE[0], : SHAPE[1]]
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2


SMALL, LARGE = disc((30, 40), 9), disc((80, 110), 25)
IMAGE = (100 * SMALL + 150 * LARGE + 7).astype(np.uint8)


@pytest.fixture(autouse=True)
def network(monkeypatch):
    pieces = BrightPieces()

    def loaded(*_):
        yield Progress(0, 1)
        return pieces

    for module in ("methods.point", "engine.point"):
        monkeypatch.setattr(f"napari_tessera.{module}.loaded", loaded)
    return pieces


def iou(a, b):
    return np.count_nonzero(a & b) / np.count_nonzero(a | b)


def test_each_point_is_an_object_in_raster_order():
    result = tessera.segment("point", IMAGE, points=[[80, 110], [30, 40]])
    assert iou(result.labels == 1, SMALL) > 0.85
    assert iou(result.labels == 2, LARGE) > 0.9
    assert result.table["point"].tolist() == [2, 1]
    assert (result.table["sureness"] > 0.5).all()
    assert result.table["num_planes"].tolist() == [1, 1]
    assert result.table["area"][1] == np.count_nonzero(result.labels == 2)


def test_a_point_on_nothing_is_no_object():
    result = tessera.segment("point", IMAGE, points=[[5, 5], [30, 40]])
    assert result.labels.max() == 1
    assert result.table["point"].tolist() == [2]


def test_a_second_point_on_an_object_adds_nothing():
    result = tessera.segment("point", IMAGE, points=[[80, 110], [82, 112]])
    assert result.labels.max() == 1


def test_a_painted_stroke_is_several_clicks_on_one_object():
    strokes = np.zeros(SHAPE, int)
    strokes[30, 35:46] = 7
    result = tessera.segment("point", IMAGE, points=strokes)
    assert iou(result.labels == 1, SMALL) > 0.85
    assert result.table["point"].tolist() == [7]


def test_objects_are_followed_through_a_volume():
    volume = np.stack([IMAGE * (2 <= plane <= 5) for plane in range(8)])
    result = tessera.segment("point", volume, axes="ZYX", points=[[3, 80, 110]])
    assert [bool((plane > 0).any()) for plane in result.labels] == [2 <= plane <= 5 for plane in range(8)]
    assert result.table["num_planes"].tolist() == [4]
    alone = tessera.segment("point", volume, axes="ZYX", points=[[3, 80, 110]], planes=0)
    assert np.flatnonzero((alone.labels > 0).any((1, 2))).tolist() == [3]


def test_a_record_gives_the_same_labels_again():
    result = tessera.segment("point", IMAGE, points=[[80, 110], [30, 40]])
    assert np.array_equal(tessera.run(result.provenance, IMAGE).labels, result.labels)


def test_a_click_gives_the_mask_of_one_object():
    mask = tessera.point(IMAGE, [[80, 110]])
    assert mask.dtype == bool
    assert iou(mask, LARGE) > 0.9
    assert np.array_equal(tessera.point(IMAGE, [80, 110]), mask)


def test_a_click_beside_the_object_takes_it_away():
    assert not tessera.point(IMAGE, [[80, 110]], negative=[[80, 105]]).any()


def test_a_box_is_enough():
    assert iou(tessera.point(IMAGE, box=(54, 84, 106, 136)), LARGE) > 0.9
    assert iou(tessera.point(IMAGE, box=(106, 136, 54, 84)), LARGE) > 0.9


@pytest.mark.parametrize("channel", [None, 1])
def test_colours_and_channels(channel):
    colours = np.stack([IMAGE, IMAGE, IMAGE], -1)
    assert iou(tessera.point(colours, [[80, 110]], channel=channel), LARGE) > 0.9
    stack = np.moveaxis(np.stack([IMAGE * 0, IMAGE], -1), -1, 0)
    assert iou(tessera.point(stack, [[80, 110]], channel_axis=0, channel=1), LARGE) > 0.9
    assert not tessera.point(stack, [[80, 110]], channel_axis=0, channel=0).any()


def test_of_a_dask_array_only_blocks_around_the_click_are_read():
    read = []

    def block(block_info=None):
        place = block_info[None]["array-location"]
        read.append(place)
        rows, columns = (np.arange(*part) for part in place)
        return (((rows[:, None] - 5000) ** 2 + (columns - 5000) ** 2) < 20**2).astype(np.uint8) * 100

    huge = da.map_blocks(block, chunks=((500,) * 20, (500,) * 20), dtype=np.uint8, meta=np.empty((0, 0), np.uint8))
    mask = tessera.point(huge, [[5000, 5000]])
    assert mask.sum() == pytest.approx(np.pi * 20**2, rel=0.1)
    assert len(set(map(tuple, read))) <= 4


def test_pixels_that_are_no_numbers_do_not_matter():
    image = IMAGE.astype(np.float32)
    image[:, 100:104] = np.nan
    assert tessera.point(image, [[80, 120]])[80, 120]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "neither a point on the object nor a box"),
        ({"points": [[500, 3]]}, "outside the image, which is 120 × 160 px"),
        ({"points": [[1, 2, 3]]}, r"must be \(N, 2\)"),
        ({"points": [[80, 110]], "negative": [[np.nan, 3]]}, "`negative` has a click outside"),
        ({"box": (1, 2, 3)}, "must be y0, x0, y1, x1"),
        ({"box": (500, 500, 600, 600)}, "`box` lies outside"),
        ({"points": [[80, 110]], "channel_axis": 5}, "`channel_axis` is 5"),
    ],
)
def test_what_cannot_be_pointed_at_is_said(given, said):
    with pytest.raises(InputError, match=said):
        tessera.point(IMAGE, **given)


def test_a_volume_and_another_network_are_refused():
    with pytest.raises(InputError, match="3 axes in space"):
        tessera.point(np.stack([IMAGE] * 8), [[3, 4]], channel_axis=None)
    with pytest.raises(ParameterError, match="'cells', which is a U-Net, but a click network is needed"):
        tessera.point(IMAGE, [[3, 4]], model="cells")
    with pytest.raises(ParameterError, match="There is no model"):
        tessera.point(IMAGE, [[3, 4]], model="clack")

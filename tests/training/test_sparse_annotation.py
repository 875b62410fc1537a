"""Labels that are paint without anybody saying so, and labels that are not."""

import numpy as np
import pytest

from napari_tessera.core.jobs import run_job
from napari_tessera.training.data.dataset import doubts, ones_in
from napari_tessera.training.data.example import Frame
from napari_tessera.training.settings import checked_settings
from tests.helpers.scenes_to_learn import squares
from tests.training.test_data_checks import NOISE, SQUARES, TOUCHING, said_of

APART = np.where(SQUARES > 0, SQUARES + 1, 0)


def strokes():
    """Objects with a number each, and between them four strokes of 1."""
    paint = APART.copy()
    for row in (7, 15, 23, 31):
        paint[row : row + 2, 2:30] = 1
    return paint


def around():
    """Objects with a number each, and 1 around all of them, in one piece."""
    return np.where(SQUARES > 0, SQUARES + 1, 1)


def rings():
    """Objects in an area of 1 that they do not touch."""
    paint = np.zeros((40, 40), int)
    paint[2:38, 2:38] = 1
    for number, (y, x) in enumerate([(5, 5), (5, 25), (25, 5), (25, 25)]):
        paint[y : y + 9, x : x + 9] = 0
        paint[y + 2 : y + 7, x + 2 : x + 7] = 2 + number
    return paint


def hulls():
    """Cells of all sizes that fill the image: each touches its neighbours."""
    rng = np.random.default_rng(3)
    seeds = rng.uniform(0, 40, (30, 2))
    distance = np.linalg.norm(np.indices((40, 40)).transpose(1, 2, 0)[:, :, None] - seeds, axis=-1)
    return distance.argmin(-1) + 1


def fragments():
    """Objects that all lie in four pieces, as in planes through branched cells."""
    return np.tile(np.kron(np.arange(1, 10).reshape(3, 3), np.pad(np.ones((4, 4), int), 1)), (2, 2))


@pytest.mark.parametrize("paint", [strokes(), around(), rings(), squares()[1]])
def test_full_labels_that_look_like_paint_are_doubted(paint):
    image = np.random.default_rng(0).integers(50, 200, paint.shape).astype(np.uint8)
    (doubt,) = said_of(image, paint)
    assert "look like annotation" in doubt
    assert "--painted" in doubt
    assert "painted=True" in doubt


@pytest.mark.parametrize("labels", [SQUARES, APART, TOUCHING, hulls(), fragments(), np.where(SQUARES < 4, SQUARES, 0)])
def test_labels_of_objects_are_no_paint(labels):
    assert not ones_in(labels).is_like_paint


def test_a_cell_among_neighbours_is_no_paint():
    rosette = np.kron(np.array([[2, 3, 4], [5, 1, 6], [7, 8, 9]]), np.ones((5, 5), int))
    assert not ones_in(rosette).is_like_paint


def test_one_object_that_was_cut_into_pieces_is_no_paint():
    cut = SQUARES.copy()
    cut[3:5, 1:7] = 0
    assert not ones_in(cut).is_like_paint


def test_slips_of_the_brush_are_no_pieces():
    slips = SQUARES.copy()
    slips[0, ::8] = 1
    assert ones_in(slips).pieces == 1


def test_one_of_several_label_images_that_looks_like_paint_is_let_pass():
    frames = [
        Frame(name, NOISE, labels, "train") for name, labels in (("a", SQUARES), ("b", SQUARES), ("c", strokes()))
    ]
    (doubt,) = run_job(doubts(frames, checked_settings({})))
    assert doubt.startswith("1 of 76 objects lies on several separate pieces")


@pytest.mark.parametrize("settings", [{"painted": True}, {"task": "classes"}, {"ignore": 1}])
def test_paint_that_is_said_to_be_paint_is_not_doubted(settings):
    assert not any("look like annotation" in each for each in said_of(NOISE, strokes(), **settings))

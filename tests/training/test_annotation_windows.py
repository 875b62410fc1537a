"""Windows around paint: what is found, what is joined, what is read."""

import numpy as np
import pytest

from napari_tessera.core.jobs import run_job
from napari_tessera.training.annotations.annotation import cells, clipped, grown, joined, painted_windows, read_window


def box(*ends):
    return tuple(slice(*each) for each in ends)


class Watched:
    """An array that notes what is read of it."""

    def __init__(self, array):
        self.array, self.read_px = array, 0

    @property
    def shape(self):
        return self.array.shape

    def __getitem__(self, window):
        part = self.array[window]
        self.read_px += part.size
        return part


def test_one_stroke_has_the_smallest_window_around_it():
    paint = np.zeros((50, 60), np.uint8)
    paint[10:13, 20:30] = 2
    assert run_job(painted_windows(paint, 2)) == {(): [box((10, 13), (20, 30))]}


def test_strokes_nearer_than_a_block_have_one_window_and_others_their_own():
    paint = np.zeros((1, 600), np.uint8)
    paint[0, [0, 128, 400]] = 1
    assert run_job(painted_windows(paint, 2)) == {(): [box((0, 1), (0, 129)), box((0, 1), (400, 401))]}


def test_planes_without_paint_have_no_window():
    paint = np.zeros((2, 20, 8, 8), np.uint8)
    paint[1, 17, 3, 4] = 1
    assert run_job(painted_windows(paint, 2)) == {(1, 17): [box((3, 4), (4, 5))]}


def test_a_volume_has_windows_with_planes():
    paint = np.zeros((20, 8, 8), np.uint8)
    paint[15:18, 3, 4] = 1
    assert run_job(painted_windows(paint, 3)) == {(): [box((15, 18), (3, 4), (4, 5))]}


def test_nothing_painted_has_no_windows():
    assert run_job(painted_windows(np.zeros((8, 8), np.uint8), 2)) == {}


@pytest.mark.parametrize("shift", [1, 64, 127, 1000])
def test_windows_move_with_the_paint(shift):
    rng = np.random.default_rng(0)
    paint = np.zeros((700, 1500), np.uint8)
    paint[rng.integers(0, 700, 25), rng.integers(0, 1500, 25)] = 1
    moved = np.zeros((700 + shift, 1500 + shift), np.uint8)
    moved[shift:, shift:] = paint
    (windows,), (others,) = (run_job(painted_windows(each, 2)).values() for each in (paint, moved))
    assert [tuple(slice(part.start + shift, part.stop + shift) for part in window) for window in windows] == others
    assert len(windows) > 1


def test_a_window_that_grew_takes_in_what_it_came_near():
    windows = [box((0, 1), (0, 1)), box((0, 1), (100, 101)), box((90, 91), (50, 51)), box((45, 46), (0, 1))]
    assert joined(windows, gap_px=60) == [box((0, 91), (0, 101))]


def test_cells_begin_at_the_corner_of_their_window():
    assert list(cells(box((5, 12)), [4])) == [box((5, 9)), box((9, 12))]


def test_beyond_the_image_a_window_goes_on_mirrored():
    image = np.array([[1, 2, 3]])
    assert read_window(image, (), box((0, 1), (-2, 5))).tolist() == [[3, 2, 1, 2, 3, 2, 1]]


def test_beyond_the_image_nothing_is_painted():
    paint = np.array([[1, 2, 3]])
    assert read_window(paint, (), box((0, 1), (-1, 4)), "constant").tolist() == [[0, 1, 2, 3, 0]]


def test_channels_are_read_with_their_pixels():
    image = np.arange(24).reshape(2, 3, 4)
    assert read_window(
        image,
        (1,),
        box(
            (1, 3),
        ),
    ).tolist() == [image[1, 1].tolist(), image[1, 2].tolist()]


def test_a_window_is_grown_and_cut_off_at_the_image():
    assert clipped(grown(box((3, 5)), [4]), (8,)) == box((0, 8))


def test_only_the_window_is_read_of_an_image():
    image = Watched(np.zeros((5000, 5000), np.uint8))
    read_window(image, (), grown(box((2000, 2010), (2000, 2010)), (50, 50)))
    assert image.read_px == 110**2

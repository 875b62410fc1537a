"""From the network's grid to the image's."""

import numpy as np
import pytest

from napari_tessera.core.jobs import run_job
from napari_tessera.inference.pixel_grid import Grid, on_image, outlined


def test_scores_between_pixels_are_interpolated():
    scores = np.array([[0, 1]], np.float32)
    assert run_job(on_image(scores, Grid.over((1, 4), (1, 2)))).tolist() == [[0, 0.25, 0.75, 1]]


def test_shrunk_scores_are_the_mean_of_the_two_in_the_middle():
    scores = np.array([[0, 1, 3, 3]], np.float32)
    assert run_job(on_image(scores, Grid.over((1, 2), (1, 4)))).tolist() == [[0.5, 3]]


def test_planes_between_planes_are_interpolated():
    volume = np.zeros((2, 1, 1), np.float32)
    volume[1] = 1
    assert run_job(on_image(volume, Grid.over((4, 1, 1), (2, 1, 1)))).ravel().tolist() == [0, 0.25, 0.75, 1]


def test_outline_lies_where_the_score_crosses_the_level():
    twice = Grid.over((1, 8), (1, 4))
    labels = np.array([[0, 0, 7, 7]], np.int32)
    scores = np.array([[0, 0, 1, 1]], np.float32)
    assert run_job(outlined(labels, scores, 0.5, twice)).tolist() == [[0, 0, 0, 0, 7, 7, 7, 7]]
    assert run_job(outlined(labels, scores, 0.1, twice)).tolist() == [[0, 0, 0, 7, 7, 7, 7, 7]]


def test_a_likely_pixel_far_from_every_object_stays_background():
    labels = np.zeros((1, 9), np.int32)
    labels[0, 0] = 1
    assert (
        run_job(outlined(labels, np.ones((1, 9), np.float32), 0.5, Grid.over((1, 18), (1, 9))))[0].tolist()
        == [1] * 6 + [0] * 12
    )


@pytest.mark.parametrize("factor", [0.5, 2, 3])
def test_a_disc_keeps_its_shape(factor):
    def disc(side):
        y, x = (np.mgrid[:side, :side] + 0.5) / side - 0.5
        return (y**2 + x**2 < 0.1).astype(np.int32)

    side = round(40 * factor)
    back = run_job(outlined(disc(side), disc(side).astype(np.float32), 0.5, Grid.over((40, 40), (side, side))))
    assert (back == disc(40)).mean() > 0.97


def test_the_same_grid_is_left_as_it_is():
    labels, scores = np.ones((3, 3), np.int32), np.ones((3, 3), np.float32)
    same = Grid.over((3, 3), (3, 3))
    assert run_job(outlined(labels, scores, 0.5, same)) is labels
    assert run_job(on_image(scores, same)) is scores

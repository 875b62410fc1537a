"""Windows around what is pointed at: their scale and place, and the mask that comes back to the image."""

from functools import partial

import numpy as np
import pytest

from napari_tessera.inference.click import (
    CROWDED,
    FILLED,
    WINDOW_PX,
    Clicks,
    FoundObject,
    Look,
    Window,
    find_object,
    follow_object,
    guidance,
    normalised,
    overlap,
)
from napari_tessera.methods.point import PointedImage
from tests.helpers.click_network import BrightPieces, before_of


def disc(shape, centre, radius):
    y, x = np.ogrid[: shape[0], : shape[1]]
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2


def read_from(image, window):
    part = image[window].astype(np.float32)
    return np.broadcast_to(part, (3, *part.shape))


def found_in(image, clicks, network=None, usual_px=None):
    return find_object(network or BrightPieces(), partial(read_from, image), image.shape, clicks, usual_px)


def mask_on(image, found):
    mask = np.zeros(image.shape, bool)
    mask[found.place] = found.mask
    return mask


def iou(a, b):
    return np.count_nonzero(a & b) / np.count_nonzero(a | b)


@pytest.mark.parametrize("radius", [3, 8, 20, 60, 250])
def test_objects_of_any_size_are_found_whole(radius):
    truth = disc((700, 900), (320, 500), radius)
    found = found_in(100 * truth, Clicks(((320 + radius // 3, 500 - radius // 3),)))
    assert iou(mask_on(truth, found), truth) > (0.75 if radius < 5 else 0.9)
    assert found.area == np.count_nonzero(found.mask)
    assert 0.7 < found.sureness <= 1


@pytest.mark.parametrize("radius", [8, 38])
def test_the_last_look_fills_the_usual_share_of_the_window(radius):
    network = BrightPieces()
    found_in(100 * disc((700, 900), (320, 500), radius), Clicks(((320, 500),)), network)
    chance = network.chances(network.seen[-1][0])[1]
    assert Look.extent(chance) == pytest.approx(FILLED * WINDOW_PX, rel=0.2)
    assert before_of(network.seen[-1]).any()


def test_an_object_of_the_usual_size_is_looked_at_once():
    network = BrightPieces()
    found_in(100 * disc((300, 300), (150, 150), 30), Clicks(((150, 150),)), network, usual_px=60)
    assert len(network.seen) == 1


def test_a_click_at_the_rim_finds_the_part_in_the_image():
    truth = disc((200, 200), (0, 199), 25)
    found = found_in(100 * truth, Clicks(((2, 197),)))
    assert iou(mask_on(truth, found), truth) > 0.9


def test_a_box_finds_what_it_holds_without_a_click():
    truth = disc((300, 300), (150, 150), 20)
    found = found_in(100 * (truth | disc((300, 300), (40, 40), 20)), Clicks(box=(128, 128, 172, 172)))
    assert iou(mask_on(truth, found), truth) > 0.9


def test_several_clicks_are_all_in_the_first_window():
    truth = disc((400, 400), (100, 100), 12) | disc((400, 400), (300, 300), 12)
    found = found_in(100 * truth, Clicks(((100, 100), (300, 300))))
    assert iou(mask_on(truth, found), truth) > 0.8


def test_nothing_under_the_click_is_an_empty_object():
    image = 100.0 * disc((200, 200), (150, 150), 10)
    found = found_in(image, Clicks(((40, 40),)))
    assert found.area == 0
    assert found.sureness == 0


def test_only_windows_of_a_huge_image_are_read():
    read = []

    def reading(window):
        read.append(np.prod([part.stop - part.start for part in window]))
        rows, columns = (np.arange(part.start, part.stop) for part in window)
        part = ((rows[:, None] - 50_000) ** 2 + (columns - 70_000) ** 2 <= 30**2).astype(np.float32)
        return np.broadcast_to(part, (3, *part.shape))

    found = find_object(BrightPieces(), reading, (100_000, 100_000), Clicks(((50_000, 70_000),)))
    assert found.area == pytest.approx(np.pi * 30**2, rel=0.05)
    assert max(read) < 300**2


def test_brightness_is_that_of_the_window():
    window = np.random.default_rng(0).normal(1000, 10, (3, 40, 40)).astype(np.float32)
    window[:, 10:20, 10:20] += 200
    assert np.percentile(normalised(window), [1, 99.5]) == pytest.approx([0, 1], abs=1e-3)
    assert np.allclose(normalised(7 * window - 90), normalised(window), atol=1e-3)


def test_nan_and_constant_windows_stay_finite():
    window = np.full((3, 8, 8), np.nan, np.float32)
    assert not normalised(window).any()
    window[:, 2:4] = 5
    assert np.isfinite(normalised(window)).all()


def test_clicks_box_and_mask_are_drawn_in_their_own_channels():
    mask = np.zeros((32, 32), bool)
    mask[5:9, 5:9] = True
    positive, negative, box, before = guidance(np.array([[4, 6]]), np.array([[20, 20]]), (10, 11, 14, 16), mask, 32)
    assert (positive[4, 6], positive[20, 20]) == (1, 0)
    assert (negative[4, 6], negative[20, 20]) == (0, 1)
    assert box.sum() == 5 * 6
    assert np.array_equal(before, mask)


def test_places_come_back_from_the_window():
    window = Window.around((33.0, 71.0), 0.37, (500, 700))
    places = np.array([[0.0, 0.0], [499.0, 699.0], [33.0, 71.0]])
    assert np.allclose(window.on_image(window.on_window(places)), places)
    assert np.allclose(window.on_window([(33.0, 71.0)]), (WINDOW_PX - 1) / 2, atol=0.51)


def test_an_object_is_followed_until_it_ends():
    volume = np.zeros((9, 120, 120), np.float32)
    for plane in range(2, 7):
        volume[plane][disc((120, 120), (60, 60 + 2 * plane), 14)] = 100
    network, image = BrightPieces(), PointedImage(volume)
    found = image.find(network, Clicks(((60, 68),)), (4,))
    followed = dict(image.follow(network, found, (4,), 0, 100))
    assert sorted(followed) == [(2,), (3,), (5,), (6,)]
    assert all(overlap(each, found) > 0.5 for each in followed.values())
    assert sorted(dict(image.follow(network, found, (4,), 0, 1))) == [(3,), (5,)]


def test_an_object_that_turns_into_another_is_no_longer_followed():
    found = found_in(100 * disc((120, 120), (60, 60), 10), Clicks(((60, 60),)))
    large = 100 * disc((120, 120), (60, 60), 30)
    assert follow_object(BrightPieces(), partial(read_from, large), (120, 120), found) is None


def test_overlap_of_objects_far_apart_is_none():
    window = Window.around((5.0, 5.0), 1.0, (50, 50))
    one, other = (FoundObject(np.ones((3, 3), bool), corner, 1.0, window) for corner in ((0, 0), (20, 20)))
    assert overlap(one, other) == 0
    assert overlap(one, one) == 1


def test_a_click_well_inside_a_large_object_is_looked_at_from_farther_away():
    network = BrightPieces()
    found_in(100 * disc((900, 900), (450, 450), 200), Clicks(((450, 450),)), network)
    extents = [Look.extent(network.chances(each[0])[1]) for each in network.seen]
    assert len(extents) > 2
    assert extents[-1] < CROWDED * WINDOW_PX

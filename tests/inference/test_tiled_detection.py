"""Detecting in tiles: what is found does not depend on the tiles, on the scale or on memory."""

import itertools
import time

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from napari_tessera.core.errors import OutOfMemory
from napari_tessera.core.jobs import run_job
from napari_tessera.inference.cost import (
    SECONDS_PER_PLANE,
    backbone_operations,
    estimate_mask_rcnn,
    mask_rcnn_operations_per_pixel,
    mask_rcnn_pixels_at_once,
    overlap_px,
)
from napari_tessera.inference.pixel_grid import network_grid
from napari_tessera.inference.predictor import Detector, load_detector
from napari_tessera.inference.tiled_detection import detect, tiles_over
from napari_tessera.models.weights import save_model
from tests.helpers.tiny_models import BrightDetector, small_mask_rcnn


def squares(shape=(200, 300), count=60, side=10):
    """Squares of different brightness, none touching another."""
    image, rng = np.zeros((1, *shape), np.float32), np.random.default_rng(0)
    placed = 0
    while placed < count:
        y, x = (int(rng.integers(0, length - side)) for length in shape)
        around = image[0, max(0, y - 2) : y + side + 2, max(0, x - 2) : x + side + 2]
        if not around.any():
            placed += 1
            image[0, y : y + side, x : x + side] = 0.5 + 0.45 * placed / count
    return image


def reader(image):
    return lambda window: image[(slice(None), *window)]


def found_in(network, image, factor=1.0, **settings):
    return run_job(detect(network, network_grid(image.shape[1:], factor), reader(image), **settings))


def sorted_boxes(found):
    return sorted(found.boxes.tolist())


@pytest.mark.parametrize("tile_px", [16, 33, 64, 100])
def test_small_tiles_find_what_one_large_tile_finds(tile_px):
    image = squares()
    whole = found_in(BrightDetector(), image)
    assert len(whole.boxes) == 60
    assert sorted_boxes(found_in(BrightDetector(), image, tile_px=tile_px)) == sorted_boxes(whole)


def test_an_object_longer_than_the_overlap_is_looked_at_once_more():
    image = np.zeros((1, 64, 300), np.float32)
    image[0, 20:30, 60:130] = 0.9
    assert sorted_boxes(found_in(BrightDetector(), image, tile_px=96)) == [[60, 20, 130, 30]]


def test_boxes_are_in_pixels_of_the_image_whatever_the_scale():
    image = np.zeros((1, 40, 60), np.float32)
    image[0, 10:20, 30:50] = 0.9
    found = found_in(BrightDetector(), image, 2.0)
    np.testing.assert_allclose(found.boxes[0], [30, 10, 50, 20], atol=0.6)


def test_an_image_of_one_pixel_works():
    assert len(found_in(BrightDetector(), np.zeros((1, 1, 1), np.float32)).boxes) == 0


def test_detections_below_the_lowest_score_are_left_out():
    assert found_in(BrightDetector(), squares(), lowest_score=0.8).scores.min() >= 0.8


@pytest.mark.parametrize("length", [1, 63, 64, 65, 700])
def test_tiles_cover_the_image_and_overlap(length):
    tiles = tiles_over((10, length), side=128, overlap=64, step=32)
    assert tiles[0].left == 0
    assert tiles[-1].left + tiles[-1].width == length
    for before, after in itertools.pairwise(tiles):
        assert after.left % 32 == 0
        assert before.left + before.width - after.left >= 64


class SmallMemory(BrightDetector):
    """On a device that holds few pixels."""

    refused = 0

    def detect(self, image, lowest_score=0.0):
        if image[0].size > 100 * 100:
            self.refused += 1
            raise OutOfMemory("Too many pixels.")
        return super().detect(image, lowest_score)


def test_tiles_become_smaller_until_memory_suffices():
    network = SmallMemory()
    assert sorted_boxes(found_in(network, squares())) == sorted_boxes(found_in(BrightDetector(), squares()))
    assert network.refused > 1


class NoMemory(BrightDetector):
    """On a device that holds nothing."""

    def detect(self, image, lowest_score=0.0):
        raise OutOfMemory("Too many pixels.")


def test_too_little_memory_for_the_smallest_tile_is_an_error():
    with pytest.raises(OutOfMemory):
        found_in(NoMemory(), squares())


class Slow(BrightDetector):
    """Takes its time."""

    def detect(self, image, lowest_score=0.0):
        time.sleep(0.3)
        return super().detect(image, lowest_score)


def test_progress_comes_while_a_tile_is_computed_and_names_the_tile():
    steps = []
    image = squares((60, 150), 10)
    run_job(detect(Slow(), network_grid((60, 150)), reader(image), tile_px=64), steps.append)
    assert len(steps) >= 8
    assert [step.fraction for step in steps] == sorted(step.fraction for step in steps)
    assert any(step.text == "Tile 2 of 2 on the processor" for step in steps)


def test_closing_the_job_stops_it():
    job = detect(Slow(), network_grid((60, 150)), reader(squares((60, 150), 10)), tile_px=64)
    next(job)
    job.close()
    with pytest.raises(StopIteration):
        next(job)


# The network itself


def test_a_detector_finds_what_the_network_finds():
    net = small_mask_rcnn()
    image = torch.rand(1, 64, 96)
    [wanted] = net.detect([image])
    found = Detector(net, device="cpu", is_exact=True).detect(image.numpy())
    assert len(found.boxes) == len(wanted.boxes) > 9
    torch.testing.assert_close(found.boxes[:9], wanted.boxes[:9], atol=1e-2, rtol=1e-3)
    torch.testing.assert_close(found.scores, wanted.scores, atol=1e-4, rtol=1e-3)


def test_nothing_limits_how_many_objects_are_found():
    net = small_mask_rcnn(box_detections_per_img=2, min_size=32)
    found = Detector(net, device="cpu", is_exact=True).detect(np.random.default_rng(0).random((1, 64, 96), np.float32))
    assert len(found.boxes) > 2


def test_a_network_is_loaded_once_and_anew_when_its_file_has_changed(tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, small_mask_rcnn(), {})
    first = load_detector(path, "cpu")
    assert load_detector(path, "cpu") is first
    save_model(path, small_mask_rcnn(), {"diameter_px": 16.0})
    assert load_detector(path, "cpu").header["diameter_px"] == 16


def test_tiles_overlap_by_several_usual_diameters():
    assert overlap_px({"diameter_px": 32.0}) == 128
    assert overlap_px({"diameter_px": 33.0}) == 192
    assert overlap_px({}) == 256


# What it costs


def header_of(net, **fields):
    return {"architecture": net.architecture.as_json(), "diameter_px": 20.0} | fields


def test_operations_of_the_backbone_are_those_that_torch_counts():
    net = small_mask_rcnn()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        levels = net.backbone(torch.zeros(1, 1, 256, 256))
        net.rpn.head(levels)
    counted = counter.get_total_flops() / 256**2
    assert backbone_operations(net.architecture) == pytest.approx(counted, rel=0.1)


def test_small_objects_take_longer_since_more_of_them_fit_in():
    architecture = small_mask_rcnn().architecture
    assert mask_rcnn_operations_per_pixel(architecture, 10.0) > mask_rcnn_operations_per_pixel(architecture, 20.0)


def test_larger_images_take_longer_and_more_planes_as_well():
    header = header_of(small_mask_rcnn())
    small, large, many = (
        estimate_mask_rcnn(header, shape, 1.0, "cpu") for shape in ((64, 64), (128, 128), (3, 128, 128))
    )
    assert large.seconds - SECONDS_PER_PLANE == pytest.approx(4 * (small.seconds - SECONDS_PER_PLANE))
    assert many.seconds == pytest.approx(3 * large.seconds)
    assert many.n_bytes == large.n_bytes > small.n_bytes


def test_a_model_that_knows_no_size_sees_as_much_at_once_as_memory_allows():
    net = small_mask_rcnn()
    assert mask_rcnn_pixels_at_once(header_of(net, diameter_px=None), "cpu") == 1408**2

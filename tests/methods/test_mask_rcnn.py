"""The method `mask_rcnn`: what it returns, what it refuses, and that it replays; in blocks as in one piece."""

from __future__ import annotations

import numpy as np
import pytest

import napari_tessera as tessera
from napari_tessera.core.errors import InputError, ParameterError
from napari_tessera.engine import api
from napari_tessera.methods import mask_rcnn as mask_rcnn_blocks
from napari_tessera.methods.registry import method_named
from napari_tessera.models.weights import save_model
from tests.helpers.tiny_models import BrightDetector, save_bright, small_mask_rcnn


def two_squares(ndim=2, high=200):
    """A small square on the left and a larger one on the right, on black."""
    plane = np.zeros((24, 40), np.uint8)
    plane[4:14, 4:14] = plane[6:20, 22:36] = high
    return plane if ndim == 2 else np.stack([0 * plane, *[plane] * 4, 0 * plane])


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A model file, in whose place a detector of bright regions runs."""
    path = tmp_path / "bright.safetensors"
    header = {"classes": ["background", "small", "large"], "normalisation": {"kind": "colours"}, "diameter_px": 14.0}
    save_model(path, small_mask_rcnn(5, num_classes=3), header)
    monkeypatch.setattr("napari_tessera.inference.predictor.load_detector", lambda path, device: BrightDetector(14.0))
    return str(path)


def test_bright_squares_are_objects_with_class_score_and_box(model):
    labels, table = tessera.mask_rcnn(two_squares(), model=model, diameter=14)
    np.testing.assert_array_equal(labels, two_squares() // 200 * np.where(np.arange(40) < 20, 1, 2))
    assert table["class"].tolist() == ["small", "large"]
    assert table["score"].tolist() == pytest.approx([1, 1])
    boxes = np.stack([table[f"box_{end}"] for end in ("y0", "x0", "y1", "x1")], axis=1)
    assert boxes.tolist() == [[4, 4, 14, 14], [6, 22, 20, 36]]
    assert table["hidden"].tolist() == [0, 0]


def test_the_noise_of_an_empty_field_is_not_one_large_object():
    noise = np.random.default_rng(0).normal(20, 3, (128, 128)).clip(0, 255).astype(np.uint8)
    labels, _ = tessera.mask_rcnn(noise)
    assert np.count_nonzero(labels) < 0.05 * noise.size


def test_dark_squares_on_a_bright_ground_are_found_alike(model):
    dark = 250 - two_squares()
    assert tessera.mask_rcnn(dark, model=model, diameter=14)[0].max() == 2
    assert tessera.mask_rcnn(dark, model=model, diameter=14, polarity="bright")[0].max() == 1


def test_what_the_number_and_the_score_cut_is_said(model):
    dim = two_squares()
    dim[:, :20] //= 2
    few = tessera.segment("mask_rcnn", two_squares(), model=model, diameter=14, max_objects=1)
    assert few.labels.max() == 1
    assert few.notes[0].startswith("1 object of lower scores was left out, since `max_objects` is 1.")
    sure = tessera.segment("mask_rcnn", dim, model=model, diameter=14, min_score=0.55)
    assert sure.labels.max() == 1
    assert sure.notes[0].startswith("1 object scored just below the least score, 0.45 to 0.55, and was left out.")


def test_what_is_too_small_is_said(model):
    large = tessera.segment("mask_rcnn", two_squares(), model=model, diameter=14, min_size=150)
    assert large.notes == ("1 object was dropped: fewer pixels than `min_size`.",)


def test_notes_on_many_frames_are_told_once(model):
    result = tessera.segment(
        "mask_rcnn", np.stack([two_squares()] * 3), axes="TYX", model=model, diameter=14, max_objects=1
    )
    assert len(result.notes) == 1


def test_measurements_and_what_the_network_says_are_in_one_table(model):
    table = tessera.segment("mask_rcnn", two_squares(), model=model, diameter=14).table
    assert table["num_pixels"].tolist() == [100, 196]
    assert table["class"].tolist() == ["small", "large"]


def test_volumes_are_segmented_plane_by_plane(model):
    labels, table = tessera.mask_rcnn(two_squares(3), model=model, diameter=14)
    np.testing.assert_array_equal(labels > 0, two_squares(3) > 0)
    assert (table["box_z0"].tolist(), table["box_z1"].tolist()) == ([1, 1], [5, 5])
    assert tessera.mask_rcnn(two_squares(3), model=model, diameter=14, min_size=401)[0].max() == 1


def test_the_diameter_is_estimated(model):
    large = np.kron(two_squares(), np.ones((4, 4), np.uint8))
    labels, _ = tessera.mask_rcnn(large, model=model)
    assert labels.max() == 2
    assert (labels > 0).sum() == pytest.approx((large > 0).sum(), rel=0.1)


def test_an_image_of_one_pixel_works(model):
    assert tessera.mask_rcnn(np.ones((1, 1)), model=model)[0].tolist() == [[0]]


def test_a_unet_is_refused(tmp_path):
    path = str(save_bright(tmp_path / "unet.safetensors"))
    with pytest.raises(ParameterError, match="'unet', which is a U-Net, but it must be a Mask R-CNN"):
        tessera.mask_rcnn(two_squares(), model=path)


@pytest.mark.parametrize("diameter", [1, 200])
def test_a_diameter_that_no_object_can_have_is_refused(model, diameter):
    with pytest.raises(ParameterError, match=r"can be 1.75 to 80 px"):
        tessera.mask_rcnn(two_squares(), model=model, diameter=diameter)


def test_a_model_for_two_channels_takes_both(tmp_path, monkeypatch):
    path = tmp_path / "two.safetensors"
    fields = {"normalisation": {"kind": "channels"}, "channels": ["DNA", "actin"]}
    save_model(path, small_mask_rcnn(2, num_classes=3), fields)
    monkeypatch.setattr("napari_tessera.inference.predictor.load_detector", lambda path, device: BrightDetector())
    both = np.stack([two_squares(), np.zeros((24, 40), np.uint8)])
    assert tessera.mask_rcnn(both, model=str(path), channel_axis=0)[0].max() == 2
    with pytest.raises(InputError, match=r"takes 2 channels \(DNA, actin\), but the image has 1"):
        tessera.mask_rcnn(two_squares(), model=str(path))


def test_the_record_replays_bit_for_bit(model):
    result = tessera.segment("mask_rcnn", two_squares(), model=model)
    np.testing.assert_array_equal(tessera.run(result.provenance, two_squares()).labels, result.labels)


def test_a_network_of_random_weights_runs_from_its_file(tmp_path):
    path = tmp_path / "random.safetensors"
    save_model(path, small_mask_rcnn(5, box_score_thresh=0.45), {"diameter_px": 20.0, "decoding": {"score": 0.5}})
    image = np.random.default_rng(0).normal(size=(64, 96))
    labels, table = tessera.mask_rcnn(image, model=str(path), diameter=20)
    assert labels.shape == (64, 96)
    assert len(table["score"]) == labels.max()
    assert (table["score"] >= 0.5).all()


def test_the_parameter_says_what_kind_of_model_it_names():
    named = {parameter.name: parameter.model for parameter in method_named("mask_rcnn").parameters}
    assert named["model"].kind == "mask_rcnn"


# In blocks


@pytest.fixture
def crowd():
    """Squares of different size and brightness, row by row."""
    image = np.zeros((150, 170), np.uint8)
    for number, (row, column) in enumerate(np.ndindex(6, 7)):
        y, x, side = 24 * row + number % 4, 24 * column + number % 3, 9 + number % 6
        image[y : y + side, x : x + side] = 150 + 2 * number
    return image


@pytest.mark.parametrize("blocks", [64, (50, 90)])
def test_objects_in_blocks_are_those_of_one_piece(model, crowd, blocks):
    whole = tessera.segment("mask_rcnn", crowd, model=model, diameter=14)
    assert whole.labels.max() == 42
    parts = tessera.segment("mask_rcnn", crowd, model=model, diameter=14, blocks=blocks)
    np.testing.assert_array_equal(parts.labels, whole.labels)
    for name in ("class", "score", "box_y0", "box_x0", "box_y1", "box_x1", "hidden", "num_pixels"):
        np.testing.assert_array_equal(parts.table[name], whole.table[name])


def test_volumes_in_blocks_are_those_of_one_piece(model):
    whole = tessera.segment("mask_rcnn", np.tile(two_squares(3), (1, 3, 3)), model=model, diameter=14)
    parts = tessera.segment(
        "mask_rcnn", np.tile(two_squares(3), (1, 3, 3)), model=model, diameter=14, blocks=(4, 40, 50)
    )
    np.testing.assert_array_equal(parts.labels, whole.labels)
    np.testing.assert_array_equal(parts.table["class"], whole.table["class"])


def test_the_scale_of_blocks_is_that_of_the_whole(model, crowd):
    whole = tessera.mask_rcnn(crowd, model=model)[0]
    parts = tessera.segment("mask_rcnn", crowd, model=model, blocks=100).labels
    assert tessera.evaluate(whole, parts)["ap"]["0.50"] >= 0.95


def test_large_images_run_in_blocks_by_themselves(model, crowd, monkeypatch):
    monkeypatch.setattr(mask_rcnn_blocks, "LARGEST_WHOLE_PX", 1000)
    assert api.bind("mask_rcnn", crowd, model=model).blocks is not None
    assert api.bind("mask_rcnn", crowd, model=model, max_objects=3).blocks is None


def test_a_limited_number_in_blocks_is_refused(model, crowd):
    with pytest.raises(ParameterError, match="`max_objects` is 3, but in blocks it is not known"):
        tessera.segment("mask_rcnn", crowd, model=model, blocks=64, max_objects=3)

"""Examples from paint: what is read, what is learnt, and that nothing but the paint decides it."""

from dataclasses import replace

import numpy as np
import pytest

from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import Job, run_job
from napari_tessera.inference.normalization import Levels
from napari_tessera.training.annotations.annotation import AnnotatedImage, AnnotationSampling, object_numbers
from napari_tessera.training.annotations.examples import painted_examples
from napari_tessera.training.config import TrainingConfig
from napari_tessera.training.data.example import packed_labels
from napari_tessera.training.data.patches import draw_batch, image_weights
from napari_tessera.training.unet_task import class_targets, learn

CLASSES = AnnotationSampling("classes", 2, patch_px=32, share=0)
OBJECTS = AnnotationSampling("objects", 2, patch_px=32, diameter_px=10, share=0)
TINY = TrainingConfig(
    task="classes", n_classes=3, steps=3, widths=(4, 8), diameter_px=None, patch_px=32, batch=2, mixed=False
)


TINY_OBJECTS = replace(TINY, task="objects", diameter_px=10)
TINY_MASK_RCNN = replace(TINY_OBJECTS, network="mask-rcnn", widths=(4, 4, 4, 4), steps=2)


def painting(image, paint, **fields):
    def measure(_, __) -> Job[Levels]:
        yield from ()
        return Levels(0.0, 255.0)

    return AnnotatedImage("image", image, np.asarray(paint), image.dtype, measure, **fields)


def strokes(side=96):
    """An image of noise with three strokes in its middle, of background and two classes."""
    image = np.random.default_rng(0).integers(0, 256, (side, side)).astype(np.uint8)
    paint = np.zeros((side, side), np.uint8)
    paint[40, 40:50], paint[44, 40:50], paint[48, 40:50] = 1, 2, 3
    return image, paint


def squares():
    """Four squares of 100 pixels, two of them with background around them."""
    paint = np.zeros((60, 60), np.int32)
    paint[:20] = 1
    for number, (y, x) in enumerate([(5, 5), (5, 25), (30, 5), (30, 25)]):
        paint[y : y + 10, x : x + 10] = 2 + number
    return np.zeros((60, 60), np.uint8), paint


def found(image, paint, sampling=CLASSES, **fields):
    return run_job(painted_examples([painting(image, paint, **fields)], sampling))


def weights(examples, plan=TINY):
    return run_job(learn(examples, plan)).net.state_dict()


def same(one, other):
    return all((one[name] == other[name]).all() for name in one)


# Nothing but the paint decides


@pytest.mark.parametrize("at", [(0, 0), (1, 77), (130, 64)])
def test_strokes_moved_with_their_image_give_the_same_weights(at):
    image, paint = strokes()
    larger, moved = moved_to(at, image, paint)
    assert same(weights(found(image, paint).learn), weights(found(larger, moved).learn))


@pytest.mark.parametrize("plan", [TINY_OBJECTS, TINY_MASK_RCNN], ids=["U-Net", "Mask R-CNN"])
def test_painted_objects_moved_with_their_image_give_the_same_weights(plan):
    image, paint = (np.pad(each, 60) for each in squares())
    larger, moved = moved_to((64, 30), image + np.uint8(7) * (paint > 1), paint)
    here, there = found(image + np.uint8(7) * (paint > 1), paint, OBJECTS), found(larger, moved, OBJECTS)
    assert same(weights(here.learn, plan), weights(there.learn, plan))


def moved_to(at, image, paint):
    """Put an image and its paint into a larger image of noise on which nothing else is painted."""
    window = tuple(slice(start, start + side) for start, side in zip(at, paint.shape, strict=True))
    larger, moved = np.random.default_rng(1).integers(0, 256, (320, 320)), np.zeros((320, 320), paint.dtype)
    larger[window], moved[window] = image, paint
    return larger, moved


def test_an_image_padded_with_its_mirror_image_gives_the_same_patches_though_painted_to_its_edge():
    image, paint = strokes()
    paint[0, :5] = 1
    padded, around = np.pad(image, 64, mode="reflect"), np.pad(paint, 64)
    batches = []
    for examples in (found(image, paint).learn, found(padded, around).learn):
        rng = np.random.default_rng(0)
        batches.append(draw_batch(examples, image_weights(examples), TINY.sampling(), class_targets, 8, rng))
    np.testing.assert_array_equal(batches[0][0], batches[1][0])
    np.testing.assert_array_equal(batches[0][1], batches[1][1])


def test_every_patch_holds_paint():
    examples = found(*strokes()).learn
    rng = np.random.default_rng(0)
    _, targets = draw_batch(examples, image_weights(examples), TINY.sampling(), class_targets, 16, rng)
    assert all(labels.any() for labels in targets)


# What is read


def test_windows_reach_around_the_paint_and_no_farther():
    image, paint = strokes(1000)
    (example,) = found(image, paint).learn
    assert example.image.shape == (9 + 2 * 24, 10 + 2 * 24)


def test_of_each_class_there_are_equally_many_places():
    image, paint = strokes()
    paint[52:60, 40:90] = 1
    (example,) = found(image, paint).learn
    at = tuple(np.rint(example.places).astype(int).T)
    assert np.bincount(example.labels[at])[1:].tolist() == [410, 10, 10]


def test_objects_have_a_place_each_and_the_background_as_many():
    (example,) = found(*squares(), OBJECTS).learn
    at = tuple(np.rint(example.places).astype(int).T)
    assert sorted(example.labels[at].tolist()) == [1, 1, 1, 1, 2, 3, 4, 5]


def test_objects_are_numbered_without_gaps():
    image, paint = squares()
    paint[paint == 5] = 70_000
    (example,) = found(image, paint, OBJECTS).learn
    assert np.unique(example.labels).tolist() == [0, 1, 2, 3, 4, 5]
    assert example.sizes.tolist()[2:] == [100] * 4


def test_numbers_without_objects_stay():
    numbers = object_numbers([], 0, AnnotationSampling("classes", 2, 64))
    assert packed_labels(np.array([[0, 1, 4]]), numbers, 2).tolist() == [[0, 1, 4]]


def test_planes_are_examples_of_their_own_with_the_levels_of_their_image():
    image, paint = strokes()
    stack, painted = np.stack([image] * 3), np.stack([paint, np.zeros_like(paint), paint])
    examples = found(stack, painted).learn
    assert [example.name for example in examples] == ["image 0", "image 2"]
    assert {example.levels for example in examples} == {Levels(0.0, 255.0)}


def test_channels_are_read():
    image, paint = strokes()
    (example,) = found(np.stack([image] * 3, axis=-1), paint).learn
    assert example.is_coloured


def test_a_volume_is_read_as_one():
    image, paint = strokes()
    sampling = AnnotationSampling("classes", 3, patch_px=16, share=0)
    (example,) = found(np.stack([image] * 4), np.stack([paint] * 4), sampling, anisotropy=3).learn
    assert example.labels.shape == (4 + 2 * 4, 9 + 2 * 12, 10 + 2 * 12)


def test_an_ignored_number_is_not_painted():
    sampling = AnnotationSampling("classes", 2, patch_px=32, share=0, ignore=3)
    assert set(found(*strokes(), sampling).pixels) == {1, 2}


# What is held back


def test_what_is_held_back_is_validated_on_and_not_learnt():
    image, paint = squares()
    paint[50:, 50:] = 6
    result = found(image, paint, AnnotationSampling("objects", 2, patch_px=32, diameter_px=10, share=0.2))
    learnt, checked = (
        {number for example in examples for number in np.unique(example.labels).tolist() if number > 1}
        for examples in (result.learn, result.check)
    )
    assert len(checked) == 1
    assert learnt == {2, 3, 4, 5, 6} - checked
    assert result.reason == ""


def test_with_too_little_paint_nothing_is_held_back_and_it_is_said():
    result = found(*strokes(), AnnotationSampling("classes", 2, patch_px=32, share=0.2))
    assert result.check == []
    assert "too few" in result.reason


@pytest.mark.parametrize(
    ("sampling", "paint", "said"), [(CLASSES, 2, "only one class"), (OBJECTS, 1, "only background")]
)
def test_an_image_to_validate_on_that_tells_nothing_is_left_out_and_it_is_said(sampling, paint, said):
    image, learnt = strokes()
    check = painting(image, np.where(learnt, paint, 0), is_check=True)
    examples = run_job(painted_examples([painting(image, learnt), check], sampling))
    assert examples.check == []
    assert said.removeprefix("all ") in examples.reason


def test_an_image_to_validate_on_is_not_learnt():
    image, paint = strokes()
    both = [painting(image, paint), painting(image, paint, is_check=True)]
    result = run_job(painted_examples(both, CLASSES))
    assert (len(result.learn), len(result.check)) == (1, 1)


# What cannot be


@pytest.mark.parametrize(
    ("number", "sampling", "said"),
    [
        (0, CLASSES, "Nothing is painted"),
        (1, CLASSES, "Only background"),
        (-3, OBJECTS, "number -3"),
        (70, CLASSES, "too many classes"),
    ],
)
def test_paint_that_cannot_be_is_refused(number, sampling, said):
    paint = np.zeros((8, 8), np.int32)
    paint[3, 3] = number
    with pytest.raises(InputError, match=said):
        found(np.zeros((8, 8), np.uint8), paint, sampling)


def test_nan_is_refused():
    image, paint = strokes()
    with pytest.raises(InputError, match="NaN"):
        found(np.full(image.shape, np.nan), paint)

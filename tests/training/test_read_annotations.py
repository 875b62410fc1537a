"""Images with paint, as arrays or files: axes, brightness, and how little of a stored image is read."""

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import run_job
from napari_tessera.core.spatial import Spatial
from napari_tessera.inference.normalization import measure_levels
from napari_tessera.io.tiff import write_tiff
from napari_tessera.training.annotations.annotation import AnnotationSampling
from napari_tessera.training.annotations.examples import painted_examples
from napari_tessera.training.annotations.read import Image, painting_from, painting_of
from napari_tessera.training.data.sources import Source
from tests.training.test_annotation_windows import Watched

NOISE = np.random.default_rng(0).integers(0, 4000, (2, 3, 40, 50)).astype(np.uint16)
HALVES = [(slice(0, 20), slice(0, 50)), (slice(20, 40), slice(0, 50))]


def painted(shape, *places):
    paint = np.zeros(shape, np.uint8)
    for number, place in enumerate(places, start=1):
        paint[place] = number
    return paint


def examples_of(painting, task="classes"):
    return run_job(painted_examples([painting], AnnotationSampling(task, 2, patch_px=32, share=0))).learn


@pytest.mark.parametrize("stored", [da.from_array, lambda array: da.from_array(array, chunks=7), zarr.array])
def test_a_stored_image_gives_the_same_examples_as_one_in_memory(stored):
    image, paint = NOISE[0, 0], painted((40, 50), (10, slice(0, 9)), (12, slice(0, 9)))
    (one,) = examples_of(painting_of("a", image, paint, 2))
    (other,) = examples_of(painting_of("a", stored(image), stored(paint), 2))
    np.testing.assert_array_equal(one.image, other.image)
    np.testing.assert_array_equal(one.labels, other.labels)
    assert one.levels == other.levels


def test_brightness_in_pieces_is_that_of_the_whole():
    assert run_job(Image(NOISE[0, 0], "YX").levels_in(HALVES, "colours")) == measure_levels(NOISE[0, 0])


def test_brightness_of_channels_in_pieces_is_that_of_each():
    image = np.moveaxis(NOISE[0], 0, -1)
    assert run_job(Image(image, "YX").levels_in(HALVES, "channels")) == measure_levels(image, "channels")


def test_a_stored_image_with_channels_is_measured_like_one_in_memory():
    image = np.moveaxis(NOISE[:, 0], 0, -1)
    stored = Image(zarr.array(image), "YX")
    assert run_job(stored.measure((), "channels")) == measure_levels(image, "channels")


def test_planes_of_a_stack_have_its_brightness_and_times_their_own():
    image = Image(NOISE, "TZYX")
    assert run_job(image.measure((1, 2), "colours")) == measure_levels(NOISE[1])


@pytest.mark.parametrize(("mode", "is_same"), [("symmetric", True), ("wrap", True), ("constant", False)])
def test_only_padding_as_bright_as_the_image_leaves_what_the_network_sees(mode, is_same):
    image, paint = NOISE[0, 0] + 500, painted((40, 50), (10, 5), (12, 5))
    sides = ((40, 40), (50, 50))
    (one,) = examples_of(painting_of("a", image, paint, 2))
    (other,) = examples_of(painting_of("a", np.pad(image, sides, mode=mode), np.pad(paint, sides), 2))
    assert ((one.levels.low, one.levels.high) == pytest.approx((other.levels.low, other.levels.high))) == is_same


def test_brightness_is_measured_once():
    image = Image(Watched(NOISE), "TZYX")
    image.data.dtype = NOISE.dtype
    run_job(image.measure((1, 2), "colours"))
    before = image.data.read_px
    run_job(image.measure((1, 0), "colours"))
    assert image.data.read_px == before


def test_channels_may_be_first_if_the_axes_say_so():
    paint = painted((40, 50), (10, 5), (12, 5))
    (example,) = examples_of(painting_of("a", NOISE[0], paint, 2, axes="CYX"))
    assert example.image.shape[-1] == 3


def test_times_of_volumes_are_taken_one_at_a_time():
    paint = painted(NOISE.shape, (1, 0, 10, 5), (1, 2, 12, 5))
    painting = painting_of("a", NOISE, paint, 3, anisotropy=2)
    (example,) = run_job(painted_examples([painting], AnnotationSampling("classes", 3, patch_px=8, share=0))).learn
    assert example.name == "a 1"
    assert example.anisotropy == 2


@pytest.mark.parametrize(
    ("shape", "axes", "said"),
    [
        ((40, 51), None, r"\(40, 51\), but the image \(40, 50\) .*the annotation that belongs to it\.$"),
        ((3, 40, 50), "TYX", r"needs Z, Y, X, and has no Z\. .*--axes ZYX"),
        ((2, 3), None, "must have the shape"),
        ((40, 50), "YXC", "names 3 axes"),
    ],
)
def test_paint_that_does_not_fit_its_image_is_refused(shape, axes, said):
    image = NOISE[0] if len(shape) == 3 else NOISE[0, 0]
    with pytest.raises(InputError, match=said):
        painting_of("a", image, np.zeros(shape, np.uint8), len(shape), axes=axes)


def test_channels_that_come_first_are_asked_for():
    with pytest.raises(InputError, match=r'axes="CYX" \(on the command line --axes CYX\)'):
        painting_of("a", NOISE[0], np.zeros((40, 50), np.uint8), 2)


@pytest.mark.parametrize("image", [None, "text", [[1, 2]], NOISE[0, 0] * 1j, NOISE[0, 0].astype(str), NOISE[0, :0]])
def test_what_is_no_image_is_refused(image):
    with pytest.raises(InputError, match="a: the image"):
        painting_of("a", image, np.zeros((40, 50), np.uint8), 2)


@pytest.mark.parametrize("paint", [None, 7, np.uint8(7), NOISE[0, 0] * 1j])
def test_what_is_no_paint_is_refused(paint):
    with pytest.raises(InputError, match="a: the annotation"):
        painting_of("a", NOISE[0, 0], paint, 2)


def test_paint_of_more_axes_than_have_a_usual_order_needs_their_letters():
    many = np.zeros((2, 1, 1, 8, 8), np.uint8)
    with pytest.raises(InputError, match='axes="PTZYX"'):
        painting_of("a", many, many, 2)
    assert painting_of("a", many, many, 2, axes="PTZYX").paint.shape == many.shape


def test_a_mask_is_an_image_like_any_other():
    image, paint = NOISE[0, 0] > 2000, painted((40, 50), (10, 5), (12, 5))
    (example,) = examples_of(painting_of("a", image, paint, 2))
    assert example.image.dtype == np.uint8


def test_paint_of_fractions_is_refused():
    with pytest.raises(InputError, match=r"the annotation holds 0\.5, but labels are whole numbers"):
        painting_of("a", NOISE[0, 0], np.full((40, 50), 0.5), 2)


def test_paint_of_whole_floating_numbers_is_paint():
    assert painting_of("a", NOISE[0, 0], np.ones((40, 50)), 2).paint.dtype == np.int32


def test_files_say_how_far_their_planes_are_apart(tmp_path):
    spatial = Spatial("ZYX", (4.0, 1.0, 1.0), (0.0,) * 3, ("um",) * 3)
    for name in ("image", "paint"):
        write_tiff(tmp_path / f"{name}.tif", NOISE[0], spatial)
    assert painting_from(Source("a", tmp_path / "image.tif", tmp_path / "paint.tif"), 3).anisotropy == 4


@pytest.mark.parametrize("how", ["NaN", "padding", "masked"])
def test_annotation_and_levels_leave_out_what_is_no_image(how):
    image = np.random.default_rng(0).normal(500, 20, (96, 96)).astype(np.float32)
    paint = np.zeros((96, 96), np.uint8)
    paint[40, 40:50], paint[60, :50] = 1, 2
    beside = image.copy()
    beside[:, :4] = {"NaN": np.nan, "padding": -1024, "masked": 9999}[how]
    given = np.ma.masked_equal(beside, 9999) if how == "masked" else beside
    one, other = (
        painting_of("cell", image[:, 4:], paint[:, 4:], 2),
        painting_of("cell", given, paint, 2),
    )
    assert run_job(one.measure((), "colours")) == run_job(other.measure((), "colours"))
    found = run_job(painted_examples([other], AnnotationSampling("classes", 2, patch_px=16, share=0)))
    assert found.pixels == {1: 10, 2: 46}
    assert all(300 < example.image.min() < example.image.max() < 700 for example in found.learn)
    assert "cell:" in found.notes[0]

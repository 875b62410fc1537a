"""What is no image has label 0, in whole images and in blocks, and the result says so."""

import dask.array as da
import numpy as np
import pytest
import zarr

import napari_tessera as tessera
from napari_tessera.core.errors import InputError
from tests.helpers.scenes import blobs

SIDE = 40
INSIDE = np.s_[SIDE:-SIDE, SIDE:-SIDE]


def noisy(ndim=2):
    tiled = np.tile(blobs(ndim), (1,) * (ndim - 2) + (3, 3)).astype(np.float32)
    return tiled + np.random.default_rng(0).normal(500, 3, tiled.shape).astype(np.float32)


IMAGE = noisy()
FRAMED = np.pad(IMAGE, SIDE)
WITH_NAN = np.where(FRAMED == 0, np.nan, FRAMED).astype(np.float32)
INFINITE = np.where(FRAMED == 0, np.inf, FRAMED).astype(np.float32)
MASKED = np.ma.masked_array(np.where(FRAMED == 0, 1e6, FRAMED), FRAMED == 0)
KINDS = {"framed": FRAMED, "NaN": WITH_NAN, "infinite": INFINITE, "masked": MASKED}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("blocks", [None, 64])
@pytest.mark.parametrize("method", ["threshold", "watershed"])
def test_labels_are_zero_where_there_is_no_image_and_a_note_says_so(method, blocks, kind):
    settings = {"output": "objects"} if method == "threshold" else {}
    result = tessera.segment(method, KINDS[kind], axes="YX", blocks=blocks, **settings)
    outside = result.labels.copy()
    outside[INSIDE] = 0
    assert not outside.any()
    assert result.labels.max() > 3
    assert "pixels are not image" in result.notes[0]
    assert kind in result.notes[0] or "padding with the value 0" in result.notes[0]


@pytest.mark.parametrize("wrapped", [lambda array: da.from_array(array, chunks=50), zarr.array])
def test_an_array_on_disk_is_treated_as_one_in_memory(wrapped):
    here = tessera.segment("threshold", FRAMED, output="objects", blocks=64)
    there = tessera.segment("threshold", wrapped(FRAMED), output="objects", blocks=64)
    np.testing.assert_array_equal(here.labels, there.labels)
    assert here.notes == there.notes


def test_a_masked_dask_array_keeps_its_mask():
    stored = da.ma.masked_array(
        da.from_array(np.asarray(MASKED.data), chunks=50), da.from_array(MASKED.mask, chunks=50)
    )
    result = tessera.segment("threshold", stored, output="objects", blocks=64)
    assert not result.labels[: SIDE - 1].any()
    assert "masked" in result.notes[0]


def test_a_replay_of_a_masked_array_gives_the_same_labels():
    result = tessera.segment("threshold", MASKED, output="objects")
    np.testing.assert_array_equal(tessera.run(result.provenance, MASKED).labels, result.labels)


def test_functions_of_methods_leave_out_the_same():
    np.testing.assert_array_equal(
        tessera.threshold(FRAMED, output="objects"), tessera.segment("threshold", FRAMED, output="objects").labels
    )


@pytest.mark.parametrize("image", [WITH_NAN, INFINITE, -INFINITE], ids=["NaN", "infinite", "minus infinite"])
def test_a_region_without_nan_is_not_affected_and_one_of_nan_alone_is_refused(image):
    inner = tessera.Region({}, (np.array([[45.0, 45], [45, 95], [95, 95], [95, 45]]),))
    assert not any("not image" in note for note in tessera.segment("threshold", image, region=inner).notes)
    corner = tessera.Region({}, (np.array([[1.0, 1], [1, 20], [20, 20], [20, 1]]),))
    with pytest.raises(InputError, match="`image` is NaN or infinite in every pixel"):
        tessera.segment("threshold", image, region=corner)


@pytest.mark.parametrize("blocks", [None, 32])
def test_an_image_that_is_all_nan_is_refused(blocks):
    with pytest.raises(InputError, match=r"`image` is NaN.* in every pixel"):
        tessera.segment(
            "threshold", da.full((64, 64), np.nan, chunks=32) if blocks else np.full((8, 8), np.nan), blocks=blocks
        )


def test_opacity_that_is_0_everywhere_is_ignored_with_a_note():
    colours = np.stack([noisy().astype(np.uint16)] * 3, axis=-1)
    rgba = np.concatenate([colours, np.zeros_like(colours[..., :1])], axis=-1)
    result = tessera.segment("threshold", rgba, axes="YXC")
    assert "Its opacity is 0 everywhere, so it was ignored." in result.notes
    np.testing.assert_array_equal(result.labels, tessera.segment("threshold", colours, axes="YXC").labels)


def test_an_image_of_one_value_is_told():
    assert "Every pixel has the value 7." in " ".join(tessera.segment("watershed", np.full((40, 40), 7)).notes)


def test_a_frame_of_a_film_without_an_image_is_empty():
    film = np.stack([WITH_NAN, np.full_like(WITH_NAN, np.nan)])
    labels = tessera.segment("threshold", film, axes="TYX", output="objects").labels
    assert labels[0].any()
    assert not labels[1].any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["threshold", "watershed", "kmeans", "unet"])
def test_what_lies_in_a_frame_gets_the_very_labels_it_gets_alone(method, kind):
    settings = {"output": "objects"} if method == "threshold" else {}
    alone = tessera.segment(method, IMAGE, axes="YX", **settings)
    framed = tessera.segment(method, KINDS[kind], axes="YX", **settings)
    np.testing.assert_array_equal(framed.labels[INSIDE], alone.labels)
    np.testing.assert_allclose(framed.table["centroid-0"], alone.table["centroid-0"] + SIDE)


def test_seeds_in_a_frame_stay_where_they_were_put():
    seed = np.argwhere(IMAGE.max() == IMAGE)[0]
    alone = tessera.segment("region_growing", IMAGE, seeds=[seed], axes="YX", tolerance=0.1)
    framed = tessera.segment("region_growing", FRAMED, seeds=[seed + SIDE], axes="YX", tolerance=0.1)
    np.testing.assert_array_equal(framed.labels[INSIDE], alone.labels)

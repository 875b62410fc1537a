"""The preview of a method on what is to be seen of a plane."""

from dataclasses import replace

import numpy as np
import pytest

from napari_tessera import sample_data
from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import run_job
from napari_tessera.engine import api
from napari_tessera.engine.preview import PreviewCache, PreviewRequest, View, preview, scaled
from napari_tessera.methods.registry import method_named
from tests.helpers.scenes import blobs, two_boxes

WHOLE = View({}, 0, 0, 20, 24, 1)
LEFT = View({}, 0, 0, 20, 11, 1)


def sketch(name="threshold", image=None, view=WHOLE, axes="YX", inputs=None, **changed):
    values = {**method_named(name).declaration.defaults, **changed}
    return PreviewRequest(name, blobs() if image is None else image, axes, view, values, inputs or {})


def seen(*args, **kwargs):
    return run_job(preview(sketch(*args, **kwargs), PreviewCache()))


@pytest.mark.parametrize("method", ["threshold", "kmeans", "watershed"])
def test_view_of_all_pixels_shows_the_labels_of_a_run(method):
    np.testing.assert_array_equal(seen(method), api.segment(method, blobs(), axes="YX").labels)


def test_level_comes_from_the_whole_plane_not_from_the_view():
    dim_half = blobs() * (np.arange(24) < 11) // 3 + blobs() * (np.arange(24) >= 11)
    whole = api.segment("threshold", dim_half, axes="YX").labels
    np.testing.assert_array_equal(seen(image=dim_half, view=LEFT), whole[:, :11])


def test_every_second_pixel_is_looked_at():
    image = np.kron(blobs(), np.ones((2, 2), np.uint8))
    view = View({}, 0, 0, 40, 48, 2)
    np.testing.assert_array_equal(seen(image=image, view=view) > 0, two_boxes() > 0)


def test_sizes_shrink_with_the_step():
    values = scaled({"min_distance": 10, "min_size": 80, "sigma": 3.0}, method_named("watershed"), 2)
    assert values == {"min_distance": 5, "min_size": 20, "sigma": 1.5}


def test_sizes_that_are_left_open_shrink_with_the_step_too():
    assert scaled({"min_distance": None, "threshold": None}, method_named("watershed"), 2) == {
        "min_distance": 2.5,
        "threshold": None,
    }


def test_size_that_must_not_be_0_stays_at_its_least():
    assert scaled({"radius": 1}, method_named("threshold"), 8)["radius"] == 1


def test_plane_of_a_stack_is_looked_at():
    view = View({"Z": 2}, 0, 0, 20, 24, 1)
    np.testing.assert_array_equal(seen(image=blobs(3), view=view, axes="ZYX") > 0, two_boxes() > 0)


def test_channels_are_kept():
    rgb = np.stack([blobs()] * 3, axis=-1)
    np.testing.assert_array_equal(seen(image=rgb, axes="YXC") > 0, two_boxes() > 0)


def test_mark_of_one_pixel_survives_the_step():
    image = np.kron(blobs(), np.ones((4, 4), np.uint8))
    markers = np.zeros(image.shape, np.int32)
    markers[17, 19], markers[61, 63] = 1, 2
    found = seen("watershed", image=image, view=View({}, 0, 0, 80, 96, 4), inputs={"markers": markers})
    assert set(np.unique(found)) == {0, 1, 2}


def test_point_outside_the_view_is_left_out():
    points = np.array([[5.0, 5.0], [14.0, 15.0]])
    assert seen("watershed", view=LEFT, inputs={"markers": points}).max() == 1


def test_view_without_markers_has_no_objects_if_there_are_markers_elsewhere():
    assert not seen("watershed", view=LEFT, inputs={"markers": np.array([[14.0, 15.0]])}).any()


def test_empty_markers_are_found_in_the_view():
    found = seen("watershed", inputs={"markers": np.zeros((20, 24), np.int32)})
    np.testing.assert_array_equal(found, seen("watershed"))


def test_same_settings_are_measured_once():
    memory, image = PreviewCache(), blobs()
    run_job(preview(sketch(image=image), memory))
    first = memory.fitted
    run_job(preview(sketch(image=image, view=LEFT), memory))
    assert memory.fitted is first


def test_changed_setting_is_measured_anew():
    memory, image = PreviewCache(), blobs()
    run_job(preview(sketch(image=image), memory))
    found = run_job(preview(sketch(image=image, method="mean"), memory))
    np.testing.assert_array_equal(found, api.segment("threshold", image, axes="YX", method="mean").labels)


def test_view_has_at_most_the_pixels_asked_for():
    view = View.of({}, np.array([[0, 0], [4095, 4095]]), (4096, 4096), 500_000)
    assert view.step == 6
    assert (view.top, view.left, view.bottom, view.right) == (0, 0, 4096, 4096)


def test_view_beyond_the_image_is_cut():
    view = View.of({}, np.array([[-50, -50], [500, 10]]), (20, 24), 500_000)
    assert (view.top, view.left, view.bottom, view.right, view.step) == (0, 0, 20, 11, 1)


def test_nan_is_background():
    image = blobs(dtype=float)
    image[:, :6] = np.nan
    labels = seen(image=image)
    assert not labels[:, :6].any()
    assert labels.any()


@pytest.fixture(scope="module")
def crowd():
    image, _, _, _ = sample_data.nuclei_2d()
    return np.ascontiguousarray(image)


@pytest.fixture
def looks(monkeypatch):
    """Counts how often the network looks."""
    counted = []
    method = method_named("unet")

    def look(image, **settings):
        counted.append(image.shape)
        return method.redecoding.look(image, **settings)

    counting = replace(method, redecoding=replace(method.redecoding, look=look))
    monkeypatch.setattr("napari_tessera.engine.preview.method_named", lambda _: counting)
    return counted


def whole_of(image):
    return View({}, 0, 0, *image.shape, 1)


def test_a_network_looks_once_and_its_scores_are_decoded_anew(crowd, looks):
    memory = PreviewCache()
    found = {
        threshold: run_job(preview(sketch("unet", crowd, whole_of(crowd), threshold=threshold), memory))
        for threshold in (0.3, 0.6, 0.9)
    }
    assert looks == [crowd.shape]
    sizes = [np.count_nonzero(found[threshold]) for threshold in (0.3, 0.6, 0.9)]
    assert sizes[0] > sizes[1] > sizes[2] > 0
    run_job(preview(sketch("unet", crowd, whole_of(crowd), diameter=25.0), memory))
    assert len(looks) == 2


def test_what_is_decoded_is_what_a_run_finds(crowd):
    found = run_job(preview(sketch("unet", crowd, whole_of(crowd), min_size=30), PreviewCache()))
    assert np.array_equal(found, api.segment("unet", crowd, min_size=30).labels)


def test_a_part_is_decoded_as_in_the_whole(crowd, looks):
    memory = PreviewCache()
    whole = run_job(preview(sketch("unet", crowd, whole_of(crowd)), memory))
    part = run_job(preview(sketch("unet", crowd, View({}, 60, 90, 190, 230, 1)), memory))
    assert len(looks) == 1
    both = whole[60:190, 90:230]
    inner = (slice(20, -20), slice(20, -20))
    assert np.mean((part[inner] > 0) == (both[inner] > 0)) > 0.995


def test_a_large_view_is_decoded_from_fewer_scores(crowd, monkeypatch):
    whole = run_job(preview(sketch("unet", crowd, whole_of(crowd)), PreviewCache()))
    monkeypatch.setattr("napari_tessera.methods.unet.LARGEST_DECODED_PX", crowd.size / 6)
    coarse = run_job(preview(sketch("unet", crowd, View({}, 0, 0, *crowd.shape, 2)), PreviewCache()))
    truth = whole[::2, ::2] > 0
    assert coarse.shape == truth.shape
    assert np.count_nonzero((coarse > 0) & truth) / np.count_nonzero((coarse > 0) | truth) > 0.85
    assert abs(len(np.unique(coarse)) - len(np.unique(whole))) < 0.2 * len(np.unique(whole))


def test_a_look_goes_on_where_a_later_preview_takes_over(crowd, looks):
    memory = PreviewCache()
    first = preview(sketch("unet", crowd, whole_of(crowd), threshold=0.4), memory)
    for _ in range(5):
        next(first)
    first.close()
    run_job(preview(sketch("unet", crowd, whole_of(crowd), threshold=0.5), memory))
    assert len(looks) == 1


def test_detections_are_made_objects_anew(crowd):
    memory = PreviewCache()
    few, many = (
        run_job(preview(sketch("mask_rcnn", crowd, whole_of(crowd), diameter=18.0, min_score=score), memory))
        for score in (0.9, 0.3)
    )
    found = api.segment("mask_rcnn", crowd, diameter=18.0, min_score=0.3).labels
    assert np.array_equal(many, found)
    assert 0 < few.max() < many.max()
    coarse = run_job(
        preview(sketch("mask_rcnn", crowd, View({}, 60, 90, 190, 230, 2), diameter=18.0, min_score=0.3), memory)
    )
    assert np.mean((coarse > 0) == (many[60:190:2, 90:230:2] > 0)) > 0.93


def test_a_plane_too_large_to_be_looked_at_says_so():
    huge = np.broadcast_to(np.uint8(0), (20_000, 20_000))
    with pytest.raises(InputError, match="too large for a preview with a network"):
        seen("unet", huge, View({}, 0, 0, 500, 500, 1))

"""Where results lie: scale, rotation, units and axis names of the image are kept, and regions are found in it."""

import dask.array as da
import numpy as np
import pytest
from napari.layers import Image, Shapes

from napari_tessera.core.result import LabelImage
from napari_tessera.core.spatial import Spatial
from napari_tessera.engine import api
from napari_tessera.gui.layers.add import feature_table, result_layer
from napari_tessera.gui.layers.read import RECORD, Placement, labels_of, outlines_of, place, planes_shown
from tests.helpers.scenes import blobs, two_boxes

ROTATED = [[0.0, -1.0], [1.0, 0.0]]
MOVED = [[1.0, 0.25, 3.0], [0.0, 1.0, -2.0], [0.0, 0.0, 1.0]]


def _transform(layer):
    """The whole matrix from pixels to the world."""
    corners = [np.zeros(layer.ndim), *np.eye(layer.ndim)]
    return np.array([layer.data_to_world(corner) for corner in corners])


def test_scale_translate_rotate_shear_and_affine_are_kept(viewer, open_widget, run):
    image = viewer.add_image(
        blobs(), scale=(0.5, 0.25), translate=(3, 4), rotate=ROTATED, shear=[0.3], affine=MOVED, name="blobs"
    )
    run(open_widget("Threshold"))
    labels = viewer.layers[-1]
    for name in ("scale", "translate", "rotate", "shear"):
        np.testing.assert_allclose(getattr(labels, name), getattr(image, name))
    np.testing.assert_allclose(labels.affine.affine_matrix, image.affine.affine_matrix)
    np.testing.assert_allclose(_transform(labels), _transform(image))


def test_units_and_axis_names_are_kept(viewer, open_widget, run):
    image = viewer.add_image(blobs(), scale=(0.5, 0.5), units=("um", "um"), axis_labels=("y", "x"), name="blobs")
    run(open_widget("Threshold"))
    assert viewer.layers[-1].units == image.units
    assert viewer.layers[-1].axis_labels == ("y", "x")


def test_table_is_in_the_unit_of_the_layer(viewer, open_widget, run):
    viewer.add_image(blobs(), scale=(0.5, 0.5), units=("um", "um"), name="blobs")
    widget = open_widget("Threshold")
    widget.form.fields["output"].value = "objects"
    run(widget)
    areas = viewer.layers[-1].features["area (µm²)"]
    np.testing.assert_allclose(areas[1:], [42 * 0.25, 63 * 0.25])


def test_titles_of_a_volumes_table_say_its_units():
    table = {"label": np.array([1]), "area": np.array([2.0])} | {f"centroid-{axis}": np.zeros(1) for axis in range(3)}
    spatial = Spatial.with_spacing("ZYX", (2, 0.5, 0.5), "micrometer")
    features = feature_table(LabelImage("threshold", np.ones((1, 1, 1), int), spatial, "objects", table))
    assert list(features) == ["index", "volume (µm³)", "centroid-0 (µm)", "centroid-1 (µm)", "centroid-2 (µm)"]


def test_volume_is_segmented_in_3d_with_its_scale(viewer, open_widget, run):
    image = viewer.add_image(blobs(3), scale=(2, 0.5, 0.5), units=("um",) * 3, name="blobs")
    widget = open_widget("Threshold")
    assert widget.inputs.axes == "ZYX"
    run(widget)
    np.testing.assert_array_equal(viewer.layers[-1].data > 0, two_boxes(3) > 0)
    np.testing.assert_allclose(_transform(viewer.layers[-1]), _transform(image))


def test_time_series_is_segmented_frame_by_frame_when_its_axis_says_so(viewer, open_widget, run):
    series = np.stack([blobs(), blobs() // 2])
    viewer.add_image(series, axis_labels=("t", "y", "x"), name="series")
    widget = open_widget("Threshold")
    assert widget.inputs.axes == "TYX"
    run(widget)
    np.testing.assert_array_equal(viewer.layers[-1].data[1] > 0, two_boxes() > 0)


def test_rgb_becomes_labels_without_channels(viewer, open_widget, run):
    rgb = np.stack([blobs()] * 3, axis=-1)
    image = viewer.add_image(rgb, rgb=True, scale=(0.5, 0.5), name="rgb")
    widget = open_widget("Threshold")
    run(widget)
    np.testing.assert_array_equal(viewer.layers[-1].data > 0, two_boxes() > 0)
    np.testing.assert_allclose(_transform(viewer.layers[-1]), _transform(image))


def test_labels_of_channels_between_time_and_plane_stay_on_the_time_slider(viewer, open_widget, run):
    stack = np.stack([np.stack([blobs(), blobs()])] * 3)  # (T, C, Y, X)
    viewer.add_image(stack, axis_labels=("t", "c", "y", "x"), scale=(1, 1, 0.5, 0.5), name="stack")
    run(open_widget("Threshold"))
    labels = viewer.layers[-1]
    assert labels.data.shape == (3, 1, 20, 24)
    for channel in (0, 1):
        assert labels.get_value((2, channel, 2.5, 2.5), world=True) == 1


def test_labels_with_a_place_for_channels_fit_the_image_again():
    from napari.layers import Labels

    layer = Labels(np.ones((3, 1, 20, 24), np.int32))
    assert labels_of(layer, "TCYX").shape == (3, 20, 24)


def test_multiscale_image_is_segmented_at_its_finest_level(viewer, open_widget, run):
    viewer.add_image([blobs(), blobs()[::2, ::2]], multiscale=True, contrast_limits=(0, 255), name="blobs")
    run(open_widget("Threshold"))
    assert viewer.layers[-1].data.shape == (20, 24)


def test_lazy_image_is_read_in_the_thread_only(viewer, open_widget, run):
    import threading

    readers = set()

    def read(block):
        readers.add(threading.current_thread().name)
        return block

    lazy = da.from_array(blobs(), chunks=(10, 24)).map_blocks(read, dtype=np.uint8, meta=np.empty((0, 0), np.uint8))
    viewer.add_image(lazy, contrast_limits=(0, 255), name="lazy")
    widget = open_widget("Threshold")
    readers.clear()
    run(widget)
    assert readers
    assert "MainThread" not in readers


def test_current_plane_only_leaves_the_others_empty(viewer, open_widget, run):
    viewer.add_image(blobs(3), name="blobs")
    widget = open_widget("Threshold")
    widget.region.plane_only.value = True
    viewer.dims.set_current_step(0, 2)
    run(widget)
    labels = viewer.layers[-1].data
    assert labels[2].any()
    assert not np.delete(labels, 2, axis=0).any()


def test_only_the_inside_of_shapes_is_labelled(viewer, open_widget, run):
    viewer.add_image(blobs(), name="blobs")
    viewer.add_shapes([[[0, 0], [0, 11], [10, 11], [10, 0]]], shape_type="rectangle", name="area")
    widget = open_widget("Threshold")
    widget.inputs.main.layer = viewer.layers["blobs"]
    widget.region.shapes.layer = viewer.layers["area"]
    run(widget)
    np.testing.assert_array_equal(viewer.layers[-1].data > 0, two_boxes() == 1)


def test_shapes_layer_without_shapes_is_said_in_the_widget(viewer, open_widget, run):
    viewer.add_image(blobs(), name="blobs")
    viewer.add_shapes(name="area")
    widget = open_widget("Threshold")
    widget.inputs.main.layer = viewer.layers["blobs"]
    widget.region.shapes.layer = viewer.layers["area"]
    run(widget)
    assert "has no shape that encloses an area" in widget.bar.message.text()


def test_outline_is_found_in_the_pixels_of_a_scaled_and_rotated_image():
    image = Image(blobs(), scale=(0.5, 0.5), rotate=ROTATED, translate=(1, 2))
    pixels = np.array([[2.0, 3], [2, 9], [8, 9], [8, 3]])
    shapes = Shapes([[image.data_to_world(pixel) for pixel in pixels]], shape_type="polygon")
    np.testing.assert_allclose(outlines_of(shapes, image, "YX")[0], pixels, atol=1e-9)


def test_ellipse_becomes_a_polygon_of_its_area():
    shapes = Shapes([[[0, 0], [0, 20], [10, 20], [10, 0]]], shape_type="ellipse")
    y, x = outlines_of(shapes, Image(blobs()), "YX")[0].T
    area = abs(np.dot(y, np.roll(x, 1)) - np.dot(x, np.roll(y, 1))) / 2
    assert area == pytest.approx(np.pi * 5 * 10, rel=0.002)


def test_only_selected_shapes_count_when_asked():
    shapes = Shapes([np.array([[0, 0], [0, 4], [4, 0]]), np.array([[9, 9], [9, 14], [14, 9]])], shape_type="polygon")
    shapes.selected_data = {1}
    (outline,) = outlines_of(shapes, Image(blobs()), "YX", selected_only=True)
    assert outline[0].tolist() == [9, 9]


def test_line_encloses_nothing():
    shapes = Shapes([np.array([[0, 0], [9, 9]])], shape_type="line")
    assert outlines_of(shapes, Image(blobs()), "YX") == ()


def test_plane_shown_is_an_index_of_the_layer_s_own_axes():
    layer = Image(np.zeros((4, 6, 5, 5)), scale=(1, 2, 1, 1))
    assert planes_shown(layer, "TZYX", (3.0, 6.0, 0.0, 0.0)) == {"T": 3, "Z": 3}


def test_placement_without_channels_has_one_entry_per_other_axis():
    layer = Image(np.zeros((2, 5, 6)), scale=(1, 0.5, 0.25), axis_labels=("c", "y", "x"))
    assert place(layer, "CYX").spatial.scale == (0.5, 0.25)


def test_result_in_napari_and_in_python_are_the_same_in_3d(viewer, open_widget, run):
    viewer.add_image(blobs(3), scale=(2, 1, 1), name="blobs")
    run(open_widget("Watershed"))
    expected = api.segment("watershed", blobs(3), spacing=(2, 1, 1)).labels
    np.testing.assert_array_equal(viewer.layers[-1].data, expected)


@pytest.fixture
def seeded(viewer, open_widget):
    """Region growing in a volume, from points without a Z; plane 2 is shown."""
    image = viewer.add_image(blobs(3), scale=(2, 1, 1), name="blobs")
    seeds = viewer.add_points([[5, 6]], name="seeds")
    widget = open_widget("Region growing")
    widget.inputs.main.layer, widget.inputs.boxes["seeds"].layer = image, seeds
    viewer.dims.set_current_step(0, 2)
    return widget


def test_points_without_z_lie_on_the_plane_shown(seeded):
    assert seeded.request().inputs["seeds"].tolist() == [[2, 5, 6]]


def test_it_is_said_where_points_without_z_were_put(seeded, run):
    run(seeded)
    assert "The 2-D points of 'seeds' were placed on the plane shown (Z 2)." in seeded.bar.message.text()


def test_points_without_z_seed_the_current_plane(seeded, viewer, run):
    seeded.region.plane_only.value = True
    run(seeded)
    assert viewer.layers[-1].data[2, 5, 6] == 1


def test_every_image_of_a_result_becomes_a_layer_named_after_what_it_shows():
    spatial = Spatial.with_spacing("YX", (0.5, 0.5), "micrometer")
    placement = Placement("YX", spatial, spatial)
    table = {"label": np.array([1]), "class": np.array(["sky"]), "kind": np.array(["stuff"])}
    classes = LabelImage("classes", np.ones((2, 3), np.int32), spatial, "classes", table)
    layer = result_layer(classes, placement, "cells · panoptic", {"tessera": 1}, 1)
    assert layer.name == "cells · panoptic · classes"
    assert layer.scale.tolist() == [0.5, 0.5]
    assert layer.features["class"].tolist() == ["background", "sky"]
    assert layer.metadata["tessera"]["taken"] == "classes"


def test_an_image_comes_before_what_was_made_of_it(viewer, open_widget):
    image = viewer.add_image(blobs(), name="blobs")
    viewer.add_image(blobs() / 255, name="blobs · u-net · nucleus", metadata={RECORD: {}})
    viewer.layers.selection.clear()
    assert open_widget("Threshold").inputs.main.layer is image

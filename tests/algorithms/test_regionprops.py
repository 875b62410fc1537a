import numpy as np
import pytest
from skimage.measure import regionprops

from napari_tessera.algorithms.regionprops import measure_objects
from napari_tessera.core.jobs import run_job

LABELS = np.array(
    [
        [0, 1, 1, 0, 0],
        [0, 1, 1, 0, 3],
        [0, 0, 0, 0, 3],
    ]
)
IMAGE = np.array(
    [
        [9, 1, 2, 9, 9],
        [9, 3, 4, 9, 7],
        [9, 9, 9, 9, 5],
    ],
    np.uint8,
)


def measured(labels, image=None, **context):
    return run_job(measure_objects(labels, image, **context))


def random_objects(shape, count):
    rng = np.random.default_rng(1)
    image = rng.normal(1000, 5, shape)
    labels = np.zeros(shape, np.int32)
    for number in range(1, count + 1):
        corner = [rng.integers(0, size - 4) for size in shape]
        labels[tuple(slice(start, start + rng.integers(2, 5)) for start in corner)] = number
    return labels, image


def test_one_row_for_each_label_that_occurs():
    assert measured(LABELS)["label"].tolist() == [1, 3]


def test_area_is_in_squares_of_the_unit():
    table = measured(LABELS, spacing=(0.5, 0.25))
    assert table["area"].tolist() == [4 * 0.125, 2 * 0.125]
    assert table["num_pixels"].tolist() == [4, 2]


def test_without_spacing_the_area_is_in_pixels():
    assert measured(LABELS)["area"].tolist() == [4, 2]


def test_in_3d_it_is_a_volume():
    assert measured(LABELS[None], spacing=(2.0, 1.0, 1.0))["area"].tolist() == [8, 4]


def test_the_centroid_is_in_the_unit_from_the_centre_of_the_first_pixel():
    table = measured(LABELS, spacing=(2.0, 1.0))
    assert table["centroid-0"].tolist() == [1.0, 3.0]
    assert table["centroid-1"].tolist() == [1.5, 4.0]


def test_the_bounding_box_ends_after_the_last_pixel():
    table = measured(LABELS)
    assert np.stack([table[f"bbox-{side}"] for side in range(4)], axis=1).tolist() == [[0, 1, 2, 3], [1, 4, 3, 5]]


def test_an_object_at_the_edge_is_marked():
    labels = np.pad([[1]], 1)
    assert measured(labels)["touches_edge"].tolist() == [False]
    assert measured(LABELS)["touches_edge"].tolist() == [True, True]


def test_intensities_are_those_of_the_objects_pixels():
    table = measured(LABELS, IMAGE)
    assert table["intensity_mean"].tolist() == [2.5, 6.0]
    assert table["intensity_min"].tolist() == [1, 5]
    assert table["intensity_max"].tolist() == [4, 7]
    assert table["intensity_std"] == pytest.approx([np.std([1, 2, 3, 4]), 1.0])


@pytest.mark.parametrize("channel_axis", [0, 1, 2])
def test_each_channel_has_its_own_columns(channel_axis):
    image = np.stack([IMAGE, 10 * IMAGE.astype(int)], axis=channel_axis)
    table = measured(LABELS, image, channel_axis=channel_axis)
    assert table["intensity_mean-0"].tolist() == [2.5, 6.0]
    assert table["intensity_mean-1"].tolist() == [25, 60]


def test_a_small_spread_on_a_large_value_keeps_its_digits():
    image = 1e9 + np.array([[0.0, 1.0]])
    assert measured(np.array([[1, 1]]), image)["intensity_std"] == pytest.approx([0.5])


def test_a_square_has_axes_longer_than_its_side_by_two_over_root_three():
    table = measured(np.ones((6, 6), int))
    assert table["axis_major_length"] == pytest.approx([6 * 2 / np.sqrt(3)])
    assert table["axis_minor_length"] == pytest.approx([6 * 2 / np.sqrt(3)])


@pytest.mark.parametrize("shape", [(40, 60), (12, 20, 30)])
def test_measures_agree_with_scikit_image(shape):
    labels, image = random_objects(shape, 12)
    table = measured(labels, image)
    regions = regionprops(labels, image)
    assert table["num_pixels"].tolist() == [region.area for region in regions]
    assert table["intensity_mean"] == pytest.approx([region.intensity_mean for region in regions])
    assert table["intensity_std"] == pytest.approx([image[labels == region.label].std() for region in regions])
    assert table["equivalent_diameter_area"] == pytest.approx([r.equivalent_diameter_area for r in regions])
    # scikit-image takes a pixel for a point; ours is a square or cube, whose own second moment is 1/12.
    longest = np.sqrt(table["axis_major_length"] ** 2 - 4 * (len(shape) + 2) / 12)
    assert longest == pytest.approx([region.axis_major_length for region in regions])


def test_no_object_gives_an_empty_table_with_all_columns():
    empty, full = measured(np.zeros((3, 3), int), IMAGE[:3, :3]), measured(LABELS, IMAGE)
    assert empty.keys() == full.keys()
    assert all(len(column) == 0 for column in empty.values())


def test_one_row_longer_than_a_chunk_is_measured_whole():
    labels = np.ones((1, 3 << 19), np.int32)
    assert measured(labels)["centroid-1"].tolist() == [((3 << 19) - 1) / 2]

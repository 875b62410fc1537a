import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.measure import regionprops_table

from napari_tessera.algorithms import regionprops
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


COLUMNS = (
    *("label", "num_pixels", "area", "equivalent_diameter_area", "axis_major_length", "axis_minor_length"),
    *("centroid", "bbox", "intensity_mean", "intensity_min", "intensity_max", "intensity_std"),
)


def axis_lengths(labels, size):
    """Return the longest and shortest axes of objects whose pixels are squares or cubes, of second moment 1/12."""
    points = [np.argwhere(labels == label) * size for label in np.unique(labels[labels > 0])]
    moments = [np.linalg.eigvalsh(np.cov(each.T, bias=True) + np.diag(size**2 / 12)) for each in points]
    return 2 * np.sqrt((labels.ndim + 2) * np.array(moments)[:, [-1, 0]].T)


def assert_agrees(labels, image, channel_axis=None, spacing=None):
    size = np.ones(labels.ndim) if spacing is None else np.array(spacing)
    table = measured(labels, image, channel_axis=channel_axis, spacing=spacing)
    theirs = regionprops_table(labels, image.astype(float), properties=COLUMNS, spacing=size)
    assert set(table) == {*theirs, "touches_edge"}
    theirs["axis_major_length"], theirs["axis_minor_length"] = axis_lengths(labels, size)
    for name, column in theirs.items():
        np.testing.assert_allclose(table[name], column, rtol=1e-6 if "axis" in name else 1e-9, atol=1e-9, err_msg=name)


@given(
    shape=st.sampled_from([(7, 9), (1, 12), (3, 5, 6)]),
    dtype=st.sampled_from(["uint8", "int16", "uint16", "int32", "uint64", "float32", "float64", "bool"]),
    n_channels=st.integers(0, 3),
    spacing=st.none() | st.lists(st.floats(0.1, 10), min_size=3, max_size=3),
    largest=st.sampled_from([1, 4, 20, 1000]),
    seed=st.integers(0, 2**32 - 1),
)
def test_table_agrees_with_regionprops_table(shape, dtype, n_channels, spacing, largest, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, largest, shape, np.int32, endpoint=True)
    labels.flat[0] = 1
    image = rng.integers(0, 250, shape + (n_channels,) * (n_channels > 0)).astype(dtype)
    assert_agrees(labels, image, len(shape) if n_channels else None, spacing and tuple(spacing[-len(shape) :]))


@pytest.mark.parametrize(("shape", "n_channels"), [((600, 300), 0), ((2, 260, 300), 3)])
def test_table_of_classes_agrees_with_regionprops_table(shape, n_channels):
    rng = np.random.default_rng(0)
    labels = rng.choice(np.array([0, 1, 2, 5], np.int32), shape)
    labels[..., :40] = 0
    image = rng.integers(3, 250, shape + (n_channels,) * (n_channels > 0)).astype(np.uint8)
    assert_agrees(labels, image, len(shape) if n_channels else None, (0.5, 2.0, 3.0)[-len(shape) :])


def test_axes_are_those_of_scikit_image_where_pixels_are_small():
    labels = np.kron(np.array([[1, 1, 1, 0], [0, 1, 1, 2], [0, 0, 2, 2]]), np.ones((40, 40), int))
    theirs = regionprops_table(labels, properties=("axis_major_length", "axis_minor_length"))
    for name, column in theirs.items():
        assert measured(labels)[name] == pytest.approx(column, rel=1e-3)


def test_labels_may_be_large():
    far, near = measured(LABELS * 2**40, IMAGE), measured(LABELS, IMAGE)
    assert far.pop("label").tolist() == [2**40, 3 * 2**40]
    for name, column in far.items():
        np.testing.assert_array_equal(column, near[name])


@pytest.mark.parametrize("strip_px", [1, 7, 60])
def test_strips_add_up_to_the_whole(monkeypatch, strip_px):
    labels, image = random_objects((12, 20, 30), 40)
    whole = measured(labels, image)
    monkeypatch.setattr(regionprops, "STRIP_PX", strip_px)
    for name, column in measured(labels, image).items():
        np.testing.assert_allclose(column, whole[name], rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_means_and_spreads_of_whole_numbers_are_exact(dtype):
    image = np.array([[np.iinfo(dtype).max, np.iinfo(dtype).max - 1] * 500], dtype)
    table = measured(np.ones_like(image, int), image)
    assert (table["intensity_mean"][0], table["intensity_std"][0]) == (np.iinfo(dtype).max - 0.5, 0.5)


def test_a_small_object_far_from_the_first_pixel_keeps_its_width():
    labels = np.zeros((2, 3 << 20), np.int32)
    labels[:, -2:] = 1
    side = 2 * 2 / np.sqrt(3)
    assert measured(labels)["axis_major_length"] == pytest.approx([side], rel=1e-12)
    assert measured(labels)["axis_minor_length"] == pytest.approx([side], rel=1e-12)


WIDE = {
    "float64 × 1e300": lambda image: image * 1e300,
    "float64 + 1e12": lambda image: image + 1e12,
    "uint64 + 2**60": lambda image: image.astype(np.uint64) + np.uint64(2**60),
    "int64 - 2**60": lambda image: image.astype(np.int64) - 2**60,
}


@pytest.mark.parametrize("change", WIDE.values(), ids=WIDE)
def test_wide_numbers_keep_their_means_and_spreads(change):
    image = change(IMAGE.astype(float))
    table = measured(LABELS, image)
    unit = 1e300 if image.max() > 1e299 else 1.0
    assert table["intensity_std"] == pytest.approx([np.std([1, 2, 3, 4]) * unit, unit])
    for name, of in {"mean": np.mean, "min": np.min, "max": np.max}.items():
        expected = [float(of(image[label == LABELS].astype(float) / unit)) * unit for label in (1, 3)]
        assert table[f"intensity_{name}"] == pytest.approx(expected, rel=1e-15)


def test_no_object_gives_an_empty_table_with_all_columns():
    empty, full = measured(np.zeros((3, 3), int), IMAGE[:3, :3]), measured(LABELS, IMAGE)
    assert empty.keys() == full.keys()
    assert all(len(column) == 0 for column in empty.values())


def test_one_row_longer_than_a_chunk_is_measured_whole():
    labels = np.ones((1, 3 << 19), np.int32)
    assert measured(labels)["centroid-1"].tolist() == [((3 << 19) - 1) / 2]


PRACTICE = """
import numpy as np
from napari_tessera.algorithms import regionprops
from napari_tessera.core.jobs import run_job
for side in (8, 300):
    run_job(regionprops.measure_objects(np.ones((side, side), np.int32), np.ones((side, side), np.uint8)))
    print(len(regionprops._add_blocks.signatures), len(regionprops._add_runs.signatures))
"""


def test_a_tiny_image_compiles_all_that_a_large_one_needs():
    said = subprocess.run([sys.executable, "-c", PRACTICE], check=True, capture_output=True, text=True).stdout
    assert said.split("\n")[:2] == ["1 1", "1 1"]

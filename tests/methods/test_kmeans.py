"""k-means on arrays small enough to draw, and its promises."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from skimage import color, data

import napari_tessera as tessera
from napari_tessera.algorithms.color import count_colours, to_cielab
from napari_tessera.algorithms.kmeans import SAMPLE_PX, fit_centres, inertia, sample_block
from napari_tessera.core import jobs as bands
from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import run_job

RED, GREEN, BLACK = (200, 0, 0), (0, 200, 0), (0, 0, 0)
TISSUE = data.immunohistochemistry()[::4, ::4]


def within_classes(image, labels):
    return sum(
        ((image[labels == label] - image[labels == label].mean(axis=0)) ** 2).sum() for label in set(labels.flat)
    )


def test_classes_are_numbered_from_dark_to_bright():
    image = np.array([[7, 90, 8], [200, 92, 7]], np.uint8)
    assert tessera.kmeans(image, n_clusters=3).tolist() == [[1, 2, 1], [3, 2, 1]]


def test_colours_are_ordered_by_luminance():
    image = np.array([[GREEN, RED], [BLACK, RED]], np.uint8)
    assert tessera.kmeans(image, n_clusters=3, channel_axis=2).tolist() == [[3, 2], [1, 2]]


def test_two_channels_are_ordered_by_their_mean():
    image = np.array([[[0, 90], [50, 0]]], np.uint8)
    assert tessera.kmeans(image, n_clusters=2, channel_axis=2).tolist() == [[2, 1]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint64, np.float32, np.float64])
def test_any_dtype_gives_the_same_classes(dtype):
    image = np.array([[7, 90, 8], [120, 92, 7]], dtype)
    assert tessera.kmeans(image, n_clusters=3).tolist() == [[1, 2, 1], [3, 2, 1]]


@pytest.mark.parametrize("image", [np.full((2, 3), 5, np.uint8), np.full((2, 2, 2), 0.5), np.zeros((1, 1), np.int32)])
def test_a_constant_image_is_one_class(image):
    assert (tessera.kmeans(image, n_clusters=4) == 1).all()


def test_fewer_colours_than_classes_give_a_class_each():
    image = np.array([[GREEN, RED], [BLACK, RED]], np.uint8)
    assert tessera.kmeans(image, n_clusters=20, channel_axis=2).tolist() == [[3, 2], [1, 2]]


def test_position_parts_equal_pixels():
    image = np.full((2, 6), 9, np.uint8)
    labels = tessera.kmeans(image, n_clusters=2, position_weight=1)
    assert (labels[:, :3] == labels[0, 0]).all()
    assert (labels[:, 3:] == 3 - labels[0, 0]).all()


def test_position_follows_the_spacing():
    image = np.full((4, 4), 9, np.uint8)
    labels = tessera.kmeans(image, n_clusters=2, position_weight=1, spacing=(10, 1))
    assert (labels[:2] == labels[0, 0]).all()
    assert (labels[2:] == 3 - labels[0, 0]).all()


def test_grey_values_get_the_best_classes_of_all():
    image = np.array([[1, 2, 4, 7], [11, 12, 12, 30]], np.uint8)
    ordered = np.sort(image, axis=None).astype(float)
    best = min(
        sum(((part - part.mean()) ** 2).sum() for part in np.split(ordered, cuts))
        for cuts in itertools.combinations(range(1, 8), 2)
    )
    assert within_classes(image.astype(float), tessera.kmeans(image, n_clusters=3)) == pytest.approx(best)


@pytest.mark.parametrize("features", ["channels", "intensity", "cielab"])
@pytest.mark.parametrize("position_weight", [0, 0.5])
def test_same_seed_same_labels(features, position_weight):
    options = {"features": features, "position_weight": position_weight, "channel_axis": 2, "seed": 3}
    first, second = (tessera.kmeans(TISSUE, **options) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("workers", [1, 5])
def test_any_number_of_threads_gives_the_same_labels(monkeypatch, workers):
    image = np.repeat(TISSUE.astype(np.float32), 20, axis=0)
    expected = tessera.kmeans(image, channel_axis=2, n_clusters=4)
    monkeypatch.setattr(bands, "worker_count", lambda: workers)
    np.testing.assert_array_equal(tessera.kmeans(image, channel_axis=2, n_clusters=4), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("options", [{}, {"position_weight": 0.5}, {"sigma": 1.5}, {"features": "cielab"}])
def test_blocks_get_the_labels_of_the_whole(dtype, options):
    image = TISSUE if dtype == np.uint8 else TISSUE.astype(dtype) / 255
    whole = tessera.segment("kmeans", image, axes="YXC", **options).labels
    np.testing.assert_array_equal(tessera.segment("kmeans", image, axes="YXC", blocks=50, **options).labels, whole)


def test_inertia_is_no_worse_than_that_of_scikit_learn():
    from sklearn import cluster

    pixels = TISSUE.reshape(-1, 3).astype(np.float64)
    theirs = cluster.KMeans(5, random_state=0).fit(pixels).inertia_
    labels = tessera.kmeans(TISSUE, n_clusters=5, channel_axis=2)
    assert within_classes(pixels, labels.reshape(-1)) <= 1.001 * theirs


def test_cielab_of_a_grey_image_is_refused():
    with pytest.raises(InputError, match="red, green and blue"):
        tessera.kmeans(np.zeros((3, 3), np.uint8), features="cielab")


def test_cielab_of_floats_beyond_white_is_refused():
    with pytest.raises(InputError, match="from 0 to 1"):
        tessera.kmeans(np.full((3, 3, 3), 2.0), features="cielab", channel_axis=2)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
def test_cielab_is_that_of_scikit_image(dtype):
    colours = TISSUE.reshape(-1, 3)
    colours = {np.uint8: colours, np.uint16: colours.astype(np.uint16) * 257, np.float64: colours / 255}[dtype]
    np.testing.assert_allclose(to_cielab(colours), color.rgb2lab(TISSUE.reshape(-1, 3)), atol=1e-3)


@given(pixels=arrays.arrays(np.uint8, st.tuples(st.integers(1, 30), st.integers(2, 3)), elements=st.integers(0, 3)))
@settings(max_examples=20, deadline=None)
def test_colours_are_counted_exactly_and_parts_add_up(pixels):
    colours, counts = np.unique(pixels, axis=0, return_counts=True)
    parts = [count_colours(part) for part in np.array_split(pixels, 2) if len(part)]
    found = parts[0] + parts[1] if len(parts) > 1 else parts[0]
    assert dict(zip(map(tuple, found.colours.tolist()), found.counts.tolist(), strict=True)) == dict(
        zip(map(tuple, colours.tolist()), counts.tolist(), strict=True)
    )


def test_sample_does_not_depend_on_the_blocks():
    image = np.arange(2 * SAMPLE_PX, dtype=np.float32).reshape(512, -1, 1)
    whole = sample_block(image, (0, 0), seed=1)
    parts = sample_block(image[300:], (300, 0), seed=1) + sample_block(image[:300], (0, 0), seed=1)
    assert len(whole.numbers) == SAMPLE_PX
    np.testing.assert_array_equal(parts.values, whole.values)
    np.testing.assert_array_equal(image[tuple(whole.positions.T)], whole.values)


def test_another_seed_draws_another_sample():
    image = np.arange(2 * SAMPLE_PX, dtype=np.float32).reshape(512, -1, 1)
    assert (sample_block(image, (0, 0), 1).values != sample_block(image, (0, 0), 2).values).any()


@given(
    points=arrays.arrays(np.float64, st.tuples(st.integers(1, 200), st.integers(1, 4)), elements=st.integers(0, 20)),
    n_clusters=st.integers(2, 6),
)
@settings(max_examples=30, deadline=None)
def test_skipping_tiles_changes_no_centre(points, n_clusters):
    points = np.unique(points, axis=0)
    weights = np.arange(1.0, len(points) + 1)
    centres = run_job(fit_centres(points, weights, n_clusters, restarts=2, seed=0))
    distances = ((points[:, np.newaxis] - centres) ** 2).sum(axis=2)
    assert len(centres) == min(n_clusters, len(points))
    assert inertia(points, weights, centres) == pytest.approx(distances.min(axis=1) @ weights)
    means = [np.average(points[own], axis=0, weights=weights[own]) for own in _shares(distances, len(centres))]
    assert inertia(points, weights, np.array(means)) <= inertia(points, weights, centres) + 1e-9


def _shares(distances, n_clusters):
    nearest = distances.argmin(axis=1)
    return [nearest == number for number in range(n_clusters)]

"""What of an image is no image changes nothing for the methods: the rest has the labels that it has alone."""

from __future__ import annotations

import numpy as np
import pytest

import napari_tessera as tessera

MARGIN = 30
INSIDE = (slice(MARGIN, -MARGIN),) * 2


def cells() -> np.ndarray:
    """Bright discs on a dim, noisy slope."""
    y, x = np.mgrid[:120, :150]
    image = np.random.default_rng(0).normal(20, 2, y.shape) + x / 20
    for row, column in ((25, 25), (25, 80), (60, 50), (95, 30), (90, 100), (60, 120)):
        image += 60 * (np.hypot(y - row, x - column) < 11)
    return image.astype(np.float32)


def in_nan(image: np.ndarray) -> np.ndarray:
    return np.pad(image, MARGIN, constant_values=np.nan)


EXACT = [
    ("threshold", {}),
    ("threshold", {"method": "li", "output": "objects"}),
    ("threshold", {"method": "multi-otsu"}),
    ("kmeans", {"n_clusters": 3}),
    ("region_growing", {"sigma": 0}),
    ("region_growing", {"criterion": "competing", "sigma": 0}),
]


def arguments(method: str, settings: dict) -> tuple[dict, dict]:
    """Return the settings for the image alone and for the padded one, seeds included."""
    seeds = np.array([[25, 25], [60, 50], [5, 5]], float)
    if method != "region_growing":
        return settings, settings
    return {**settings, "seeds": seeds}, {**settings, "seeds": seeds + MARGIN}


@pytest.mark.parametrize("blocks", [False, 64])
@pytest.mark.parametrize(("method", "settings"), EXACT)
def test_an_image_in_a_frame_of_nan_has_the_labels_that_it_has_alone(method, settings, blocks):
    if blocks and method == "region_growing":
        pytest.skip("Region growing needs the whole image.")
    alone, padded = arguments(method, settings)
    expected = np.asarray(tessera.segment(method, cells(), axes="YX", blocks=blocks, **alone).labels)
    found = np.asarray(tessera.segment(method, in_nan(cells()), axes="YX", blocks=blocks, **padded).labels)
    np.testing.assert_array_equal(found[INSIDE], expected)
    assert np.count_nonzero(found) == np.count_nonzero(expected)


@pytest.mark.parametrize("blocks", [False, 64])
def test_watershed_finds_the_same_objects_in_a_frame_of_nan(blocks):
    expected = np.asarray(tessera.segment("watershed", cells(), axes="YX", blocks=blocks).labels)
    found = np.asarray(tessera.segment("watershed", in_nan(cells()), axes="YX", blocks=blocks).labels)
    scores = tessera.evaluate(expected, found[INSIDE], thresholds=(0.9,))
    assert scores["ap"]["0.90"] == 1
    assert found.max() == expected.max() == 6


def test_the_sample_of_kmeans_leaves_out_what_is_no_image():
    colours = np.stack([cells(), cells()[::-1], cells() + 3, cells()[:, ::-1]], -1)
    padded = np.pad(colours, ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)), constant_values=np.nan)
    alone, framed = (tessera.segment("kmeans", image, axes="YXC").labels for image in (colours, padded))
    assert (framed[INSIDE] == alone).mean() > 0.99


def test_superpixels_are_as_many_as_in_the_image_alone():
    alone, framed = (
        tessera.segment("superpixels", image, axes="YX", n_segments=60).labels for image in (cells(), in_nan(cells()))
    )
    assert 0.8 * alone.max() <= framed.max() <= 1.5 * alone.max()  # some are cut at the border
    assert np.count_nonzero(framed) == alone.size


def test_texture_is_measured_in_the_image_alone():
    seeds = np.array([[25.0, 25.0], [5.0, 140.0]])
    settings = {"feature": "texture", "criterion": "competing", "texture_radius": 4}
    alone = tessera.segment("region_growing", cells(), axes="YX", seeds=seeds, **settings).labels
    framed = tessera.segment("region_growing", in_nan(cells()), axes="YX", seeds=seeds + MARGIN, **settings).labels
    assert (framed[INSIDE] == alone).mean() > 0.95
    assert np.count_nonzero(framed) == alone.size

"""Positions in tables are those in the whole image, whatever part of it was worked on."""

import numpy as np
import pytest

import napari_tessera as tessera
from napari_tessera.core.region import Crop, Region
from napari_tessera.engine.run import in_whole_image


def test_notes_of_a_film_name_the_frames_that_have_them():
    film = np.random.default_rng(0).normal(100, 9, (4, 40, 50)).astype(np.float32)
    film[1, :, :5], film[3, :, :10] = np.nan, np.nan
    for blocks in (None, 32):
        (note,) = notes_on_nan(film, blocks)
        assert note.startswith("20 % of the pixels are not image (NaN or infinite)")
        assert note.endswith("(At T 3, where the numbers are highest; also at T 1.)")
    film[1] = film[3]
    (note,) = notes_on_nan(film)
    assert note.endswith("(At T 1 and T 3.)")


def notes_on_nan(film, blocks=None):
    return [note for note in tessera.segment("threshold", film, axes="TYX", blocks=blocks).notes if "NaN" in note]


def test_an_axis_of_length_one_makes_no_volume():
    plane = one_box()
    flat = tessera.segment("threshold", plane, output="objects", spacing=0.5)
    for spacing in (0.5, (2.0, 0.5, 0.5), (0.5, 0.5)):
        result = tessera.segment("threshold", plane[None], axes="ZYX", output="objects", spacing=spacing, unit="µm")
        np.testing.assert_array_equal(result.labels[0], flat.labels)
        assert result.table["area"].tolist() == flat.table["area"].tolist() == [150 / 4]
        assert result.units["area"] == "µm²"
        assert result.table["z"].tolist() == [0]
        np.testing.assert_array_equal(tessera.run(result.provenance, plane[None]).labels, result.labels)
        assert tessera.run(result.provenance, np.stack([plane] * 3)).labels.shape == (3, 60, 60)
    grown = tessera.segment("region_growing", plane[None], axes="ZYX", seeds=np.array([[0, 44, 35]]))
    np.testing.assert_array_equal(grown.labels[0], tessera.region_growing(plane, np.array([[44, 35]]))[0])


INSIDE = np.array([[30, 20], [30, 58], [58, 58], [58, 20]], float)


def one_box(planes=None):
    """One bright box, rows 40 to 49 and columns 30 to 44; in a stack on all planes."""
    image = np.zeros((*(() if planes is None else (planes,)), 60, 60), np.uint8)
    image[..., 40:50, 30:45] = 200
    return image


def threshold(image, **options):
    return tessera.segment("threshold", image, output="objects", **options).table


@pytest.mark.parametrize("column", ["bbox-0", "bbox-3", "centroid-0", "centroid-1"])
def test_positions_within_an_outline_are_those_in_the_image(column):
    size = {"spacing": (0.5, 0.25), "unit": "µm"}
    region = Region({}, (INSIDE,))
    assert threshold(one_box(), region=region, **size)[column] == threshold(one_box(), **size)[column]


def test_table_of_a_plane_says_which_plane():
    table = threshold(one_box(4), axes="ZYX", region=Region({"Z": 2}))
    assert table["z"].tolist() == [2]
    assert table["bbox-0"].tolist() == [40]


def test_boxes_are_moved_along():
    crop = Crop("ZYX", (slice(0, 4), slice(30, 60), slice(20, 60)), None)
    table = {"label": np.array([1]), "box_z0": np.array([1.0]), "box_y0": np.array([2.5]), "box_x1": np.array([9.0])}
    moved = in_whole_image(table, crop, {})
    assert (moved["box_z0"], moved["box_y0"], moved["box_x1"]) == (1.0, 32.5, 29.0)


def test_what_is_no_position_stays():
    crop = Crop("YX", (slice(30, 60), slice(20, 60)), None)
    table = {"label": np.array([1]), "num_pixels": np.array([150]), "score": np.array([0.5])}
    assert in_whole_image(table, crop, {}) == table

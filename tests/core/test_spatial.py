"""Placement of an image: one unit for sizes along all axes, and axes that are removed or reordered."""

import numpy as np
import pytest

import napari_tessera as tessera
from napari_tessera.core.errors import InputError
from napari_tessera.core.spatial import Layout, Spatial, check_spacing
from napari_tessera.io import read_labels
from napari_tessera.io.ome_zarr import write_ome_zarr


def volume_in(*units, scale=(2.0, 0.5, 0.5)):
    return Spatial("ZYX", scale, (0.0,) * 3, units)


def two_cubes():
    image = np.zeros((8, 16, 16), np.uint8)
    image[2:5, 2:6, 2:6] = image[2:5, 10:14, 10:14] = 200
    return image


@pytest.mark.parametrize(
    ("unit", "size"),
    [("nanometer", 2000), ("nm", 2000), ("millimeter", 0.002), ("dm", 2e-5), ("centimetre", 2e-4), ("angstrom", 2e4)],
)
def test_sizes_are_in_the_unit_of_the_last_axis(unit, size):
    spatial = volume_in(unit, "micrometer", "micrometer", scale=(size, 0.5, 0.5))
    assert spatial.unit == "micrometer"
    assert spatial.spacing == pytest.approx((2.0, 0.5, 0.5), rel=1e-12)


def test_one_unit_is_left_as_it_is():
    spatial = volume_in("parsec", "parsec", "parsec")
    assert (spatial.spacing, spatial.unit) == ((2.0, 0.5, 0.5), "parsec")


def test_the_same_length_in_other_units_gives_the_same_table():
    image = two_cubes()
    one = tessera.segment("threshold", image, output="objects", spatial=volume_in(*["micrometer"] * 3))
    mixed = volume_in("nanometer", "micrometer", "micrometer", scale=(2000, 0.5, 0.5))
    other = tessera.segment("threshold", image, output="objects", spatial=mixed)
    assert other.units["area"] == one.units["area"] == "µm³"
    np.testing.assert_allclose(other.table["area"], one.table["area"])
    np.testing.assert_allclose(other.table["centroid-0"], one.table["centroid-0"])


def test_a_unit_that_is_no_length_is_refused():
    with pytest.raises(InputError, match=r"Z in second, Y in micrometer.*'second' is no unit of length"):
        tessera.segment("threshold", two_cubes(), spatial=volume_in("second", "micrometer", "micrometer"))


def test_an_axis_without_a_unit_makes_all_sizes_pixels_and_a_note():
    result = tessera.segment("threshold", two_cubes(), spatial=volume_in("pixel", "micrometer", "micrometer"))
    assert result.units["area"] == "px³"
    assert result.table["area"].sum() == 96
    assert any("not known along Z" in note for note in result.notes)


def test_pixels_a_thousand_times_as_long_as_wide_are_refused():
    with pytest.raises(InputError, match="50,000 times as long"):
        check_spacing((1e-5, 0.5, 0.5), Layout("ZYX"))


def test_sizes_may_be_given_by_axis_in_small_letters():
    assert check_spacing({"z": 1, "Y": 0.5, "x": 0.25}, Layout("ZYX")) == (1, 0.5, 0.25)
    assert check_spacing({"T": 5, "z": 1, "y": 0.5, "x": 0.25}, Layout("TYX")) == (0.5, 0.25)


@pytest.mark.parametrize(
    ("spacing", "words"),
    [
        ({"z": 1, "y": 0.5, "q": 3}, "has 'q', which is no axis of the image, and lacks X"),
        ({"z": 1}, "lacks Y and X"),
        ({"z": 1, "y": 0.5, "x": 1, 7: 3}, "has 7, which is no axis of the image"),
    ],
)
def test_unknown_and_missing_axes_of_sizes_are_named(spacing, words):
    with pytest.raises(InputError, match=f"`spacing` {words}: "):
        check_spacing(spacing, Layout("ZYX"))


def test_removing_an_axis_keeps_the_others():
    spatial = Spatial(
        "TYX", (5, 2, 3), (1, 2, 3), ("second", "nm", "nm"), affine=tuple(map(tuple, np.diag([5, 2, 3, 1])))
    )
    left = spatial.without("T")
    assert (left.axes, left.scale, left.translate, left.units) == ("YX", (2, 3), (2, 3), ("nm", "nm"))
    assert np.array_equal(left.affine, np.diag([2, 3, 1]))


def test_mirrored_and_stretched_images_are_measured_by_the_lengths_of_their_pixels():
    mirrored = volume_in(*["µm"] * 3, scale=(-2.0, 0.5, -0.5))
    assert mirrored.spacing == (2.0, 0.5, 0.5)
    turned = ((0.0, -1.0), (1.0, 0.0))
    affine = ((3.0, 0.0, 7.0), (0.0, 1.0, 9.0), (0.0, 0.0, 1.0))
    stretched = Spatial("YX", (0.5, 0.5), (0.0, 0.0), ("µm", "µm"), rotate=turned, affine=affine)
    assert stretched.spacing == pytest.approx((0.5, 1.5))


def test_a_mirrored_image_gives_positive_areas():
    spatial = volume_in(*["µm"] * 3, scale=(-2.0, 0.5, -0.5))
    result = tessera.segment("threshold", two_cubes(), output="objects", spatial=spatial)
    assert result.table["area"].sum() == pytest.approx(96 * 0.5)
    assert result.images[0].spatial.scale == (-2.0, 0.5, -0.5)


def test_a_mirrored_axis_of_an_ome_zarr_stays_mirrored(tmp_path):
    spatial = Spatial("YX", (0.5, -0.25), (3.0, 8.0), ("micrometer",) * 2)
    write_ome_zarr(tmp_path / "a.zarr", np.ones((4, 6), np.int32), spatial, "mirrored")
    read = read_labels(tmp_path / "a.zarr").spatial
    assert (read.scale, read.translate) == ((0.5, -0.25), (3.0, 8.0))

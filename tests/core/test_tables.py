import pytest

from napari_tessera.core.result import column_units, position_columns
from napari_tessera.core.spatial import Spatial


def names(ndim):
    return ["label", "area", "axis_major_length", *(f"centroid-{axis}" for axis in range(ndim)), "bbox-0", "box_y0"]


@pytest.mark.parametrize(("ndim", "power"), [(2, "²"), (3, "³")])
def test_units_follow_the_image(ndim, power):
    units = column_units(names(ndim), Spatial.with_spacing("ZYX"[-ndim:], (0.5,) * ndim, "micrometer"))
    assert (units["area"], units["axis_major_length"], units["centroid-1"]) == (f"µm{power}", "µm", "µm")
    assert (units["bbox-0"], units["box_y0"]) == ("px", "px")
    assert "label" not in units


def test_a_plane_of_a_volume_has_areas():
    assert column_units(names(2), Spatial.with_spacing("ZYX", (2, 1, 1), "nanometer"))["area"] == "nm²"


@pytest.mark.parametrize(("size", "unit"), [(1.0, "px²"), (2.0, "unit²")])
def test_a_spacing_of_unknown_unit_is_not_called_pixels(size, unit):
    assert column_units(names(2), Spatial.with_spacing("YX", (size, size)))["area"] == unit


def test_positions_are_along_axes_of_space():
    assert position_columns("ZYX")["bbox-4"] == "Y"
    assert position_columns("YX")["bbox-2"] == position_columns("ZYX")["box_y1"] == "Y"

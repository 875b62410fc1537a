"""What columns of a table hold: units beside their names, titles for people, and positions in pixels."""

from __future__ import annotations

from collections.abc import Iterable

from napari_tessera.core.spatial import PIXEL, SHORT_UNITS, Spatial

PX = SHORT_UNITS[PIXEL]
LENGTHS = ("equivalent_diameter_area", "axis_major_length", "axis_minor_length")


def column_units(columns: Iterable[str], spatial: Spatial) -> dict[str, str]:
    """Return the unit of each column that has one.

    Examples
    --------
    >>> micrometres = Spatial.with_spacing("YX", (0.5, 0.5), "micrometer")
    >>> column_units(["label", "area", "centroid-0", "centroid-1", "bbox-0", "intensity_mean"], micrometres)
    {'area': 'µm²', 'centroid-0': 'µm', 'centroid-1': 'µm', 'bbox-0': 'px'}
    """
    columns = list(columns)
    length = _length_unit(spatial)
    centroids = [f"centroid-{axis}" for axis in range(3) if f"centroid-{axis}" in columns]
    units = dict.fromkeys((*LENGTHS, *centroids), length)
    units |= {"area": length + ("³" if len(centroids) == 3 else "²")}
    units |= dict.fromkeys(position_columns("ZYX"), PX)
    return {name: units[name] for name in columns if name in units}


def column_title(column: str, unit: str = "") -> str:
    """Return a column's name with its unit, for people.

    Examples
    --------
    >>> column_title("area", "µm²"), column_title("area", "µm³"), column_title("label")
    ('area (µm²)', 'volume (µm³)', 'label')
    """
    name = "volume" if column == "area" and unit.endswith("³") else column
    return f"{name} ({unit})" if unit else name


def position_columns(space: str) -> dict[str, str]:
    """Return the columns that hold positions in pixels, with the axis of each: of measured boxes, and of a network's.

    Examples
    --------
    >>> list(position_columns("YX").items())[:5]
    [('bbox-0', 'Y'), ('bbox-1', 'X'), ('bbox-2', 'Y'), ('bbox-3', 'X'), ('box_y0', 'Y')]
    """
    measured = {f"bbox-{place}": axis for place, axis in enumerate(2 * space)}
    return measured | {f"box_{axis.lower()}{end}": axis for axis in space for end in (0, 1)}


def _length_unit(spatial: Spatial) -> str:
    if spatial.unit != PIXEL:
        return SHORT_UNITS.get(spatial.unit, spatial.unit)
    return PX if set(spatial.spacing) <= {1.0} else "unit"

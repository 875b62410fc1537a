"""Names of units: one spelling inside, each format's own outside."""

from __future__ import annotations

import re

from napari_tessera.escaping import visible
from napari_tessera.spatial import PIXEL

_SPELLINGS = {
    "angstrom": ("å", "Å", "a"),
    "nanometer": ("nm", "nanometre", "nanometers", "nanometres"),
    "micrometer": (
        "µm", "μm", "um", "micron", "microns", "micrometre", "micrometers", "micrometres", "\\u00b5m", "\\u03bcm",
    ),
    "millimeter": ("mm", "millimetre", "millimeters", "millimetres"),
    "centimeter": ("cm", "centimetre", "centimeters", "centimetres"),
    "meter": ("m", "metre", "meters", "metres"),
    "inch": ("in", "inches"),
    "millisecond": ("ms", "msec", "milliseconds"),
    "second": ("s", "sec", "seconds"),
    "minute": ("min", "minutes"),
    "hour": ("h", "hr", "hours"),
    PIXEL: ("px", "pixels", "voxel", "voxels", ""),
}  # fmt: skip
_NAMES = {spelling: name for name, spellings in _SPELLINGS.items() for spelling in (name, *spellings)}

_OME_SYMBOLS = {
    "angstrom": "Å", "nanometer": "nm", "micrometer": "µm", "millimeter": "mm", "centimeter": "cm", "meter": "m",
    "inch": "in", "millisecond": "ms", "second": "s", "minute": "min", "hour": "h", PIXEL: "pixel",
}  # fmt: skip

ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")


def unit_name(text: str | None) -> str:
    r"""Return the full English name ("micrometer"), as OME-Zarr and napari write it; unknown units stay as they are.

    Examples
    --------
    >>> unit_name("µm"), unit_name("micron"), unit_name(None)
    ('micrometer', 'micrometer', 'pixel')
    """
    text = ESCAPED.sub(lambda found: chr(int(found[1], 16)), (text or "").strip().strip("\0"))
    return _NAMES.get(text.lower(), visible(text))


def ome_symbol(unit: str) -> str | None:
    """Return the symbol that OME-XML demands ("µm"), or None for a unit that it does not know."""
    return _OME_SYMBOLS.get(unit)


def imagej_unit(unit: str) -> str:
    """Return the unit as ImageJ writes it, in ASCII, with other letters as in Java."""
    symbol = {"micrometer": "um", "angstrom": "angstrom", "inch": "inch", "second": "sec"}
    text = symbol.get(unit) or ome_symbol(unit) or unit
    return "".join(each if each.isascii() else f"\\u{ord(each):04x}" for each in text)

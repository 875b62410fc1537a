"""Axes of an image, their check or guess, and `Spatial`, the placement of an array: pixel size, rotation, units."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import Any

import numpy as np

from napari_tessera.core.errors import InputError, short, visible

Matrix = tuple[tuple[float, ...], ...]

SPATIAL_AXES = "ZYX"
LONGEST_UNIT = 80
"""Characters."""
PIXEL = "pixel"
PREFIXES = {"pico": "p", "nano": "n", "milli": "m", "centi": "c", "deci": "d", "kilo": "k", "": ""}
SPELLINGS = {
    "angstrom": ("Å", "å", "a", "ångström", "angstroms"),
    **{
        f"{prefix}meter": (f"{letter}m", f"{prefix}metre", f"{prefix}meters", f"{prefix}metres")
        for prefix, letter in PREFIXES.items()
    },
    "micrometer": ("µm", "μm", "um", "micron", "microns", "micrometre", "micrometers", "micrometres"),
    "inch": ("in", "inches"),
    "foot": ("ft", "feet"),
    "millisecond": ("ms", "msec", "milliseconds"),
    "second": ("s", "sec", "seconds"),
    "minute": ("min", "minutes"),
    "hour": ("h", "hr", "hours"),
    PIXEL: (PIXEL, "px", "pixels", "voxel", "voxels", ""),
}
"""Ways to write a unit in a file, the symbol of OME-XML first."""
NAMES = {spelling: name for name, spellings in SPELLINGS.items() for spelling in (name, *spellings)}
SHORT_UNITS = {spelling: SPELLINGS[name][0] for spelling, name in NAMES.items()} | {PIXEL: "px"}
"""Symbols for tables and notes."""
ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")
METRES = {
    "picometer": Fraction(1, 10**12),
    "angstrom": Fraction(1, 10**10),
    "nanometer": Fraction(1, 10**9),
    "micrometer": Fraction(1, 10**6),
    "millimeter": Fraction(1, 1000),
    "centimeter": Fraction(1, 100),
    "decimeter": Fraction(1, 10),
    "meter": Fraction(1),
    "kilometer": Fraction(1000),
    "inch": Fraction(254, 10000),
    "foot": Fraction(3048, 10000),
}
"""Length of each unit of length, in metres."""


def unit_name(text: str | None) -> str:
    r"""Return the full English name ("micrometer") as in OME-Zarr and napari; unknown units are returned unchanged.

    Examples
    --------
    >>> unit_name("µm"), unit_name("micron"), unit_name(None)
    ('micrometer', 'micrometer', 'pixel')
    """
    text = ESCAPED.sub(lambda found: chr(int(found[1], 16)), (text or "").strip().strip("\0"))
    return NAMES[text.lower()] if text.lower() in NAMES else visible(text)


def metres(unit: str) -> Fraction | None:
    """Return the length of a unit in metres; None if it is no unit of length, or unknown."""
    return METRES.get(unit_name(unit))


def check_unit(unit: str) -> None:
    """Raise an `InputError` if a unit of the pixel size is neither a length nor "pixel"."""
    if metres(unit) is None and unit_name(unit) != PIXEL:
        raise InputError(
            f"{short(unit)} is no unit of length that is known; use {', '.join(METRES)} or {PIXEL}, or its symbol."
        )


@dataclass(frozen=True)
class Spatial:
    """Placement of an array; every field has one entry per array axis (a channel axis is never among them).

    Attributes
    ----------
    axes : str
        One letter per axis, such as "ZYX".
    scale : tuple of float
        Size of a pixel along each axis.
    translate : tuple of float
        World position of the first pixel.
    units : tuple of str
        Unit of each axis; "pixel" where it is not known.
    rotate, shear : tuple of tuple of float or None
        (n, n) matrices as napari defines them.
    affine : tuple of tuple of float or None
        (n + 1, n + 1) matrix applied after the others.
    axis_labels : tuple of str
        The names a viewer shows; empty means the letters of `axes`.
    """

    axes: str
    scale: tuple[float, ...]
    translate: tuple[float, ...]
    units: tuple[str, ...]
    rotate: Matrix | None = None
    shear: Matrix | None = None
    affine: Matrix | None = None
    axis_labels: tuple[str, ...] = ()

    @classmethod
    def plain(cls, axes: str) -> Spatial:
        """Place an array with pixel size 1 at the origin."""
        return cls(axes, (1.0,) * len(axes), (0.0,) * len(axes), (PIXEL,) * len(axes))

    @classmethod
    def with_spacing(cls, axes: str, spacing: Sequence[float] | None, unit: str = PIXEL) -> Spatial:
        """Place an array with a pixel size for each spatial axis, in the order of `axes`."""
        plain = cls.plain(axes)
        if spacing is None:
            return plain
        size = dict(zip(spatial_axes(axes), spacing, strict=True))
        return replace(
            plain,
            scale=tuple(float(size.get(axis, 1.0)) for axis in axes),
            units=tuple(unit if axis in size else PIXEL for axis in axes),
        )

    @property
    def spacing(self) -> tuple[float, ...]:
        """Pixel size along the spatial axes only, in the order of `axes` and all in `unit`; 1 if it is not known."""
        entries = self._spatial_entries()
        own = [unit for _, _, unit in entries]
        if len(set(own)) == 1:
            return tuple(abs(size) for _, size, _ in entries)
        target = metres(self.unit)
        if target is None:
            return (1.0,) * len(entries)
        factors = [(metres(unit) or target) / target for unit in own]
        return tuple(float(abs(Fraction(size)) * factor) for (_, size, _), factor in zip(entries, factors, strict=True))

    @property
    def unit(self) -> str:
        """Unit of the spatial axes; that of the last one if all are lengths, or "pixel" if they cannot be converted."""
        own = [unit for _, _, unit in self._spatial_entries()]
        if not own or (len(set(own)) > 1 and None in map(metres, own)):
            return PIXEL
        return own[-1]

    def _spatial_entries(self) -> list[tuple[str, float, str]]:
        """Return letter, size and unit of each spatial axis; an affine matrix may change the size."""
        stretch = np.ones(len(self.axes))
        if self.affine is not None:
            turned = np.eye(len(self.axes)) if self.rotate is None else np.asarray(self.rotate)
            stretch = np.linalg.norm(np.asarray(self.affine)[:-1, :-1] @ turned, axis=0)
            stretch[np.isclose(stretch, 1, rtol=1e-9)] = 1
        sizes = (float(size * factor) for size, factor in zip(self.scale, stretch, strict=True))
        entries = zip(self.axes, sizes, self.units, strict=True)
        return [entry for entry in entries if entry[0] in SPATIAL_AXES]

    def check_units(self) -> None:
        """Raise an `InputError` if the spatial axes have different units, one of which is no length."""
        own = [(axis, unit) for axis, _, unit in self._spatial_entries()]
        wrong = [(axis, unit) for axis, unit in own if metres(unit) is None and unit_name(unit) != PIXEL]
        if len({unit for _, unit in own}) > 1 and wrong:
            units = ", ".join(f"{axis} in {unit}" for axis, unit in own)
            raise InputError(
                f"The pixel size has different units ({units}), and {wrong[0][1]!r} is no unit of length that is known."
                " Give the pixel size along each axis in one unit (spacing and unit)."
            )

    @property
    def unknown_axes(self) -> str:
        """Spatial axes without a unit, if others have one: then all sizes are in pixels."""
        own = [(axis, unit_name(unit)) for axis, _, unit in self._spatial_entries()]
        unknown = "".join(axis for axis, unit in own if unit == PIXEL)
        return unknown if len(unknown) < len(own) else ""

    @property
    def anisotropy(self) -> float:
        """Distance of planes along Z divided by the pixel size along X; 1 in 2-D. Units are checked and converted."""
        self.check_units()
        sizes = dict(zip(spatial_axes(self.axes), self.spacing, strict=True))
        return sizes["Z"] / sizes["X"] if "Z" in sizes else 1.0

    def without(self, axis: str) -> Spatial:
        """Remove one axis."""
        return self.reordered(self.axes.replace(axis, ""))

    def reordered(self, axes: str) -> Spatial:
        """Reorder the axes; those that `axes` lacks are removed."""
        order = [self.axes.index(axis) for axis in axes]
        return Spatial(
            axes,
            _picked(self.scale, order),
            _picked(self.translate, order),
            _picked(self.units, order),
            _picked_both(self.rotate, order),
            _picked_both(self.shear, order),
            _picked_both(self.affine, [*order, len(self.axes)]),
            _picked(self.axis_labels, order) if self.axis_labels else (),
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain lists and numbers."""
        return {field.name: _listed(getattr(self, field.name)) for field in fields(self)}


def spatial_axes(axes: str) -> str:
    """Return the spatial letters of `axes`, in their order."""
    return "".join(axis for axis in axes if axis in SPATIAL_AXES)


def as_matrix(values: Any) -> Matrix:
    """Return a 2-D array as nested tuples of float."""
    return tuple(tuple(float(value) for value in row) for row in np.asarray(values))


def _picked(values: tuple[Any, ...], order: Sequence[int]) -> tuple[Any, ...]:
    return tuple(values[place] for place in order)


def _picked_both(matrix: Matrix | None, order: Sequence[int]) -> Matrix | None:
    return None if matrix is None else as_matrix(np.asarray(matrix)[np.ix_(order, order)])


def _listed(value: Any) -> Any:
    return [_listed(item) for item in value] if isinstance(value, tuple) else value


CHANNEL = "C"
LARGEST_RGB_CHANNELS = 4
LEAST_SIDE_OF_COLOURS = 31
"""An image of any dtype with at least this many pixels may be in colour, as in napari; 8-bit images at any size."""

SMALLEST_PIXEL, LARGEST_PIXEL = 1e-15, 1e15
"""Sizes of a pixel, in any unit."""
MOST_ELONGATED = 1000
"""Largest ratio of two sides of a pixel. Beyond, a few pixels along one axis are millions along another."""


@dataclass(frozen=True)
class Layout:
    """The axes of an image and their working order: axes processed one index at a time, then space, then channels."""

    axes: str  # one letter per axis of the image as given, such as "TCZYX"
    has_one_plane: bool = False  # Z has length 1: the image is a plane, and no volume

    @property
    def loops(self) -> str:
        """Axes processed one index at a time (time, position, …)."""
        return "".join(axis for axis in self.axes if axis not in self.space + CHANNEL)

    @property
    def space(self) -> str:
        """Axes segmented together, in the order z, y, x."""
        return "".join(axis for axis in SPATIAL_AXES[self.has_one_plane :] if axis in self.axes)

    @property
    def has_channels(self) -> bool:
        """Whether the image has a channel axis."""
        return CHANNEL in self.axes

    @property
    def label_axes(self) -> str:
        """Axes of the label image: those of the image without the channels."""
        return self.axes.replace(CHANNEL, "")

    def to_working(self, array: Any) -> Any:
        """Bring a NumPy or dask array with the image's (or the label image's) axes into working order."""
        axes = self.axes if array.ndim == len(self.axes) else self.label_axes
        wanted = self.loops + self.space + (CHANNEL if CHANNEL in axes else "")
        return array.transpose([axes.index(axis) for axis in wanted])

    def from_working(self, labels: np.ndarray) -> np.ndarray:
        """Bring labels in working order back to the order of the image's axes; axes before them stay in front."""
        working = self.loops + self.space
        in_front = labels.ndim - len(working)
        return labels.transpose([*range(in_front), *(in_front + working.index(axis) for axis in self.label_axes)])

    def label_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Shape of the label image of an image of `shape`."""
        return tuple(size for axis, size in zip(self.axes, shape, strict=True) if axis != CHANNEL)


def guess_axes(shape: Sequence[int], dtype: np.dtype) -> str:
    """Guess the axes of an image: YX, ZYX or TZYX, in colour YXC or ZYXC."""
    is_large = min(shape[-3:-1], default=0) >= LEAST_SIDE_OF_COLOURS
    is_colour = shape[-1:] in ((3,), (LARGEST_RGB_CHANNELS,)) and (dtype == np.uint8 or is_large)
    by_ndim = {2: "YX", 3: "YXC" if is_colour else "ZYX", 4: "ZYXC" if is_colour else "TZYX"}
    if len(shape) not in by_ndim:
        raise InputError(
            f"The image has {len(shape)} axes (shape {tuple(shape)}); name them with `axes`, for example "
            '"YX", "ZYX", "TYX" or "TCZYX".'
        )
    return by_ndim[len(shape)]


def note_on_colours(layout: Layout, shape: Sequence[int]) -> tuple[str, ...]:
    """Return a note for an image that may be in colour, but was not read as colour."""
    if len(layout.axes) < 3 or layout.has_channels or shape[-1] not in (3, LARGEST_RGB_CHANNELS):
        return ()
    last, colours = shape[-1], layout.axes[1:] + CHANNEL
    return (
        f"The axes were guessed as {layout.axes}, so the image is {last} pixels wide; if the last axis holds colours, "
        f"give axes={colours!r}.",
    )


def note_on_unknown_sizes(spatial: Spatial) -> tuple[str, ...]:
    """Return a note if the pixel size is known along some axes only."""
    if not (unknown := spatial.unknown_axes):
        return ()
    return (
        f"The pixel size is not known along {' and '.join(unknown)}, so all sizes are in pixels. Give it along all "
        "axes (spacing and unit).",
    )


def check_axes(axes: str | None, shape: Sequence[int], dtype: np.dtype) -> Layout:
    """Return the layout that `axes` describes, or guess it where `axes` is None."""
    if axes is None:
        axes = guess_axes(shape, dtype)
    example = 'Write one letter per axis, for example "YX", "ZYX", "TYX" or "YXC".'
    if not isinstance(axes, str) or not axes.isalpha():
        raise InputError(f"`axes` is {short(axes)}. {example}")
    axes = axes.upper()
    if len(axes) != len(shape):
        raise InputError(
            f"`axes` is {short(axes)}, which names {len(axes)} axes, but the image has {len(shape)} (shape "
            f"{tuple(shape)}). {example}"
        )
    if len(set(axes)) != len(axes) or not {"Y", "X"} <= set(axes):
        raise InputError(f"`axes` is {short(axes)}, but it needs Y and X, and each letter once. {example}")
    return Layout(axes, has_one_plane="Z" in axes and shape[axes.index("Z")] == 1)


def _sizes_by_axis(spacing: Mapping[Any, Any], layout: Layout) -> list[Any]:
    """Return the sizes along z, y, x that are given by axis, in large or small letters."""
    sizes = {str(axis).upper(): size for axis, size in spacing.items()}
    unknown = [short(axis) for axis in spacing if str(axis).upper() not in [*layout.axes, *SPATIAL_AXES]]
    missing = [axis for axis in layout.space if axis not in sizes]
    faults = [f"has {', '.join(unknown)}, which is no axis of the image"] if unknown else []
    faults += [f"lacks {' and '.join(missing)}"] if missing else []
    if faults:
        raise InputError(
            f"`spacing` {', and '.join(faults)}: it needs the size of a pixel along each of the axes "
            f"{', '.join(layout.space)}."
        )
    return [sizes[axis] for axis in layout.space]


def check_spacing(spacing: Any, layout: Layout) -> tuple[float, ...] | None:
    """Return one positive pixel size per spatial axis in the order z, y, x; one number is for all axes.

    Sizes so small or large that areas and volumes would become 0 or infinity are refused.
    """
    if spacing is None:
        return None
    space = layout.space
    if isinstance(spacing, Mapping):
        spacing = _sizes_by_axis(spacing, layout)
    elif np.isscalar(spacing):
        spacing = [spacing] * len(space)
    try:
        sizes = tuple(float(size) for size in spacing)
    except (TypeError, ValueError, OverflowError):
        sizes = ()
    if len(sizes) != len(space) or not all(SMALLEST_PIXEL <= size <= LARGEST_PIXEL for size in sizes):
        raise InputError(
            f"`spacing` is {short(spacing)}, but it needs one positive number for each of the axes {', '.join(space)} "
            f"(the size of a pixel), or one number for all, from {SMALLEST_PIXEL:g} to {LARGEST_PIXEL:g}."
        )
    if max(sizes) > MOST_ELONGATED * min(sizes):
        raise InputError(
            f"`spacing` is {short(spacing)}: a pixel is {max(sizes) / min(sizes):,.0f} times as long along one axis as "
            f"along another, but at most {MOST_ELONGATED:,} times is allowed. Give the sizes along "
            f"{', '.join(space)} in one unit."
        )
    return sizes

"""Check and convert the inputs of a method: image, labels, points and argument types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from types import UnionType
from typing import Any

import numpy as np

from napari_tessera.core.errors import InputError, ParameterError, TesseraError, short
from napari_tessera.core.method import Declaration, Input
from napari_tessera.core.rescale import EXACT, is_wide
from napari_tessera.core.spatial import Layout
from napari_tessera.core.spec import Role

LARGEST_LABEL = 2**63 - 1
LARGEST = float(2**63)
"""Labels must be smaller."""


def whole_numbers(labels: Any, name: str, error: type[TesseraError] = InputError) -> Any:
    """Convert floating-point labels to int32, or int64 if they are larger; return integer labels unchanged.

    Raises `error` if a value is not whole, not finite or too large, or floating-point values are not in memory.

    Examples
    --------
    >>> whole_numbers(np.array([0.0, 7.0], np.float32), "cells.tif")
    array([0, 7], dtype=int32)
    """
    dtype = np.dtype(labels.dtype)
    if dtype.kind in "bui":
        return labels
    if dtype.kind != "f":
        raise error(f"{name} holds {dtype} values, but labels are whole numbers. Give a label image.")
    refuse_unread_floats(labels, name, error)
    array = np.asarray(labels)
    smallest, largest = float(array.min(initial=0)), float(array.max(initial=0))
    if not np.isfinite([smallest, largest]).all():
        raise error(_not_whole(array[~np.isfinite(array)][0], name))
    if smallest < -LARGEST or largest >= LARGEST:
        value = largest if largest >= LARGEST else smallest
        raise error(f"{name} holds {value:g}, but labels go from 0 (background) up to 2⁶³ − 1. Give a label image.")
    is_small = max(-smallest, largest) <= np.iinfo(np.int32).max
    whole = array.astype(np.int32 if is_small else np.int64)
    is_wrong = whole != array
    if is_wrong.any():
        raise error(_not_whole(array[is_wrong][0], name))
    return whole


def refuse_unread_floats(labels: Any, name: str, error: type[TesseraError] = InputError) -> None:
    """Refuse floating-point labels that are not in memory (dask, zarr), without reading them."""
    if hasattr(labels, "chunks") and np.dtype(labels.dtype).kind == "f":
        raise error(
            f"{name} holds {labels.dtype} values and is not in memory (shape {tuple(labels.shape)}), so it is unknown "
            "whether all are whole numbers, as labels must be. Convert it to an integer type first: in Python "
            "labels.astype('int32'), in ImageJ Image > Type > 16-bit, without scaling."
        )


def _not_whole(value: np.floating, name: str) -> str:
    return f"{name} holds {value!s}, but labels are whole numbers. Give a label image."


RGB_TO_LUMINANCE = (0.2125, 0.7154, 0.0721)
COLOUR_CHANNELS = (3, 4)
"""Numbers of channels that are red, green, blue, and maybe opacity."""


def to_grey(image: np.ndarray, channel_axis: int | None, channel: int | None, method: str) -> np.ndarray:
    """Select one channel, or combine all (None): luminance (Rec. 709) of three or four, otherwise the mean.

    The fourth of four is opacity and left out. A picked channel is a view; a combination is float32, or float64 for
    float64 and for integers of over 16 bits. `method` is the name in an error about a missing channel, or about
    channels to combine whose values float64 does not hold.
    """
    if channel_axis is None:
        if channel:
            raise ParameterError(
                f"{method}: `channel` is {channel}, but the image has no channels. Leave it empty.", "channel"
            )
        return image
    channels = np.moveaxis(image, channel_axis, 0)
    if channel is not None and channel >= len(channels):
        raise ParameterError(
            f"{method}: `channel` is {channel}, but the image has {len(channels)} channels. "
            f"Use 0 to {len(channels) - 1}, or leave it empty for all together.",
            "channel",
        )
    if channel is not None:
        return channels[channel]
    _refuse_huge(image, method)
    weights = RGB_TO_LUMINANCE if len(channels) in COLOUR_CHANNELS else (1 / len(channels),) * len(channels)
    wanted = np.float64 if is_wide(image.dtype) else np.float32
    grey = np.zeros(channels.shape[1:], wanted)
    for weight, values in zip(weights, channels, strict=False):
        grey += wanted(weight) * values.astype(wanted, copy=False)
    return grey


def channels_of(
    image: np.ndarray, features: str, channel: int | None, channel_axis: int | None, method: str
) -> np.ndarray:
    """Return the channels last: one for "intensity", red, green and blue for "cielab", otherwise all."""
    if channel_axis is None or features == "intensity":
        channels = to_grey(image, channel_axis, channel if features == "intensity" else None, method)[..., None]
    else:
        channels = np.moveaxis(image, channel_axis, -1)
    if features != "cielab":
        return channels
    if channels.shape[-1] not in COLOUR_CHANNELS:
        raise InputError(
            f'{method}: `features` is "cielab", which needs red, green and blue, but the image has '
            f'{channels.shape[-1]} channel(s). Use "channels" or "intensity".'
        )
    return channels[..., :3]


def _refuse_huge(image: np.ndarray, method: str) -> None:
    """Refuse to combine integers that float64 cannot hold exactly."""
    if image.dtype.kind not in "iu" or image.dtype.itemsize < 8:
        return
    farthest = max(abs(int(image.min())), abs(int(image.max())))
    if farthest > EXACT:
        raise InputError(
            f"{method}: the image has whole numbers of up to {farthest:.3g} in size, but channels can be combined only "
            f"up to {EXACT:.3g}. Subtract the lowest value first (in Python: image - image.min()), or choose one "
            "`channel`."
        )


READERS = {Role.IMAGE: "read_image", Role.LABELS: "read_labels", Role.POINTS: "read_points"}
"""The function of `napari_tessera.io` that reads a file of each kind."""
Types = Mapping[str, tuple[type | UnionType, str]]
"""Allowed types of an argument, and their description."""
FLAG = (bool | np.bool_, "True or False")
PATH = (str | PathLike, "a path")
PATH_OR_NONE = (str | PathLike | None, "a path, or None")
TEXT_OR_NONE = (str | None, "a text, or None")


def check_types(given: Mapping[str, Any], types: Types) -> None:
    """Refuse arguments of a wrong type."""
    for name, (kind, words) in types.items():
        if not isinstance(given[name], kind):
            raise ParameterError(f"`{name}` is {short(given[name])}, but it must be {words}.", name)


def as_array(values: Any, name: str) -> np.ndarray:
    """Load a NumPy, dask or zarr array (or nested lists) into memory; refuse what is empty or does not hold numbers."""
    array = numbers_in(values, name)
    if array.size == 0:
        raise InputError(f"{name} is empty: its shape is {array.shape}.")
    return array


def numbers_in(values: Any, name: str) -> np.ndarray:
    """Return an array of real numbers, which may be empty; refuse other values and what does not fit into memory."""
    refuse_file_name(values, name)
    refuse_unknown_lengths(values, name)
    if np.ma.is_masked(values):
        raise InputError(f"{name} has a mask, which would be ignored. Fill it first, for example with image.filled(0).")
    try:
        array = np.asarray(values)
    except MemoryError as error:
        raise InputError(f"{name} does not fit into memory. Segment a region, or run it in blocks.") from error
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:  # torch raises the last of tensors
        raise InputError(f"{name} is not an array of numbers: {error}") from error
    _check_numeric(array, name)
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    return array


def refuse_unknown_lengths(values: Any, name: str) -> None:
    """Refuse a dask array with chunks of unknown length."""
    shape = getattr(values, "shape", ())
    if hasattr(values, "chunks") and not all(float(length).is_integer() for length in shape):
        raise InputError(
            f"{name} has the shape {shape}: the lengths of some of its chunks are not known. Find them first, with "
            "compute_chunk_sizes()."
        )


def refuse_file_name(values: Any, name: str, reader: str = "read_image") -> None:
    """Refuse a file name where an array is needed, and name the function that reads it."""
    if isinstance(values, str | PathLike):
        path = f"{str(values)!r:.300}"
        data = f"{reader}({path})" + (".data" if reader != "read_points" else "")
        raise InputError(
            f"{name} is {path}, the name of a file, but an array is needed. Read the file first, with "
            f"napari_tessera.io.{data}, or use the command line, which takes files."
        )


def canonical_dtype(dtype: np.dtype) -> np.dtype:
    """Native byte order; bool becomes uint8 and float16 float32."""
    if dtype == np.bool_:
        return np.dtype(np.uint8)
    native = dtype.newbyteorder("=")
    return np.dtype(np.float32) if native == np.float16 else native


def split_mask(values: Any) -> tuple[Any, Any]:
    """Return the data of a masked NumPy or dask array, 0 where it is masked, and its mask; None for other arrays."""
    if isinstance(values, np.ma.MaskedArray):
        return values.filled(0), np.ma.getmaskarray(values) if np.ma.is_masked(values) else None
    if isinstance(getattr(values, "_meta", None), np.ma.MaskedArray):
        plain = np.empty((0,) * values.ndim, values.dtype)
        data = values.map_blocks(np.ma.filled, 0, meta=plain)
        return data, values.map_blocks(np.ma.getmaskarray, meta=plain.astype(bool))
    return values, None


def check_image(values: Any, name: str, *, may_have_nan: bool = False) -> np.ndarray:
    """Return an image in native byte order, in one piece and finite; bool becomes uint8, float16 float32.

    With `may_have_nan`, its pixels may be NaN or infinite.
    """
    array = numbers_in(values, name)
    check_stored(array, name)
    array = np.ascontiguousarray(array, canonical_dtype(array.dtype))
    if not may_have_nan and array.dtype.kind == "f" and (bad := int(np.count_nonzero(~np.isfinite(array)))):
        raise InputError(
            f"{name} has {bad} {'pixel that is' if bad == 1 else 'pixels that are'} NaN or infinite. Replace them "
            "first, for example with 0 (in Python: np.where(np.isfinite(image), image, 0))."
        )
    return array


def note_on_opacity(colours: Any) -> tuple[str, ...]:
    """Return a note on an image in colour, channels last, of which the opacity is 0 everywhere."""
    if not isinstance(colours, np.ndarray) or colours.shape[-1] != max(COLOUR_CHANNELS) or colours[..., -1].any():
        return ()
    return ("Its opacity is 0 everywhere, so it was ignored.",)


def check_stored(array: Any, name: str, *, as_labels: bool = False) -> None:
    """Check shape and dtype without reading a pixel; floating-point labels that are not in memory are refused."""
    refuse_unknown_lengths(array, name)
    if as_labels:
        refuse_unread_floats(array, name)
    _check_numeric(array, name)
    if 0 in array.shape:
        raise InputError(f"{name} is empty: its shape is {tuple(array.shape)}.")
    if len(array.shape) < 2:
        raise InputError(f"{name} has shape {array.shape}, but an image has at least two axes, Y and X.")


def _check_numeric(array: Any, name: str) -> None:
    if np.dtype(array.dtype).kind not in "buif":
        raise InputError(f"{name} holds {array.dtype} values, but it needs real numbers (integers or floats).")


def check_labels(values: Any, name: str) -> np.ndarray:
    """Return labels, also floating-point ones, as int32 (or int64 if the numbers are larger); refuse other values."""
    refuse_file_name(values, name, "read_labels")
    refuse_unread_floats(values, name)
    array = whole_numbers(as_array(values, name), name)
    largest, smallest = int(array.max()), int(array.min())
    if smallest < 0:
        raise InputError(f"{name} holds the number {smallest}, but labels are 0 (background) or more.")
    if largest > LARGEST_LABEL:
        from napari_tessera.core.labels import renumber

        return renumber(array.copy())
    dtype = np.int32 if largest <= np.iinfo(np.int32).max else np.int64
    return np.ascontiguousarray(array, dtype)


def note_on_large_labels(values: Any, name: str) -> tuple[str, ...]:
    """Return a note on labels that `check_labels` gives new numbers."""
    if not (isinstance(values, np.ndarray) and values.dtype == np.uint64 and values.size):
        return ()
    largest = int(values.max())
    if largest <= LARGEST_LABEL:
        return ()
    return (f"{name} go up to {largest:,}; above 2⁶³ − 1 labels have new numbers, from 1 in the order of the pixels.",)


def check_points(values: Any, name: str, axes: str, shape: Sequence[int]) -> np.ndarray:
    """Return points as float64 (N, D); refuse columns that do not fit the axes, and points outside the image."""
    points = numbers_in(values, name).astype(np.float64)
    points = points if points.size else np.empty((0, len(shape)))
    order = ", ".join(axis.lower() for axis in axes)
    if points.ndim != 2 or points.shape[1] != len(shape):
        raise InputError(
            f"{name} has shape {points.shape}, but points are (N, {len(shape)}): one row a point, in pixels as {order}."
        )
    inside = np.all((np.rint(points) >= 0) & (np.rint(points) < np.asarray(shape)), axis=1)
    if not inside.all():
        bad = points[~inside][0]
        raise InputError(
            f"{name}: {np.count_nonzero(~inside)} of {len(points)} points lie outside the image, for example "
            f"({', '.join(f'{value:g}' for value in bad)}) as {order}; the image has shape {tuple(shape)}."
        )
    return points


def is_labels(values: Any, shape: Sequence[int]) -> bool:
    """Return whether seeds are labels (integers of the image's shape) rather than points."""
    array_shape = getattr(values, "shape", None)
    dtype = getattr(values, "dtype", None)
    return array_shape == tuple(shape) and dtype is not None and np.dtype(dtype).kind in "bui"


def check_inputs(
    declaration: Declaration, given: Mapping[str, Any], layout: Layout, shape: Sequence[int]
) -> dict[str, np.ndarray | None]:
    """Check every input after the first one against the image's shape; omitted ones are None."""
    checked: dict[str, np.ndarray | None] = {}
    for entry in declaration.inputs[1:]:
        name = f"{declaration.name}: `{entry.name}`"
        values = given.get(entry.name)
        if values is not None:
            checked[entry.name] = _check_input(entry, values, name, layout, shape)
        elif entry.is_optional:
            checked[entry.name] = None
        else:
            raise InputError(f"{name} is missing. Give {_wanted(entry)}.")
    return checked


def _check_input(entry: Input, values: Any, name: str, layout: Layout, shape: Sequence[int]) -> np.ndarray | None:
    wanted = layout.label_shape(shape)
    refuse_file_name(values, name, READERS[entry.roles[0]])
    values = values if hasattr(values, "shape") else numbers_in(values, name)
    if Role.POINTS in entry.roles and not (Role.LABELS in entry.roles and _is_painted(values, wanted)):
        return _some(check_points(values, name, layout.label_axes, wanted), entry, name)
    array = check_labels(values, name) if Role.LABELS in entry.roles else check_image(values, name)
    if array.shape != wanted:
        raise InputError(
            f"{name} has shape {array.shape}, but the image needs {wanted} (axes {layout.label_axes}). "
            f"Give {_wanted(entry)} of that shape."
        )
    return _some(array, entry, name)


def _is_painted(values: Any, shape: Sequence[int]) -> bool:
    """Return whether these are labels: of the image's shape, or integers of a shape that points cannot have."""
    given = np.shape(values)
    if len(given) == 2 and given[1] == len(shape):
        return is_labels(values, shape)
    return given == tuple(shape) or (is_labels(values, given) and len(given) > 1)


def _some(array: np.ndarray, entry: Input, name: str) -> np.ndarray | None:
    """Refuse empty seeds that the method needs; others count as left out."""
    if Role.POINTS not in entry.roles or has_marks(array):
        return array
    if not entry.is_optional:
        raise InputError(f"{name} is empty. Add at least one point, or paint at least one stroke.")
    return None


def has_marks(array: Any) -> bool:
    """Return whether there is a point (they are floating-point numbers) or a painted pixel (labels are integers)."""
    return len(array) > 0 if array.dtype.kind == "f" else bool(array.any())


def _wanted(entry: Input) -> str:
    words = {Role.IMAGE: "an image", Role.LABELS: "a label image", Role.POINTS: "points"}
    return " or ".join(words[role] for role in entry.roles)

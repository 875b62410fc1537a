"""`point`: the one object that is pointed at by clicks or a box, as a mask."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_tessera.core.checks import READERS, as_array, refuse_file_name
from napari_tessera.core.errors import InputError, ParameterError, short
from napari_tessera.core.jobs import run_job
from napari_tessera.core.spatial import CHANNEL, guess_axes
from napari_tessera.core.spec import Role
from napari_tessera.engine.bind import is_stored
from napari_tessera.methods._network_checks import loaded
from napari_tessera.methods.point import PointedImage
from napari_tessera.models import registry as catalogue
from napari_tessera.models.header import TITLES

GUESSED = "auto"


def point(
    image: Any,
    points: Any = None,
    negative: Any = None,
    box: Any = None,
    model: str = "click",
    *,
    diameter: float | None = None,
    channel_axis: int | str | None = GUESSED,
    channel: int | None = None,
    device: str = "auto",
) -> np.ndarray:
    """Find the one object that is pointed at, with a network for objects of any kind.

    Parameters
    ----------
    image : array
        NumPy, dask or zarr array, (Y, X), with channels at `channel_axis`. Of a huge one only windows are read.
    points : array, optional
        Clicks on the object, (N, 2) as y, x in pixels.
    negative : array, optional
        Clicks beside the object, (N, 2).
    box : sequence of float, optional
        A box around the object: y0, x0, y1, x1. Points or a box are needed.
    model : str
        Name of a click network, or path of a model file.
    diameter : float, optional
        About how large the object is, in pixels.
    channel_axis : int, optional
        Axis of `image` that holds channels, or None. If not given, it is the last one of what looks like colours.
    channel : int, optional
        Channel to look at, from 0; None takes three or four channels as colours, others as their mean.
    device : str
        "auto", "cuda", "mps" or "cpu".

    Returns
    -------
    array of bool
        The mask of the object, (Y, X); all False if nothing is found.

    Raises
    ------
    InputError
        If there is neither a point nor a box, one lies outside the image, or the image is no plane.
    ParameterError
        If there is no such model or device, or the image does not have the channel.

    Examples
    --------
    >>> import numpy as np, napari_tessera as tessera
    >>> y, x = np.mgrid[:64, :64]
    >>> image = 200.0 * ((y - 20) ** 2 + (x - 20) ** 2 < 100)
    >>> bool(tessera.point(image, [[20, 20]])[20, 20])
    True
    """
    from napari_tessera.inference.click import Clicks

    refuse_file_name(image, "point: `image`", READERS[Role.IMAGE])
    image = image if is_stored(image) else as_array(image, "point: `image`")
    axis = _channel_axis(image, channel_axis)
    entry = catalogue.find(model)
    if entry.kind != "click":
        raise ParameterError(
            f"point: `model` is {entry.name!r}, which is a {TITLES[entry.kind]}, but a click network is needed. "
            'Leave `model` out, or train one with the network "click".',
            "model",
        )
    pointed = PointedImage(image, axis, channel)
    if len(pointed.shape) != 2:
        raise InputError(
            f"point: the image has {len(pointed.shape)} axes in space, but an object is pointed at in a plane (y, x). "
            'Give one plane, or use tessera.segment("point", …), which follows objects through a volume.'
        )
    clicks = Clicks(
        _places(points, "points", pointed.plane_shape),
        _places(negative, "negative", pointed.plane_shape),
        _box(box, pointed.plane_shape),
    )
    if not clicks.positive and clicks.box is None:
        raise InputError("point: there is neither a point on the object nor a box around it. Give `points` or `box`.")
    network = run_job(loaded(entry, device))
    found = pointed.find(network, clicks, usual_px=diameter)
    mask = np.zeros(pointed.plane_shape, bool)
    if found.area:
        mask[found.place] = found.mask
    return mask


def _channel_axis(image: Any, given: int | str | None) -> int | None:
    """Return the axis of the channels, counted from the first; guessed where none is given."""
    if given is None:
        return None
    ndim = len(image.shape)
    if given == GUESSED:
        return ndim - 1 if ndim > 2 and guess_axes(image.shape, np.dtype(image.dtype)).endswith(CHANNEL) else None
    if isinstance(given, bool) or not isinstance(given, int | np.integer) or not -ndim <= given < ndim:
        raise InputError(f"point: `channel_axis` is {short(given)}, but the image has {ndim} axes. Give one, or None.")
    return int(given) % ndim


def _places(given: Any, name: str, shape: tuple[int, int]) -> tuple[tuple[float, float], ...]:
    """Check places in the image, (N, 2)."""
    if given is None:
        return ()
    places = as_array(given, f"point: `{name}`")
    if places.size == 0:
        return ()
    if places.ndim == 1 and places.size == 2:
        places = places[None]
    if places.ndim != 2 or places.shape[1] != 2:
        raise InputError(f"point: `{name}` has shape {places.shape}, but it must be (N, 2): y, x of each click.")
    inside = np.isfinite(places).all() and (places >= -0.5).all() and (places < np.array(shape) - 0.5).all()
    if not inside:
        raise InputError(
            f"point: `{name}` has a click outside the image, which is {shape[0]} × {shape[1]} px. Give y, x in pixels."
        )
    return tuple((float(y), float(x)) for y, x in places)


def _box(given: Any, shape: tuple[int, int]) -> tuple[float, float, float, float] | None:
    """Check a box, and bring it into the image."""
    if given is None:
        return None
    sides = as_array(given, "point: `box`").ravel()
    if sides.size != 4 or not np.isfinite(sides).all():
        raise InputError(f"point: `box` is {short(given)}, but it must be y0, x0, y1, x1.")
    (y0, y1), (x0, x1) = np.sort(sides[[0, 2]]), np.sort(sides[[1, 3]])
    if y1 < 0 or x1 < 0 or y0 > shape[0] - 1 or x0 > shape[1] - 1:
        raise InputError(
            f"point: `box` lies outside the image, which is {shape[0]} × {shape[1]} px. Give y0, x0, y1, x1 in pixels."
        )
    return max(float(y0), 0.0), max(float(x0), 0.0), min(float(y1), shape[0] - 1.0), min(float(x1), shape[1] - 1.0)

"""Find the scale at which the objects of an image have the size that a network knows, by looking at the image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from napari_tessera.jobs import Job, part_of
from napari_tessera.large.tiles import tiles
from napari_tessera.large.view import View
from napari_tessera.nn.intensity import network_channels
from napari_tessera.nn.wide import is_wide

Seen = TypeVar("Seen")
"""What a network says of a window."""

LOOKS = 3
"""How often the scale is looked at again before it is taken as found."""
SAME_SCALE = 0.1
"""Change of the logarithm of the scale below which another look is not worth its time."""
SMALLEST_FACTOR, LARGEST_FACTOR = 0.1, 4.0
WHOLE_PX = 2e6
"""Largest image, in network pixels, that is looked at as a whole to find the scale; of a larger one, some windows."""
WINDOW_PX = {2: 512, 3: 96}
WINDOWS = 4
MOST_CANDIDATES = 256
MOST_PX = 10e6
"""Largest image, in network pixels, to which small objects are magnified; beyond, they are magnified less."""


@dataclass(frozen=True)
class Look(Generic[Seen]):
    """What there was at one scale.

    Attributes
    ----------
    factor : float
    whole : Seen or None
        What was seen of the image, if it was looked at as a whole.
    seen_px : float or None
        Usual diameter of what was seen, in network pixels; None if there is hardly anything.
    """

    factor: float
    whole: Seen | None
    seen_px: float | None


def search_scale(
    view: View,
    ndim: int,
    usual_px: float,
    look: Callable[[View, float], Job[Seen]],
    seen_diameter: Callable[[Sequence[Seen], float], float | None],
    others: Sequence[float] = (),
) -> Job[tuple[float, Seen | None]]:
    """Look at an image up to three times, each time at the scale that the look before suggests.

    A scale at which nothing is seen is not taken: the look that suggested it was misled, as by noise.

    Parameters
    ----------
    view : View
        A plane, or a volume.
    ndim : int
        Of the network.
    usual_px : float
        Diameter of an object that the network knows, in its pixels.
    look : callable (window, factor) -> job
        Sees a window at a scale: network pixels per image pixel along X.
    seen_diameter : callable (what was seen of all windows, factor) -> float or None
        Usual diameter of what was seen, in network pixels; None if there is hardly anything.
    others : sequence of float
        Scales to look at, one after the other, where there is nothing to see at 1.

    Returns
    -------
    float
        Network pixels per image pixel along X; 1 where nothing is seen at any scale.
    Seen or None
        Of the whole image at that scale, if it was looked at as a whole.
    """

    def looking(factor: float) -> Job[Look[Seen]]:
        windows = windows_to_look_at(view, factor, ndim)
        found = yield from _look_at(windows, factor, look)
        return Look(factor, found[0] if _is_whole(windows, view) else None, seen_diameter(found, factor))

    last = yield from part_of(_first_sight(looking, others), 0, 1, LOOKS)
    for number in range(1, LOOKS):
        if last.seen_px is None:
            break
        better = bounded(last.factor * usual_px / last.seen_px, view.shape)
        if abs(np.log(better / last.factor)) < SAME_SCALE:
            break
        if number == LOOKS - 1 and not _is_whole(windows_to_look_at(view, better, ndim), view):
            return better, None
        now = yield from part_of(looking(better), number, 1, LOOKS)
        if now.seen_px is None:
            break
        last = now
    return last.factor, last.whole


def _first_sight(looking: Callable[[float], Job[Look[Seen]]], others: Sequence[float]) -> Job[Look[Seen]]:
    """Look at scale 1, and where there is nothing, at others; return the first look with something, else that at 1."""
    first = yield from part_of(looking(1.0), 0, 1, 1 + len(others))
    if first.seen_px is not None:
        return first
    for done, factor in enumerate(others, start=1):
        other = yield from part_of(looking(factor), done, 1, 1 + len(others))
        if other.seen_px is not None:
            return other
    return first


def _is_whole(windows: Sequence[View], view: View) -> bool:
    return windows[0].shape == view.shape


def _look_at(windows: Sequence[View], factor: float, look: Callable[[View, float], Job[Seen]]) -> Job[list[Seen]]:
    found = []
    for done, window in enumerate(windows):
        found.append((yield from part_of(look(window, factor), done, 1, len(windows))))
    return found


def bounded(factor: float, shape: Sequence[int]) -> float:
    """Keep an estimated scale where the network's image is neither tiny nor huge."""
    plane_px = float(np.prod(shape[-2:], dtype=np.float64))
    most = max(1.0, np.sqrt(MOST_PX / plane_px))
    return float(np.clip(factor, SMALLEST_FACTOR, min(LARGEST_FACTOR, most)))


def may_be_held_back(factor: float, shape: Sequence[int]) -> bool:
    """Say whether an image is so large that a scale that was estimated might have been larger otherwise."""
    most = bounded(LARGEST_FACTOR, shape)
    return most < LARGEST_FACTOR and factor >= most


def windows_to_look_at(view: View, factor: float, ndim: int) -> list[View]:
    """Choose what the scale is found from: all of a small image, of a large one some windows with much in them.

    Parameters
    ----------
    view : View
        A plane, or a volume.
    factor : float
    ndim : int
        Of the network; planes of a volume are looked at by a network for planes.
    """
    grid_px = np.prod(np.multiply(view.shape, view.factors(factor)))
    if ndim == view.ndim and grid_px <= WHOLE_PX:
        return [view]
    sides = [max(1, round(WINDOW_PX[ndim] / each)) for each in view.factors(factor)]
    sides[: view.ndim - ndim] = [1] * (view.ndim - ndim)
    places = [tile.write for tile in tiles(view.shape, sides, (0,) * view.ndim)]
    places = places[:: -(-len(places) // MOST_CANDIDATES)]
    places.sort(key=lambda place: _content(view.cut(place)), reverse=True)
    # From the fuller half, but not its top alone: that may be dirt.
    chosen = places[: max(WINDOWS, len(places) // 2)][:: max(1, len(places) // (2 * WINDOWS))][:WINDOWS]
    parts = [view.cut(place) for place in chosen]
    return [part.plane(0, 0) for part in parts] if ndim < view.ndim else parts


def looked_at_px(shape: Sequence[int], ndim: int) -> int:
    """Return how many pixels of an image of `shape` a network of `ndim` axes looks at to find the scale, at scale 1.

    Examples
    --------
    >>> looked_at_px((1000, 1000), 2), looked_at_px((20_000, 20_000), 2)
    (1000000, 1048576)
    """
    whole = int(np.prod(shape, dtype=np.int64))
    if len(shape) == ndim and whole <= WHOLE_PX:
        return whole
    return min(whole, WINDOWS * WINDOW_PX[ndim] ** ndim)


def _content(part: View) -> float:
    """Say how much there is to see, from every eighth pixel."""
    values = part.image[..., ::8, ::8, :] if part.has_channels else part.image[..., ::8, ::8]
    if is_wide(values.dtype):  # whose squares may not be representable
        values = network_channels(values, part.levels, is_coloured=part.has_channels)
    return float(values.std())

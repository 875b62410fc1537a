"""Find the scale at which the objects of an image have the size that a network knows, by looking at the image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

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
MOST_PIXELS = 10e6
"""Largest image, in network pixels, to which small objects are magnified; beyond, they are magnified less."""
WHOLE_PX = 2e6
"""Largest image, in network pixels, that is looked at as a whole to find the scale; of a larger one, some windows."""
WINDOW_PX = {2: 512, 3: 96}
WINDOWS = 4
MOST_CANDIDATES = 256


def search_scale(
    view: View,
    ndim: int,
    usual_px: float,
    look: Callable[[View, float], Job[Seen]],
    seen_diameter: Callable[[Sequence[Seen], float], float | None],
) -> Job[tuple[float, Seen | None]]:
    """Look at an image up to three times, each time at the scale that the look before suggests.

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

    Returns
    -------
    float
        Network pixels per image pixel along X.
    Seen or None
        Of the whole image at that scale, if it was looked at as a whole.
    """
    factor = 1.0
    for number in range(LOOKS):
        windows = windows_to_look_at(view, factor, ndim)
        is_whole = windows[0].shape == view.shape
        if number == LOOKS - 1 and not is_whole:
            break
        found = yield from part_of(_look_at(windows, factor, look), number, 1, LOOKS)
        seen_px = seen_diameter(found, factor)
        better = factor if seen_px is None else bounded(factor * usual_px / seen_px, view.shape)
        if number == LOOKS - 1 or abs(np.log(better / factor)) < SAME_SCALE:
            return factor, found[0] if is_whole else None
        factor = better
    return factor, None


def _look_at(windows: Sequence[View], factor: float, look: Callable[[View, float], Job[Seen]]) -> Job[list[Seen]]:
    found = []
    for done, window in enumerate(windows):
        found.append((yield from part_of(look(window, factor), done, 1, len(windows))))
    return found


def bounded(factor: float, shape: Sequence[int]) -> float:
    """Keep an estimated scale where the network's image is neither tiny nor huge."""
    plane_px = float(np.prod(shape[-2:], dtype=np.float64))
    most = max(1.0, np.sqrt(MOST_PIXELS / plane_px))
    return float(np.clip(factor, SMALLEST_FACTOR, min(LARGEST_FACTOR, most)))


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


def _content(part: View) -> float:
    """Say how much there is to see, from every eighth pixel."""
    values = part.image[..., ::8, ::8, :] if part.has_channels else part.image[..., ::8, ::8]
    if is_wide(values.dtype):  # whose squares may not be representable
        values = network_channels(values, part.levels, is_coloured=part.has_channels)
    return float(values.std())

"""See an image with a network: at the scale at which its objects have the size that the network knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_tessera.jobs import Job, part_of
from napari_tessera.large.predict import predict
from napari_tessera.large.tiles import tiles
from napari_tessera.large.view import View
from napari_tessera.nn.intensity import network_channels
from napari_tessera.nn.wide import is_wide

if TYPE_CHECKING:
    from napari_tessera.nn.forward import Network

Scores = dict[str, np.ndarray]
"""By head, float32 (K, [Z,] Y, X) on the network's grid."""

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
FEWEST_OBJECT_PX = 20


@dataclass(frozen=True)
class Looking:
    """How to look.

    Attributes
    ----------
    diameter_px : float or None
        Usual diameter of an object along X; None means estimated.
    averaging : bool
        Average over mirror images.
    tile_px : int or None
        Side of a tile of the network's grid; None means as memory allows.
    """

    diameter_px: float | None = None
    averaging: bool = False
    tile_px: int | None = None


def see(network: Network, view: View, how: Looking) -> Job[tuple[Scores, float]]:
    """Find the scale, and predict at it; the network and the image have as many dimensions.

    Returns
    -------
    Scores
        On the network's grid.
    float
        Network pixels per image pixel along X.
    """
    factor, scores = yield from part_of(find_scale(network, view, how), 0, 1, 3)
    if scores is None or how.averaging:
        scores = yield from part_of(predicted(network, view, factor, how), 1, 2, 3)
    return scores, factor


def predicted(network: Network, view: View, factor: float, how: Looking) -> Job[Scores]:
    """Predict at a given scale along X; pixels of the network's grid are as far apart along all axes."""
    factors = view.factors(factor)
    return predict(network, view.shape, view.read, factors, tile_px=how.tile_px, averaging=how.averaging)


def find_scale(network: Network, view: View, how: Looking) -> Job[tuple[float, Scores | None]]:
    """Find the scale at which the objects have the size that the network knows.

    Returns
    -------
    float
        Network pixels per image pixel along X; 1 where the network knows no size.
    Scores or None
        Of the whole image at that scale, if it was looked at as a whole.
    """
    usual_px, factor = network.header.get("diameter_px"), 1.0
    if usual_px and how.diameter_px is not None:
        return usual_px / how.diameter_px, None
    if not usual_px or "size" not in network.architecture.heads:
        return factor, None
    for look in range(LOOKS):
        windows = windows_to_look_at(view, factor, network.ndim)
        is_whole = windows[0].shape == view.shape
        if look == LOOKS - 1 and not is_whole:
            break
        looking = _look_at(network, windows, factor, Looking(tile_px=how.tile_px))
        found = yield from part_of(looking, look, 1, LOOKS)
        seen_px = seen_diameter(found, usual_px)
        better = factor if seen_px is None else bounded(factor * usual_px / seen_px, view.shape)
        if look == LOOKS - 1 or abs(np.log(better / factor)) < SAME_SCALE:
            return factor, found[0] if is_whole else None
        factor = better
    return factor, None


def _look_at(network: Network, windows: Sequence[View], factor: float, how: Looking) -> Job[list[Scores]]:
    found = []
    for done, window in enumerate(windows):
        looking = predicted(network, window, factor, how)
        found.append((yield from part_of(looking, done, 1, len(windows))))
    return found


def seen_diameter(found: Sequence[Scores], usual_px: float) -> float | None:
    """Return the usual diameter that the object pixels speak of, in network pixels; None with hardly any."""
    sizes = np.concatenate([scores["size"][0][scores["classes"][0] < 0.5] for scores in found])
    return float(usual_px * np.exp(np.median(sizes))) if sizes.size >= FEWEST_OBJECT_PX else None


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

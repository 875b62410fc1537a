"""See an image with a network: at the scale at which its objects have the size that the network knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_tessera.jobs import Job, part_of
from napari_tessera.large.predict import predict
from napari_tessera.large.scale import search_scale
from napari_tessera.large.view import View

if TYPE_CHECKING:
    from napari_tessera.nn.forward import Network

Scores = dict[str, np.ndarray]
"""By head, float32 (K, [Z,] Y, X) on the network's grid."""

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
    factor, seen = yield from part_of(find_scale(network, view, how), 0, 1, 3)
    return (yield from part_of(seen_at(factor, seen, network, view, how), 1, 2, 3)), factor


def seen_at(factor: float, seen: Scores | None, network: Network, view: View, how: Looking) -> Job[Scores]:
    """Predict at a scale, if that was not done while it was looked for: `factor` and `seen` are from `find_scale`."""
    if seen is None or how.averaging:
        return (yield from predicted(network, view, factor, how))
    return seen


def predicted(network: Network, view: View, factor: float, how: Looking) -> Job[Scores]:
    """Predict at a given scale along X."""
    return predict(network, view.laid(factor), view.read, tile_px=how.tile_px, averaging=how.averaging)


def find_scale(network: Network, view: View, how: Looking) -> Job[tuple[float, Scores | None]]:
    """Find the scale at which the objects have the size that the network knows.

    Returns
    -------
    float
        Network pixels per image pixel along X; 1 where the network knows no size.
    Scores or None
        Of the whole image at that scale, if it was looked at as a whole.
    """
    usual_px = network.header.get("diameter_px")
    if usual_px and how.diameter_px is not None:
        return usual_px / how.diameter_px, None
    if not usual_px or "size" not in network.architecture.heads:
        return 1.0, None

    def look(window: View, factor: float) -> Job[Scores]:
        return predicted(network, window, factor, Looking())  # the scale is the same whatever the tiles

    def diameter(found: Sequence[Scores], factor: float) -> float | None:
        return seen_diameter(found, usual_px)

    return (yield from search_scale(view, network.ndim, usual_px, look, diameter))


def seen_diameter(found: Sequence[Scores], usual_px: float) -> float | None:
    """Return the usual diameter that the object pixels speak of, in network pixels; None with hardly any."""
    sizes = np.concatenate([scores["size"][0][scores["classes"][0] < 0.5] for scores in found])
    return float(usual_px * np.exp(np.median(sizes))) if sizes.size >= FEWEST_OBJECT_PX else None

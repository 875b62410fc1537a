"""Find the scale at which objects have the diameter that a network was trained for, and predict at that scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from napari_tessera.algorithms.exact_percentiles import is_wide
from napari_tessera.core.jobs import Job, subtask
from napari_tessera.core.result import Kind
from napari_tessera.core.tiles import tiles
from napari_tessera.inference.normalization import network_channels
from napari_tessera.inference.pixel_grid import NormalizedImage
from napari_tessera.inference.sliding_window import predict

if TYPE_CHECKING:
    from napari_tessera.inference.unet_predictor import Network


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
class ScaleProbe(Generic[Seen]):
    """The result at one scale."""

    factor: float
    whole: Seen | None  # of the whole image, if it was processed as a whole
    seen_px: float | None  # usual diameter, in network pixels; None if there is hardly anything


def search_scale(
    view: NormalizedImage,
    ndim: int,
    usual_px: float,
    look: Callable[[NormalizedImage, float], Job[Seen]],
    seen_diameter: Callable[[Sequence[Seen], float], float | None],
    others: Sequence[float] = (),
) -> Job[tuple[float, Seen | None]]:
    """Predict up to three times, each time at the scale that the result before suggests.

    A scale at which nothing is found is not taken: the result that suggested it was misled, as by noise.

    Parameters
    ----------
    view : NormalizedImage
        A plane, or a volume.
    ndim : int
        Of the network.
    usual_px : float
        Diameter of an object that the network knows, in its pixels.
    look : callable (window, factor) -> job
        Predicts a window at a scale: network pixels per image pixel along X.
    seen_diameter : callable (results of all windows, factor) -> float or None
        Usual diameter of the objects, in network pixels; None if there is hardly anything.
    others : sequence of float
        Scales to try, one after the other, if nothing is found at 1.

    Returns
    -------
    float
        Network pixels per image pixel along X; 1 if nothing is found at any scale.
    Seen or None
        Result of the whole image at that scale, if it was processed as a whole.
    """

    def looking(factor: float) -> Job[ScaleProbe[Seen]]:
        windows = windows_to_look_at(view, factor, ndim)
        found = yield from _look_at(windows, factor, look)
        return ScaleProbe(factor, found[0] if _is_whole(windows, view) else None, seen_diameter(found, factor))

    last = yield from subtask(_first_sight(looking, others), 0, 1, LOOKS)
    for number in range(1, LOOKS):
        if last.seen_px is None:
            break
        better = bounded(last.factor * usual_px / last.seen_px, view.shape)
        if abs(np.log(better / last.factor)) < SAME_SCALE:
            break
        if number == LOOKS - 1 and not _is_whole(windows_to_look_at(view, better, ndim), view):
            return better, None
        now = yield from subtask(looking(better), number, 1, LOOKS)
        if now.seen_px is None:
            break
        last = now
    return last.factor, last.whole


def _first_sight(looking: Callable[[float], Job[ScaleProbe[Seen]]], others: Sequence[float]) -> Job[ScaleProbe[Seen]]:
    """Return the result at scale 1, or the first at another scale where there is something, else that at 1."""
    first = yield from subtask(looking(1.0), 0, 1, 1 + len(others))
    if first.seen_px is not None:
        return first
    for done, factor in enumerate(others, start=1):
        other = yield from subtask(looking(factor), done, 1, 1 + len(others))
        if other.seen_px is not None:
            return other
    return first


def _is_whole(windows: Sequence[NormalizedImage], view: NormalizedImage) -> bool:
    return windows[0].shape == view.shape


def _look_at(
    windows: Sequence[NormalizedImage], factor: float, look: Callable[[NormalizedImage, float], Job[Seen]]
) -> Job[list[Seen]]:
    found = []
    for done, window in enumerate(windows):
        found.append((yield from subtask(look(window, factor), done, 1, len(windows))))
    return found


def bounded(factor: float, shape: Sequence[int]) -> float:
    """Keep an estimated scale where the network's image is neither tiny nor huge."""
    plane_px = float(np.prod(shape[-2:], dtype=np.float64))
    most = max(1.0, np.sqrt(MOST_PX / plane_px))
    return float(np.clip(factor, SMALLEST_FACTOR, min(LARGEST_FACTOR, most)))


def may_be_held_back(factor: float, shape: Sequence[int]) -> bool:
    """Return whether an image is so large that a scale that was estimated might have been larger otherwise."""
    most = bounded(LARGEST_FACTOR, shape)
    return most < LARGEST_FACTOR and factor >= most


def windows_to_look_at(view: NormalizedImage, factor: float, ndim: int) -> list[NormalizedImage]:
    """Choose what the scale is found from: all of a small image, of a large one some windows with much in them.

    A network of `ndim` 2 takes planes of a volume.
    """
    grid_px = np.prod(np.multiply(view.shape, view.factors(factor)))
    if ndim == view.ndim and grid_px <= WHOLE_PX:
        return [view]
    sides = [max(1, round(WINDOW_PX[ndim] / each)) for each in view.factors(factor)]
    sides[: view.ndim - ndim] = [1] * (view.ndim - ndim)
    places = [tile.write for tile in tiles(view.shape, sides, (0,) * view.ndim)]
    places = places[:: -(-len(places) // MOST_CANDIDATES)]
    places.sort(key=lambda place: _content(view.crop(place)), reverse=True)
    # From the fuller half, but not its top alone: that may be dirt.
    chosen = places[: max(WINDOWS, len(places) // 2)][:: max(1, len(places) // (2 * WINDOWS))][:WINDOWS]
    parts = [view.crop(place) for place in chosen]
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


def _content(part: NormalizedImage) -> float:
    """Return how much there is to see, from every eighth pixel."""
    values = part.image[..., ::8, ::8, :] if part.has_channels else part.image[..., ::8, ::8]
    if is_wide(values.dtype):  # whose squares may not be representable
        values = network_channels(values, part.levels, is_coloured=part.has_channels)
    return float(values.std())


Scores = dict[str, np.ndarray]
"""By head, float32 (K, [Z,] Y, X) on the network's grid."""

FEWEST_OBJECT_PX = 20


@dataclass(frozen=True)
class UNetOptions:
    """How to segment an image with a U-Net."""

    output: Kind = "objects"
    diameter_px: float | None = None  # usual diameter of an object along X; None means estimated
    level: float | None = None  # probability above which a pixel is no background; None means the model's own
    min_size: int | None = None  # in pixels of the image; None means the model's own share of the usual size
    augment: bool = False  # average over mirror images
    is_orthogonal: bool = False  # of a volume, average planes across z, y and x; else link the objects of planes
    least_overlap: float = 0.25  # intersection over union from which on objects of neighbouring planes are linked
    tile_px: int | None = None  # side of a tile of the network's grid; None means as memory allows


def predict_auto_scale(network: Network, view: NormalizedImage, how: UNetOptions) -> Job[tuple[Scores, float]]:
    """Find the scale, and predict at it; the network and the image have as many dimensions.

    Returns
    -------
    Scores
        On the network's grid.
    float
        Network pixels per image pixel along X.
    """
    factor, seen = yield from subtask(find_scale(network, view, how), 0, 1, 3)
    return (yield from subtask(predict_or_reuse(factor, seen, network, view, how), 1, 2, 3)), factor


def predict_or_reuse(
    factor: float, seen: Scores | None, network: Network, view: NormalizedImage, how: UNetOptions
) -> Job[Scores]:
    """Predict at a scale, if that was not done while it was looked for: `factor` and `seen` are from `find_scale`."""
    if seen is None or how.augment:
        return (yield from predict_at(network, view, factor, how))
    return seen


def predict_at(network: Network, view: NormalizedImage, factor: float, how: UNetOptions) -> Job[Scores]:
    """Predict at a given scale along X."""
    return predict(network, view.grid_at(factor), view.read, tile_px=how.tile_px, augment=how.augment)


def find_scale(network: Network, view: NormalizedImage, how: UNetOptions) -> Job[tuple[float, Scores | None]]:
    """Find the scale at which the objects have the size that the network knows.

    Returns the network pixels per image pixel along X, 1 where the network knows no size; and the scores of the whole
    image at that scale, if it was predicted as a whole.
    """
    usual_px = network.header.get("diameter_px")
    if usual_px and how.diameter_px is not None:
        return usual_px / how.diameter_px, None
    if not usual_px or "size" not in network.architecture.heads:
        return 1.0, None

    def look(window: NormalizedImage, factor: float) -> Job[Scores]:
        return predict_at(network, window, factor, UNetOptions())  # the scale is the same whatever the tiles

    def diameter(found: Sequence[Scores], factor: float) -> float | None:
        return estimated_diameter(found, usual_px)

    return (yield from search_scale(view, network.ndim, usual_px, look, diameter))


def estimated_diameter(found: Sequence[Scores], usual_px: float) -> float | None:
    """Return the usual diameter by the size scores of the object pixels, in network pixels; None with hardly any."""
    sizes = np.concatenate([scores["size"][0][scores["classes"][0] < 0.5] for scores in found])
    return float(usual_px * np.exp(np.median(sizes))) if sizes.size >= FEWEST_OBJECT_PX else None

"""Find the scale at which objects have the diameter that a network was trained for, and predict at that scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from napari_tessera.core.jobs import Job, subtask
from napari_tessera.core.rescale import is_wide
from napari_tessera.core.result import Kind
from napari_tessera.core.tiles import tiles
from napari_tessera.inference.normalization import network_channels
from napari_tessera.inference.pixel_grid import NormalizedImage
from napari_tessera.inference.sliding_window import Scores, predict

if TYPE_CHECKING:
    from napari_tessera.inference.unet_predictor import Network


Found = TypeVar("Found")
"""The output of a network for a window."""

MOST_PROBES = 3
"""How many scales are tried one after the other."""
SAME_SCALE = 0.1
"""Change of the logarithm of the scale below which another prediction is not worth its time."""
SMALLEST_FACTOR, LARGEST_FACTOR = 0.1, 4.0
WHOLE_PX = 2e6
"""Largest image, in network pixels, that is predicted as a whole to find the scale; of a larger one, some windows."""
WINDOW_PX = {2: 512, 3: 96}
WINDOWS = 4
MOST_CANDIDATES = 256
MOST_PX = 10e6
"""Largest image, in network pixels, to which small objects are magnified; beyond, they are magnified less."""


@dataclass(frozen=True)
class ScaleProbe(Generic[Found]):
    """The result at one scale."""

    factor: float
    whole: Found | None  # of the whole image, if it was processed as a whole
    diameter_px: float | None  # usual diameter, in network pixels; None if there is hardly anything


def search_scale(
    view: NormalizedImage,
    ndim: int,
    usual_px: float,
    predict_window: Callable[[NormalizedImage, float], Job[Found]],
    usual_diameter: Callable[[Sequence[Found], float], float | None],
    others: Sequence[float] = (),
) -> Job[tuple[float, Found | None]]:
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
    predict_window : callable (window, factor) -> job
        Predicts a window at a scale: network pixels per image pixel along X.
    usual_diameter : callable (results of all windows, factor) -> float or None
        Usual diameter of the objects, in network pixels; None if there is hardly anything.
    others : sequence of float
        Scales to try, one after the other, if nothing is found at 1.

    Returns
    -------
    float
        Network pixels per image pixel along X; 1 if nothing is found at any scale.
    Found or None
        Result of the whole image at that scale, if it was processed as a whole.
    """

    def probe_at(factor: float) -> Job[ScaleProbe[Found]]:
        windows = probe_windows(view, factor, ndim)
        found = yield from _predict_windows(windows, factor, predict_window)
        return ScaleProbe(factor, found[0] if _is_whole(windows, view) else None, usual_diameter(found, factor))

    last = yield from subtask(_first_probe(probe_at, others), 0, 1, MOST_PROBES)
    for number in range(1, MOST_PROBES):
        if last.diameter_px is None:
            break
        better = bounded(last.factor * usual_px / last.diameter_px, view.shape)
        if abs(np.log(better / last.factor)) < SAME_SCALE:
            break
        if number == MOST_PROBES - 1 and not _is_whole(probe_windows(view, better, ndim), view):
            return better, None
        now = yield from subtask(probe_at(better), number, 1, MOST_PROBES)
        if now.diameter_px is None:
            break
        last = now
    return last.factor, last.whole


def _first_probe(
    probe_at: Callable[[float], Job[ScaleProbe[Found]]], others: Sequence[float]
) -> Job[ScaleProbe[Found]]:
    """Return the result at scale 1, or the first at another scale where there is something, else that at 1."""
    first = yield from subtask(probe_at(1.0), 0, 1, 1 + len(others))
    if first.diameter_px is not None:
        return first
    for done, factor in enumerate(others, start=1):
        other = yield from subtask(probe_at(factor), done, 1, 1 + len(others))
        if other.diameter_px is not None:
            return other
    return first


def _is_whole(windows: Sequence[NormalizedImage], view: NormalizedImage) -> bool:
    return windows[0].shape == view.shape


def _predict_windows(
    windows: Sequence[NormalizedImage], factor: float, predict_window: Callable[[NormalizedImage, float], Job[Found]]
) -> Job[list[Found]]:
    found = []
    for done, window in enumerate(windows):
        found.append((yield from subtask(predict_window(window, factor), done, 1, len(windows))))
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


def probe_windows(view: NormalizedImage, factor: float, ndim: int) -> list[NormalizedImage]:
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


def probed_px(shape: Sequence[int], ndim: int) -> int:
    """Return how many pixels of an image of `shape` a network of `ndim` axes predicts to find the scale, at scale 1.

    Examples
    --------
    >>> probed_px((1000, 1000), 2), probed_px((20_000, 20_000), 2)
    (1000000, 1048576)
    """
    whole = int(np.prod(shape, dtype=np.int64))
    if len(shape) == ndim and whole <= WHOLE_PX:
        return whole
    return min(whole, WINDOWS * WINDOW_PX[ndim] ** ndim)


def _content(part: NormalizedImage) -> float:
    """Return the standard deviation of the intensities, from every eighth pixel."""
    values = part.image[..., ::8, ::8, :] if part.has_channels else part.image[..., ::8, ::8]
    if is_wide(values.dtype):  # whose squares may not be representable
        values = network_channels(values, part.levels, is_coloured=part.has_channels)
    return float(values.std())


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


def predict_or_reuse(
    factor: float, known: Scores | None, network: Network, view: NormalizedImage, options: UNetOptions
) -> Job[Scores]:
    """Predict at a scale, if that was not done in the search for it: `factor` and `known` are from `find_scale`."""
    if known is None or options.augment:
        return (yield from predict_at(network, view, factor, options))
    return known


def predict_at(network: Network, view: NormalizedImage, factor: float, options: UNetOptions) -> Job[Scores]:
    """Predict at a given scale along X."""
    return predict(network, view.grid_at(factor), view.read, tile_px=options.tile_px, augment=options.augment)


def find_scale(network: Network, view: NormalizedImage, options: UNetOptions) -> Job[tuple[float, Scores | None]]:
    """Find the scale at which the objects have the size that the network knows.

    Returns the network pixels per image pixel along X, 1 where the network knows no size; and the scores of the whole
    image at that scale, if it was predicted as a whole.
    """
    usual_px = network.header.get("diameter_px")
    if usual_px and options.diameter_px is not None:
        return usual_px / options.diameter_px, None
    if not usual_px or "size" not in network.architecture.heads:
        return 1.0, None

    def predict_window(window: NormalizedImage, factor: float) -> Job[Scores]:
        return predict_at(network, window, factor, UNetOptions())  # the scale is the same whatever the tiles

    def diameter(found: Sequence[Scores], factor: float) -> float | None:
        return estimated_diameter(found, usual_px)

    return (yield from search_scale(view, network.ndim, usual_px, predict_window, diameter))


def estimated_diameter(found: Sequence[Scores], usual_px: float) -> float | None:
    """Return the usual diameter by the size scores of the object pixels, in network pixels; None with hardly any."""
    sizes = np.concatenate([scores["size"][0][scores["classes"][0] < 0.5] for scores in found])
    return float(usual_px * np.exp(np.median(sizes))) if sizes.size >= FEWEST_OBJECT_PX else None

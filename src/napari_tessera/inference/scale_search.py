"""Find the scale at which objects have the diameter that a network was trained for, and predict at that scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from napari_tessera.core.jobs import Job, subtask
from napari_tessera.core.rescale import is_wide
from napari_tessera.core.tiles import Slices, tiles
from napari_tessera.inference.decode_unet import UNetOptions, decoding_of, find_objects, pixel_scores, usual_size
from napari_tessera.inference.normalization import network_channels
from napari_tessera.inference.object_features import (
    FEW_OBJECTS,
    Likeness,
    PixelScores,
    Scoring,
    knows_its_objects,
    likeness_of,
    measured,
)
from napari_tessera.inference.pixel_grid import NormalizedImage
from napari_tessera.inference.sliding_window import Scores, predict

if TYPE_CHECKING:
    from napari_tessera.inference.predictor import Network


Found = TypeVar("Found")
"""The output of a network for a window."""

MOST_PROBES = 4
"""How many scales are tried one after the other."""
SAME_SCALE = 0.1
"""Change of the logarithm of the scale below which a second prediction is not worth its time; twice it for a fourth."""
SMALLEST_FACTOR, LARGEST_FACTOR = 0.1, 6.0
SMALL_START = 0.25
"""Scale from which on large objects are searched."""
OTHER_STARTS = (0.5, 0.25, 2.0)
"""Scales at which a network for volumes searches where it finds nothing at scale 1; it works at a small diameter."""
WHOLE_PX = 2e6
"""Largest image, in network pixels, that is predicted as a whole to find the scale; of a larger one, some windows."""
WINDOW_PX = {2: 512, 3: 96}
WINDOWS = 4
MOST_CANDIDATES = 256
FEWEST_VALUES, VALUES_PX = 16, 256
"""Fewest different values of a photograph, and the side of the grid of pixels that are looked at."""
MOST_PX = 50e6
"""Largest plane, or volume for a network for volumes, in network pixels, to which small objects are magnified where it
is worked on as a whole."""
DISAGREEMENT = 1.3
"""Ratio of the diameter by the size scores and that of the decoded objects from which on the latter counts."""


@dataclass(frozen=True)
class ScaleProbe(Generic[Found]):
    """The result at one scale."""

    factor: float
    found: Sequence[Found]  # in each window
    is_whole: bool  # the only window is the whole image
    diameter_px: float | None  # usual diameter, in network pixels; None if there is hardly anything


@dataclass(frozen=True)
class Scale(Generic[Found]):
    """The scale at which the objects have the size that a network knows, and what was found in the search for it."""

    factor: float  # network pixels per image pixel along X; 1 where the network knows no size
    known: Found | None = None  # output for the whole image at that scale, if it was predicted as a whole
    is_sure: bool = True  # the objects found do have that size
    likeness: Likeness | None = None
    second: Scores | None = None  # those of the second network for the whole image, if it found the scale


def search_scale(
    view: NormalizedImage,
    ndim: int,
    usual_px: float,
    predict_window: Callable[[NormalizedImage, float], Job[Found]],
    usual_diameter: Callable[[Sequence[Found], float], Job[float | None]],
    others: Sequence[float] = (),
    start: float = 1.0,
) -> Job[tuple[float, ScaleProbe[Found]]]:
    """Predict up to four times, each time at the scale that the result before suggests.

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
    usual_diameter : callable (results of all windows, factor) -> job
        Usual diameter of the objects, in network pixels; None if there is hardly anything.
    others : sequence of float
        Scales to try, one after the other, if nothing is found at the first.
    start : float
        The first scale.

    Returns
    -------
    float
        Network pixels per image pixel along X; the first one if nothing is found at any scale.
    ScaleProbe
        The last one, mostly at that scale.
    """

    def probe_at(factor: float) -> Job[ScaleProbe[Found]]:
        windows = probe_windows(view, factor, ndim)
        found = yield from subtask(_predict_windows(windows, factor, predict_window), 0, 9, 10)
        diameter_px = yield from subtask(usual_diameter(found, factor), 9, 1, 10)
        return ScaleProbe(factor, found, _is_whole(windows, view), diameter_px)

    last = yield from subtask(_first_probe(probe_at, (start, *others)), 0, 1, MOST_PROBES)
    for number in range(1, MOST_PROBES):
        if last.diameter_px is None:
            break
        better = bounded(last.factor * usual_px / last.diameter_px, view, ndim)
        if abs(np.log(better / last.factor)) < SAME_SCALE * max(1, number - 1):
            break
        if number == MOST_PROBES - 1 and not _is_whole(probe_windows(view, better, ndim), view):
            return better, last
        now = yield from subtask(probe_at(better), number, 1, MOST_PROBES)
        if now.diameter_px is None:
            break
        last = now
    return last.factor, last


def _first_probe(
    probe_at: Callable[[float], Job[ScaleProbe[Found]]], factors: Sequence[float]
) -> Job[ScaleProbe[Found]]:
    """Return the result at the first scale at which there is something, or else that at the first."""
    probes = []
    for done, factor in enumerate(factors):
        probes.append((yield from subtask(probe_at(factor), done, 1, len(factors))))
        if probes[-1].diameter_px is not None:
            return probes[-1]
    return probes[0]


def _is_whole(windows: Sequence[NormalizedImage], view: NormalizedImage) -> bool:
    return windows[0].shape == view.shape


def _predict_windows(
    windows: Sequence[NormalizedImage], factor: float, predict_window: Callable[[NormalizedImage, float], Job[Found]]
) -> Job[list[Found]]:
    found = []
    for done, window in enumerate(windows):
        found.append((yield from subtask(predict_window(window, factor), done, 1, len(windows))))
    return found


def bounded(factor: float, view: NormalizedImage, ndim: int = 2) -> float:
    """Keep an estimated scale where the network's image is neither tiny nor, without blocks, too large for memory.

    A network of `ndim` 2 takes planes of a volume.
    """
    at_scale_1 = np.prod(np.multiply(view.shape, view.factors(1.0))[-ndim:])
    most = np.inf if view.is_stored else max(1.0, float(MOST_PX / at_scale_1) ** (1 / ndim))
    return float(np.clip(factor, SMALLEST_FACTOR, min(LARGEST_FACTOR, most)))


def may_be_held_back(factor: float, view: NormalizedImage, ndim: int = 2) -> bool:
    """Return whether an image is so large that a scale that was estimated might have been larger otherwise."""
    most = bounded(LARGEST_FACTOR, view, ndim)
    return most < LARGEST_FACTOR and factor >= most


def probe_windows(view: NormalizedImage, factor: float, ndim: int) -> list[NormalizedImage]:
    """Choose what the scale is found from: all of a small image, of a large one some windows with much in them.

    A network of `ndim` 2 takes planes of a volume.
    """
    if _is_small(view, factor, ndim, WHOLE_PX):
        return [view]
    parts = [view.crop(place) for place in full_places(view, factor, ndim, WINDOW_PX[ndim])]
    return [part.plane(0, 0) for part in parts] if ndim < view.ndim else parts


def full_places(view: NormalizedImage, factor: float, ndim: int, side_px: int, whole_px: float = 0) -> list[Slices]:
    """Choose some windows with much in them, of `side_px` network pixels a side; all of an image up to `whole_px`.

    For a network of `ndim` 2 they are one plane of a volume each.
    """
    if _is_small(view, factor, ndim, whole_px):
        return [tuple(slice(0, side) for side in view.shape)]
    sides = [max(1, round(side_px / each)) for each in view.factors(factor)]
    sides[: view.ndim - ndim] = [1] * (view.ndim - ndim)
    places = [tile.write for tile in tiles(view.shape, sides, (0,) * view.ndim)]
    places = places[:: -(-len(places) // MOST_CANDIDATES)]
    places.sort(key=lambda place: _content(view.crop(place)), reverse=True)
    # From the fuller half, but not its top alone: that may be dirt.
    return places[: max(WINDOWS, len(places) // 2)][:: max(1, len(places) // (2 * WINDOWS))][:WINDOWS]


def _is_small(view: NormalizedImage, factor: float, ndim: int, whole_px: float) -> bool:
    return ndim == view.ndim and bool(np.prod(np.multiply(view.shape, view.factors(factor))) <= whole_px)


def _is_drawing(windows: Sequence[NormalizedImage]) -> bool:
    """Return whether there are fewer different values than in any photograph, by some of the pixels."""
    values = []
    for window in windows:
        steps = tuple(slice(None, None, 1 + side // VALUES_PX) for side in window.shape)
        pixels = window.crop(tuple(slice(0, side) for side in window.shape)).image
        values.append(np.asarray(pixels[steps]).reshape(-1))
    return len(np.unique(np.concatenate(values))) < FEWEST_VALUES


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


def predict_or_reuse(
    scale: Scale[Scores], network: Network, view: NormalizedImage, options: UNetOptions
) -> Job[Scores]:
    """Predict at a scale, if that was not done in the search for it."""
    if scale.known is None or options.augment:
        return (yield from predict_at(network, view, scale.factor, options))
    return scale.known


def predict_at(network: Network, view: NormalizedImage, factor: float, options: UNetOptions) -> Job[Scores]:
    """Predict at a given scale along X."""
    return predict(network, view.grid_at(factor), view.read, tile_px=options.tile_px, augment=options.augment)


def find_scale(network: Network, view: NormalizedImage, options: UNetOptions) -> Job[Scale[Scores]]:
    """Find the scale at which the objects have the size that the network knows.

    Parts of large objects can look like foreign objects. So where the objects found do, they are searched once more
    from a small scale on.
    """
    usual_px = network.header.get("diameter_px")
    if usual_px and options.diameter_px is not None:
        return Scale(usual_px / options.diameter_px)
    if not usual_px or "size" not in network.architecture.heads:
        return Scale(1.0)
    scale = yield from subtask(_search(network, view, 1.0), 0, 9, 10)
    if scale.likeness is None or not scale.likeness.is_foreign or scale.factor < 2 * SMALL_START:
        return scale
    other = yield from subtask(_search(network, view, SMALL_START), 9, 1, 10)
    is_better = other.likeness is not None and not other.likeness.is_foreign and other.likeness.count >= FEW_OBJECTS
    return other if is_better else scale


def _search(network: Network, view: NormalizedImage, start: float) -> Job[Scale[Scores]]:
    """Search from one scale on, and compare what is found with the training."""
    header, usual_px = network.header, network.header["diameter_px"]

    def predict_window(window: NormalizedImage, factor: float) -> Job[Scores]:
        return predict_at(network, window, factor, UNetOptions())  # the scale is the same whatever the tiles

    def diameter(found: Sequence[Scores], factor: float) -> Job[float | None]:
        return estimated_diameter(found, header)

    others = OTHER_STARTS if network.ndim == 3 else ()
    searching = search_scale(view, network.ndim, usual_px, predict_window, diameter, others, start)
    factor, last = yield from subtask(searching, 0, 19, 20)
    known = last.found[0] if last.is_whole and last.factor == factor else None
    if last.diameter_px is None:
        return Scale(factor, known)
    per_pixel = float(np.prod(view.factors(last.factor)[-network.ndim :]) ** (1 / network.ndim))
    found_px, likeness = yield from subtask(review(last.found, header, per_pixel), 19, 1, 20)
    likeness = likeness and replace(likeness, is_drawing=_is_drawing(probe_windows(view, 1.0, network.ndim)))
    is_sure = abs(np.log(found_px * factor / last.factor / usual_px)) < np.log(DISAGREEMENT)
    return Scale(factor, known, bool(is_sure), likeness)


def review(found: Sequence[Scores], header: Mapping[str, Any], factor: float) -> Job[tuple[float, Likeness | None]]:
    """Decode some windows, and return the usual diameter of their objects, px, and how like the training they are."""
    ndim, usual_px = found[0]["classes"].ndim - 1, header["diameter_px"]
    scoring = Scoring.of(header, usual_size(usual_px, ndim), factor) if ndim == 2 and header.get("scoring") else None
    sizes, features = [], []
    for done, scores in enumerate(found):
        pixels = _pixel_scores(scores)
        labels = yield from subtask(find_objects(pixels, decoding_of(header)), 2 * done, 1, 2 * len(found))
        sizes.append(np.bincount(labels.reshape(-1))[1:])
        if scoring is not None:
            measuring = measured(labels, pixels, scoring.usual_px, factor)
            features.append((yield from subtask(measuring, 2 * done + 1, 1, 2 * len(found))))
    together = np.concatenate(sizes)
    likeness = None
    if scoring is not None and knows_its_objects(header):
        likeness = likeness_of(np.concatenate(features), together, scoring)
    return diameter_of_half(together, ndim) or usual_px, likeness


def _pixel_scores(scores: Scores) -> PixelScores:
    """Name the scores as `pixel_scores` does, but leave them as they are."""
    return pixel_scores({**scores, "classes": scores["classes"].copy()})


def estimated_diameter(found: Sequence[Scores], header: Mapping[str, Any]) -> Job[float | None]:
    """Return the usual diameter of the objects in some windows, in network pixels; None with hardly any.

    The size scores are good near the usual diameter, and tend towards it far from it. There, and wherever they are far
    from the size of the decoded objects, the latter counts: half of all object pixels are in larger objects. In
    volumes, which are few to train on, the two are compared near the usual diameter as well.
    """
    ndim = found[0]["classes"].ndim - 1
    usual_px = header["diameter_px"]
    sizes = np.concatenate([scores["size"][0][scores["classes"][0] < 0.5] for scores in found])
    if sizes.size < FEWEST_OBJECT_PX:
        return None
    scored_px = float(usual_px * np.exp(np.median(sizes)))
    if ndim == 2 and abs(np.log(scored_px / usual_px)) < SAME_SCALE:
        return scored_px
    volumes = []
    for done, scores in enumerate(found):
        labels = yield from subtask(find_objects(_pixel_scores(scores), decoding_of(header)), done, 1, len(found))
        volumes.append(np.bincount(labels.reshape(-1))[1:])
    found_px = diameter_of_half(np.concatenate(volumes), ndim)
    return found_px if found_px and max(found_px / scored_px, scored_px / found_px) > DISAGREEMENT else scored_px


def diameter_of_half(volumes: np.ndarray, ndim: int) -> float | None:
    """Return the diameter from which on objects hold half of all pixels, as of discs or balls; None without objects."""
    volumes = np.sort(volumes[volumes > 0])
    if not len(volumes):
        return None
    middle = volumes[np.searchsorted(volumes.cumsum(), volumes.sum() / 2)]
    return float((middle / usual_size(1.0, ndim)) ** (1 / ndim))

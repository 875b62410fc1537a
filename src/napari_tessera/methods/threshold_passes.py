"""The two passes of thresholding: count the values and find the levels; then compare every pixel with its level."""

from __future__ import annotations

from dataclasses import asdict
from operator import add
from typing import Any

import numpy as np

from napari_tessera.bands import PIECE_PX, Piece
from napari_tessera.errors import ParameterError
from napari_tessera.jobs import Job
from napari_tessera.kernels.smoothing import is_held, sigmas_px, smoothed
from napari_tessera.methods.grey import to_grey
from napari_tessera.methods.histogram import Grid, Measure, measure_block, rounds_for
from napari_tessera.methods.local_levels import LOCAL_RULES, local_reach, stands_out
from napari_tessera.methods.threshold_rules import RULES, otsu_levels
from napari_tessera.result import Chosen
from napari_tessera.spec import Spacing
from napari_tessera.two_pass import Touching, TwoPass
from napari_tessera.value_range import Scale, scaled_number, unscaled_number


def _prepare(image: np.ndarray, **settings: Any) -> Job[np.ndarray]:
    """Make the image grey and smooth."""
    _check(settings["rule"], settings["low"], settings["high"], settings["contrast"])
    grey = to_grey(image, settings["channel_axis"], settings["channel"], "threshold")
    if settings["smoothing"] == 0:
        return grey
    return (yield from smoothed(grey, settings["smoothing"], settings["spacing"], settings["scale"]))


def _needs_scale(dtype: np.dtype, *, smoothing: float, **_: Any) -> bool:
    return smoothing > 0 and not is_held(dtype)


def _check(rule: str, low: float | None, high: float | None, contrast: float | None) -> None:
    if rule == "manual" and low is None and high is None:
        raise ParameterError(
            'threshold: the rule "manual" needs `low`, `high` or both. Give an object\'s lowest intensity as `low`.',
            "low",
        )
    if rule in ("manual", "hysteresis") and low is not None and high is not None and low > high:
        raise ParameterError(f"threshold: `low` is {low:g}, which is above `high`, {high:g}. Swap them.", "low")
    if rule == "sauvola" and contrast == 0:
        raise ParameterError("threshold: `contrast` is 0. Give a number above 0, or leave it empty.", "contrast")


def _reach(*, rule: str, radius: int, smoothing: float, spacing: Spacing, **_: Any) -> int:
    """Reach of the Gaussian, cut off at four standard deviations, and of the window."""
    blur = max(int(4 * sigma + 0.5) for sigma in sigmas_px(smoothing, len(spacing or (1,)), spacing))
    return blur + (local_reach(rule, radius, spacing) if rule in LOCAL_RULES else 0)


def _rounds(prepared: np.ndarray, *, rule: str, low: float | None, high: float | None, **_: Any) -> int:
    if rule == "manual" or (rule == "hysteresis" and low is not None and high is not None):
        return 0
    return rounds_for(prepared.dtype)


def _summarise(
    prepared: np.ndarray, start: tuple[int, ...], earlier: Measure | None, *, rule: str, **_: Any
) -> Measure:
    if rule in LOCAL_RULES and earlier is not None and earlier.is_uneven:
        return earlier  # they need no counts, but the steps that values lie on
    return measure_block(prepared, earlier)


def _fit(
    measure: Measure | None, *, rule: str, classes: int, low: Any, high: Any, scale: Scale, **_: Any
) -> Job[dict[str, Any]]:
    """Find the levels in the unit of `scale`, or for local rules the grid."""
    yield from ()
    low, high = (None if level is None else scaled_number(level, scale) for level in (low, high))
    if measure is None:
        return {"levels": [low, high]}
    if rule in LOCAL_RULES:
        return {"grid": asdict(measure.value_grid)}
    histogram = measure.histogram
    if histogram is None:
        return {"levels": []}
    if rule == "hysteresis":
        found = otsu_levels(histogram, 3)
        pair = [found[0] if low is None else low, found[-1] if high is None else high]
        return {"levels": sorted(pair)}
    return {"levels": otsu_levels(histogram, classes) if rule == "multi-otsu" else [RULES[rule](histogram)]}


def _apply(
    prepared: np.ndarray,
    core: Piece,
    start: tuple[int, ...],
    fitted: dict[str, Any],
    *,
    rule: str,
    objects: str,
    **settings: Any,
) -> np.ndarray:
    """Return the class of each pixel; with hysteresis 1 is weak and 2 strong."""
    if rule in LOCAL_RULES:
        grid = Grid(**fitted["grid"])
        local = {name: settings[name] for name in ("radius", "offset", "k", "contrast", "spacing", "scale")}
        return stands_out(prepared, core, grid, rule, objects=objects, **local).astype(np.uint8)
    values = prepared[core]
    if rule == "manual":
        return _between(values, *fitted["levels"]).astype(np.uint8)
    above = np.zeros(values.shape, np.uint8)
    for level in fitted["levels"]:
        above += values > level
    if objects == "bright" or not fitted["levels"]:
        return above
    last = np.uint8(len(fitted["levels"]))
    return last - above if rule == "hysteresis" else np.where(above == last, np.uint8(0), above + np.uint8(1))


def _between(values: np.ndarray, low: float | None, high: float | None) -> np.ndarray:
    is_inside = np.ones(values.shape, bool)
    if low is not None:
        is_inside &= values >= low
    if high is not None:
        is_inside &= values <= high
    return is_inside


def _touching(*, rule: str, output: str, **_: Any) -> Touching | None:
    return Touching(_regions, _numbers) if output == "objects" or rule == "hysteresis" else None


def _regions(classes: np.ndarray, /, *, rule: str, **_: Any) -> np.ndarray:
    """Weak and strong pixels of hysteresis are one region; other classes are apart."""
    return np.minimum(classes, 1) if rule == "hysteresis" else classes


def _numbers(sizes: np.ndarray, highest: np.ndarray, *, rule: str, output: str, min_size: int, **_: Any) -> np.ndarray:
    """Keep the objects that are large enough and, with hysteresis, hold a strong pixel."""
    keep = highest >= (2 if rule == "hysteresis" else 1)
    if output == "classes":
        return keep.astype(np.int64)
    keep &= sizes >= min_size
    keep[0] = False
    return np.cumsum(keep) * keep


def _piece_px(ndim: int, *, rule: str, radius: int, **_: Any) -> int:
    """Large pieces where the halo costs most; smaller ones for the median, whose work grows with the window."""
    if rule == "local-median":
        return int(2**23 // (2 * radius + 1) ** (ndim - 1))
    return 2 * PIECE_PX if rule in ("local-mean", "sauvola", "niblack") else PIECE_PX


def _chosen(fitted: dict[str, Any], *, rule: str, scale: Scale, **_: Any) -> Chosen:
    if rule in ("manual", *LOCAL_RULES):
        return {}
    return {"levels": [unscaled_number(level, scale) for level in fitted["levels"]]}


THRESHOLD = TwoPass(
    reach=_reach,
    prepare=_prepare,
    rounds=_rounds,
    summarise=_summarise,
    merge=add,
    fit=_fit,
    apply=_apply,
    touching=_touching,
    piece_px=_piece_px,
    chosen=_chosen,
    needs_scale=_needs_scale,
)

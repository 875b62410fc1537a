"""The one level that all blocks of an image share, so that watershed parts objects from background alike in each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from napari_tessera.jobs import Job
from napari_tessera.kernels.smoothing import is_held, sigmas_px, smoothed
from napari_tessera.methods.grey import to_grey
from napari_tessera.methods.histogram import Measure, measure_block, rounds_for
from napari_tessera.methods.threshold_passes import THRESHOLD
from napari_tessera.methods.threshold_rules import RULES
from napari_tessera.two_pass import Settings, TwoPass
from napari_tessera.value_range import UNSCALED, Scale

ROUNDING = 1e-6
"""More than the error, in halves of the range, of values that a block smooths in a unit of its own."""


def measured_over_whole(**settings: Any) -> tuple[TwoPass, Settings, Callable[[dict[str, Any]], Settings]] | None:
    """Say what to measure over the whole image, and how blocks are labelled once it is known.

    Returns
    -------
    level, settings, fix : or None
        None where no level is to be found: it is given, or the foreground needs none.
    """
    if settings["level"] is not None or settings["foreground"] in ("mask", "whole"):
        return None

    def fix(fitted: dict[str, Any]) -> Settings:
        origin, unit = Fraction(fitted["scale"].origin), Fraction(fitted["scale"].unit)
        level = Fraction(fitted["level"])
        return {**settings, "level": origin + unit * (-level if settings["objects"] == "dark" else level)}

    return LEVEL, settings, fix


def _prepare(image: np.ndarray, **settings: Any) -> Job[np.ndarray]:
    """Do what watershed does before it looks for the level; dark objects are made bright."""
    grey = to_grey(image, settings["channel_axis"], settings["channel"], "watershed")
    values = yield from smoothed(grey, settings["smoothing"], settings["spacing"], settings["scale"])
    if settings["objects"] == "dark":
        np.negative(values, out=values)
    return values


def _reach(*, smoothing: float, spacing: tuple[float, ...] | None, **_: Any) -> int:
    return max(int(4 * sigma + 0.5) for sigma in sigmas_px(smoothing, len(spacing or (1,)), spacing))


def _rounds(prepared: np.ndarray, **_: Any) -> int:
    return rounds_for(prepared.dtype)


def _summarise(prepared: np.ndarray, start: tuple[int, ...], earlier: Measure | None, **_: Any) -> Measure:
    return measure_block(prepared, earlier)


def _needs_scale(dtype: np.dtype, **_: Any) -> bool:
    return not is_held(dtype)


def _fit(measure: Measure, *, foreground: str, scale: Scale, **_: Any) -> Job[dict[str, Any]]:
    """Find the level of the bright objects; a constant image has none, and nothing is brighter than it is."""
    yield from ()
    histogram = measure.histogram
    if histogram is None:
        return {"level": float(measure.value_grid.low)}
    level = RULES["otsu" if foreground == "local" else foreground](histogram)
    return {"level": level if scale == UNSCALED else level + ROUNDING}


LEVEL = replace(
    THRESHOLD, summarise=_summarise, reach=_reach, prepare=_prepare, rounds=_rounds, fit=_fit, needs_scale=_needs_scale
)

"""Try several methods on the part of an image in view, so that a user can choose one by its result."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from napari_tessera.core.jobs import Job
from napari_tessera.engine.preview import PreviewCache, PreviewRequest, View, preview
from napari_tessera.methods.registry import method_named

LARGEST_SIDE_PX = 400
"""Of a larger view, the middle is tried: the networks then need a second or two."""
POLARITY = "polarity"


@dataclass(frozen=True)
class Trial:
    """A method to try.

    Attributes
    ----------
    method : str
    purpose : str
        What the method is for, in one sentence.
    settings : dict
        Settings that differ from the defaults.
    """

    method: str
    purpose: str
    settings: Mapping[str, Any] = field(default_factory=dict)


TRIALS = (
    Trial("threshold", "For objects that stand apart on an even ground.", {"output": "objects", "min_size": 30}),
    Trial("watershed", "For round objects that touch each other."),
    Trial("unet", "A network for nuclei, dim or crowded ones too."),
    Trial("mask_rcnn", "A network for nuclei that overlap; scores each."),
)


@dataclass(frozen=True)
class TrialResult:
    """What a method found.

    Attributes
    ----------
    settings : dict
        All settings, as a form takes them.
    labels : (Y, X) array
    n_objects : int
    seconds : float
    """

    settings: Mapping[str, Any]
    labels: np.ndarray
    n_objects: int
    seconds: float


def middle_view(planes: Mapping[str, int], corners: np.ndarray, shape: tuple[int, int]) -> View:
    """Return a square in the middle of the view, every pixel of it.

    Parameters
    ----------
    planes : dict of str to int
    corners : (2, 2) array
        First and last pixel in view, as y, x.
    shape : (int, int)
        Of the plane.
    """
    view = View.of(planes, corners, shape, shape[0] * shape[1])
    side = min(view.bottom - view.top, view.right - view.left, LARGEST_SIDE_PX)
    top, left = (view.top + view.bottom - side) // 2, (view.left + view.right - side) // 2
    return View(view.planes, top, left, top + side, left + side, 1)


def try_method(trial: Trial, image: Any, axes: str, view: View) -> Job[TrialResult]:
    """Run a method on a view of an image.

    Whether objects are brighter or darker than the background is guessed: they are thought to cover less than half.

    Raises
    ------
    TesseraError
        As in the method itself.
    """
    method = method_named(trial.method)
    settings = {**method.declaration.defaults, **trial.settings}
    if POLARITY in settings:
        settings[POLARITY] = yield from _guessed_polarity(image, axes, view)
    began = time.perf_counter()
    request = PreviewRequest(trial.method, image, axes, view, settings)
    labels = yield from preview(request, PreviewCache())
    seconds = time.perf_counter() - began
    return TrialResult(settings, labels, len(np.unique(labels[labels > 0])), seconds)


def _guessed_polarity(image: Any, axes: str, view: View) -> Job[str]:
    bright = PreviewRequest("threshold", image, axes, view, method_named("threshold").declaration.defaults)
    labels = yield from preview(bright, PreviewCache())
    return "dark" if (labels > 0).mean() > 0.5 else "bright"

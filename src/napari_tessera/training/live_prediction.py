"""Predict with the current weights of a running training, in the viewport."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_tessera.core.jobs import Job, stepped_in_background
from napari_tessera.training.data.example import BACKGROUND, NOT_PAINTED
from napari_tessera.training.validation import Where, predict_view, score_network

if TYPE_CHECKING:
    from napari_tessera.inference.pixel_grid import NormalizedImage
    from napari_tessera.models.weights import Network
    from napari_tessera.training.annotations.annotation import AnnotatedImage
    from napari_tessera.training.checkpoint import State
    from napari_tessera.training.data.dataset import Dataset


@dataclass
class LiveTraining:
    """A running training; empty until its first step."""

    state: State | None = None
    header: Mapping[str, Any] = field(default_factory=dict)  # of the model file
    data: Dataset | None = None
    keeps_first: bool = False  # keep the network for `first_scores`
    first: Network | None = None  # the network before its first step; None if the training resumes from a checkpoint

    def begin(self, state: State, header: Mapping[str, Any], data: Dataset | None = None) -> None:
        """Record a training that begins."""
        self.state, self.header, self.data = state, header, data
        self.first = copy.deepcopy(state.net).eval() if self.keeps_first and not state.step else None

    def diameter_px(self, name: str) -> float | None:
        """Return the usual diameter of the annotated objects of an image; None without objects."""
        of_image = [each.diameter_px for each in (self.data.learn if self.data else ()) if each.name.startswith(name)]
        return next((each for each in of_image if each), None)


def first_scores(live: LiveTraining, device: Where = "auto") -> Job[dict[str, float]]:
    """Score the network as it was before its first step, on the held-out annotation; see `score_network`.

    The result is empty without held-out annotation, or if the training was resumed.
    """
    if live.first is None or live.data is None or not live.data.check:
        return {}
    return (yield from score_network(live.first, live.header, live.data.check, device))


def prediction(
    live: LiveTraining,
    view: NormalizedImage,
    *,
    diameter_px: float | None = None,
    output: Literal["objects", "classes", "probabilities"] | None = None,
    device: Where = "auto",
) -> Job[np.ndarray]:
    """Segment an image, or a part of one, with the averaged weights of a training that has begun.

    Call it between two steps, in the thread that trains. The output is that of `tessera.unet`, by default for the task
    of the network; a Mask R-CNN always gives objects. The usual diameter of the objects is estimated if not given.
    """
    from napari_tessera.inference.predictor import in_memory

    assert live.state is not None
    with live.state.averaged() as net:
        model = in_memory(net, live.header, device)
    predicting = predict_view(model, view, output or live.header["task"], diameter_px, device)
    return (yield from stepped_in_background(predicting))


# Heavy modules are imported in functions, in a thread, so that a widget opens at once.

FIRST_SIDE_PX, SIDE_PX = 256, 512
"""Side of the first prediction of a training, and of a prediction of a model."""
PLANES_AROUND = 8
"""Planes of a volume above and below the visible one that are predicted too."""


@dataclass(frozen=True)
class Viewport:
    """The visible part of an image."""

    index: int  # which image
    place: tuple[int, ...]  # an index along each axis that is not segmented together with the others
    window: tuple[slice, ...]  # along [z,] y, x


@dataclass(frozen=True)
class ViewportPrediction:
    """The prediction of a viewport; `labels` are those of `viewport.window`."""

    viewport: Viewport
    labels: np.ndarray
    step: int = 0


def looking_at(
    model: Path,
    painting: AnnotatedImage,
    viewport: Viewport,
    header: Mapping[str, Any],
    diameter_px: float | None = None,
    device: Where = "auto",
) -> Job[ViewportPrediction]:
    """Predict the viewport with a model."""
    from napari_tessera.models.registry import find

    viewport = fitted(viewport, painting, SIDE_PX)
    view = yield from painting.view(viewport.place, viewport.window, header)
    return ViewportPrediction(
        viewport, (yield from predict_view(find(model), view, header["task"], diameter_px, device))
    )


def fitted(viewport: Viewport, painting: AnnotatedImage, side_px: int) -> Viewport:
    """Cut a window to its middle if it is larger than `side_px`, to the image, and to a few planes."""
    shape = tuple(painting.paint.shape)[-len(viewport.window) :]
    sides = (2 * PLANES_AROUND + 1, side_px, side_px)[-len(viewport.window) :]
    window = []
    for part, length, side in zip(viewport.window, shape, sides, strict=True):
        start, stop = max(0, part.start), min(length, part.stop)
        spare = max(0, stop - start - side)
        window.append(slice(start + spare // 2, stop - (spare - spare // 2)))
    return replace(viewport, window=tuple(window))


UNKNOWN = -1
"""Value of pixels without a prediction."""


def paint_of_classes(classes: np.ndarray, paint: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Convert predicted classes to annotation; 0 where nothing is added, because existing annotation stays.

    Classes are -1 without a prediction, 0 background, 1…; `inside` is the part that the user accepts.

    Examples
    --------
    >>> paint_of_classes(np.array([0, 1, 1, 2]), np.array([0, 0, 1, 0]), np.array([True, True, True, False])).tolist()
    [1, 2, 0, 0]
    """
    return np.where(inside & (paint == NOT_PAINTED) & (classes != UNKNOWN), classes + 1, 0)


def paint_of_objects(
    objects: np.ndarray, paint: np.ndarray, inside: np.ndarray, taken: np.ndarray, first: int
) -> np.ndarray:
    """Convert background and accepted objects to annotation; 0 where nothing is added.

    The objects of `taken`, which is sorted, get the annotation numbers `first`, `first` + 1, …; the other arrays are
    those of `paint_of_classes`.

    Examples
    --------
    >>> paint_of_objects(np.array([0, 4, 7]), np.zeros(3, int), np.ones(3, bool), np.array([7]), 12).tolist()
    [1, 0, 12]
    """
    place = np.searchsorted(taken, objects)
    is_taken = np.append(taken, UNKNOWN)[place] == objects
    meant = np.where(objects == 0, BACKGROUND, np.where(is_taken, first + place, 0))
    return np.where(inside & (paint == NOT_PAINTED), meant, 0)


def objects_cut(objects: np.ndarray, inside: np.ndarray) -> set[int]:
    """Return the objects that extend beyond the accepted part, or into pixels without a prediction.

    Both arrays are one pixel wider than the accepted part on all sides of the plane.

    Examples
    --------
    >>> inside = np.array([[False, True, True, False]])
    >>> sorted(objects_cut(np.array([[3, 3, 5, 0]]), inside))
    [3]
    """
    cut: set[int] = set()
    for axis in range(objects.ndim):
        first = (slice(None),) * axis + (slice(None, -1),)
        second = (slice(None),) * axis + (slice(1, None),)
        before, after, is_in, goes_in = objects[first], objects[second], inside[first], inside[second]
        for one, other, leaves in ((before, after, is_in & ~goes_in), (after, before, goes_in & ~is_in)):
            cut.update(one[leaves & ((one == other) | (other == UNKNOWN))].tolist())
    return cut - {0, UNKNOWN}


def objects_met(objects: np.ndarray, paint: np.ndarray) -> set[int]:
    """Return the objects that overlap annotated objects, which the user has drawn."""
    return set(np.unique(objects[(paint > BACKGROUND) & (objects > 0)]).tolist())

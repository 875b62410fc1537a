"""Interactive training: between steps, predict the visible part of the image."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_tessera.core.errors import InputError, in_words
from napari_tessera.core.file_checks import short_lived_folder
from napari_tessera.core.jobs import Job, Progress, in_background, stepped_in_background, subtask
from napari_tessera.core.sparse_array import SparseArray, highest_of
from napari_tessera.training.live_prediction import FIRST_SIDE_PX, Viewport, ViewportPrediction, fitted, prediction

if TYPE_CHECKING:
    from napari_tessera.training.annotations.annotation import AnnotatedImage
    from napari_tessera.training.export import TrainingResult
    from napari_tessera.training.live_prediction import LiveTraining
    from napari_tessera.training.settings import Training


# Heavy modules are imported in functions, in a thread, so that a widget opens at once.

COPIED_BYTES_AT_ONCE = 8_000_000
OBJECTS = "objects"


@dataclass(frozen=True)
class AnnotatedLayer:
    """An image and its annotation, as layers that the user may change."""

    name: str
    image: Any
    paint: Any  # if the user continues to paint, copy it first: see `snapshot`
    axes: str  # one letter for each axis of the image, with C for channels
    anisotropy: float = 1.0  # distance of planes divided by the pixel size


@dataclass(frozen=True)
class TrainingRequest:
    """A training request: annotated layers, the model to write, and settings."""

    given: Sequence[AnnotatedLayer]
    out: Path  # the model file to write
    settings: Mapping[str, Any]  # see `training.settings.Training`
    names: Sequence[str] = ()
    """Names of the classes, background first; names beyond the highest annotated number are ignored."""
    goes_on: bool = False  # resume an earlier training with this name; otherwise start again


def snapshot(request: TrainingRequest) -> Job[TrainingRequest]:
    """Copy the annotations, so that the user can continue to paint during the training."""
    copied = []
    for each in request.given:
        copied.append(replace(each, paint=(yield from hold_snapshot(each.paint))))
    return replace(request, given=tuple(copied))


def paintings_of(given: Sequence[AnnotatedLayer], ndim: int) -> Job[tuple[list[AnnotatedImage], int]]:
    """Pair images with their annotations, and return the highest annotated number too.

    An InputError says that an image and its annotation do not match.
    """
    from napari_tessera.training.annotations.read import painting_of

    paintings, highest = [], 0
    for each in given:
        painting = painting_of(each.name, each.image, each.paint, ndim, axes=each.axes, anisotropy=each.anisotropy)
        paintings.append(painting)
        highest = max(highest, (yield from highest_of(painting.paint)))
    return paintings, highest


def hold_snapshot(array: Any) -> Job[Any]:
    """Copy an array in memory in small steps; a stored array is read later, around its annotation."""
    if isinstance(array, SparseArray):
        return (yield from _sparse_copy(array))
    if not isinstance(array, np.ndarray) or not array.size:
        return array
    copy = np.empty_like(array)
    rows = max(1, len(array) * COPIED_BYTES_AT_ONCE // max(1, array.nbytes))
    for start in range(0, len(array), rows):
        yield Progress(start, len(array), "Copying the paint")
        copy[start : start + rows] = array[start : start + rows]
    return copy


def _sparse_copy(array: SparseArray) -> Job[SparseArray]:
    copied, windows = SparseArray(array.shape, array.dtype), array.written()
    for done, window in enumerate(windows):
        yield Progress(done, len(windows), "Copying the paint")
        copied[window] = array[window]
    return copied


def check_named(settings: Training, names: Sequence[str], highest: int) -> None:
    """Refuse an annotation with more classes than names: it is usually an annotation of objects."""
    if settings.task != OBJECTS and names and highest > len(names):
        raise InputError(
            f"The annotation has the number {highest}, but there are {len(names)} classes, background included. If "
            'each number is an object, choose the task "Objects"; if it is a class, add it to the list of classes, or '
            "paint with the numbers in the list."
        )


def named(settings: Training, names: Sequence[str], highest: int) -> Training:
    """Name the classes; for objects there are always two names."""
    count = 2 if settings.task == OBJECTS else highest
    chosen = list(names[:count])
    return replace(settings, classes=",".join(chosen)) if chosen and len(chosen) == count else settings


# What computes is imported where it is used, in the thread: a widget opens without waiting for it.

SHARE_OF_LOOKING = 0.2
"""Largest share of the training time for live predictions."""
FEWEST_SECONDS = 1.0
FIRST_SECONDS, MOST_SECONDS, GROWTH = 1.0, 8.0, 1.5
NOT_SHOWN = "The live prediction has stopped; the training goes on."
SMALLEST_SIDE_PX, LARGEST_SIDE_PX = 96, 2048


@dataclass(frozen=True)
class InteractiveResult:
    """The model, and the scores of the network on the held-out annotation before its first step."""

    trained: TrainingResult
    scores_before: Mapping[str, float]
    paintings: Sequence[AnnotatedImage]
    diameters_px: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def scores(self) -> Mapping[str, float]:
        """Scores of the weights that were kept."""
        return self.trained.header["training"]["scores"]


def learning(
    request: TrainingRequest, viewport: Callable[[], Viewport | None], should_stop: Callable[[], bool] = lambda: False
) -> Job[InteractiveResult]:
    """Do what `session.fine_tuning` does, and predict the viewport between steps.

    `viewport` is called between steps, and returns None for no prediction; `should_stop` is called after each step. The
    `data` of the progress are as in `training.loop.train`, or {"before": scores}, {"advice": texts}, or
    {"seen": ViewportPrediction}.
    """
    from napari_tessera.models.load_torch import load_torch

    yield from subtask(load_torch(), 0, 0, 1)
    from napari_tessera.training.live_prediction import LiveTraining

    yield from in_background(partial(import_module, "napari_tessera.training.session"), "Loading the training")
    from napari_tessera.training.session import fine_tuning
    from napari_tessera.training.settings import NOTHING, checked_settings

    settings = checked_settings({**request.settings, "painted": True})
    paintings, highest = yield from subtask(paintings_of(request.given, settings.ndim), 0, 0, 1)
    check_named(settings, request.names, highest)
    settings = named(settings, request.names, highest)
    live = LiveTraining(keeps_first=settings.start_from != NOTHING)
    predictor = LivePredictor(live, paintings, settings.device, viewport, should_stop)
    job = fine_tuning(paintings, request.out, settings, restart=not request.goes_on, should_stop=should_stop, live=live)
    trained = yield from watched(job, predictor)
    diameters = {each.name: live.diameter_px(each.name) for each in paintings}
    return InteractiveResult(trained, predictor.before or {}, paintings, diameters)


def watched(training: Job[TrainingResult], predictor: LivePredictor) -> Job[TrainingResult]:
    """Run training steps, with predictions between them."""
    try:
        while True:
            step = next(training)
            yield step
            if isinstance(step.data, dict) and "loss" in step.data:
                yield from predictor.on_step(step)
    except StopIteration as end:
        return end.value
    finally:
        training.close()


@dataclass
class LivePredictor:
    """Predict the viewport now and then, and give advice on the course of the training."""

    live: LiveTraining
    paintings: Sequence[AnnotatedImage]
    device: Any
    viewport: Callable[[], Viewport | None]
    should_stop: Callable[[], bool]
    before: Mapping[str, float] | None = None  # scores before the first step; None until they are computed
    side_px: int = FIRST_SIDE_PX
    ended: float = 0.0
    took: float = 0.0
    seconds: float = FIRST_SECONDS  # time that a prediction may take; it grows until the whole view is predicted
    given_advice: tuple[str, ...] = ()

    def on_step(self, step: Progress) -> Job[None]:
        """Do what is due between two steps."""
        if self.before is None:
            self.before = (yield from self.until_stopped(stepped_in_background(self.score_first()), step)) or {}
            yield replace(step, data={"before": self.before})
        if (advice := self.advice()) != self.given_advice:
            self.given_advice = advice
            yield replace(step, data={"advice": advice})
        pause = max(FEWEST_SECONDS, self.took * (1 / SHARE_OF_LOOKING - 1))
        if time.monotonic() - self.ended >= pause and (viewport := self.viewport()) is not None:
            began = time.monotonic()
            try:
                seen = yield from self.until_stopped(self.look(viewport), step)
            except Exception as error:  # the training does not need it
                self.ended = math.inf
                yield replace(step, data={"warning": f"{NOT_SHOWN} {in_words(error) or repr(error)}"})
                return
            self.ended = time.monotonic()
            self.took = self.ended - began
            if seen is not None:
                self.adapt_size(seen, viewport)
                yield replace(step, data={"seen": replace(seen, step=int(step.done))})

    def until_stopped(self, job: Job[Any], step: Progress) -> Job[Any]:
        """Run a job during a step; if the training is to stop, close the job and return None."""
        try:
            while not self.should_stop():
                within = next(job)
                yield replace(step, text=within.text, data=None)
        except StopIteration as end:
            return end.value
        finally:
            job.close()
        return None

    def score_first(self) -> Job[dict[str, float]]:
        """Score the network as it was before its first step."""
        from napari_tessera.training.live_prediction import first_scores

        scores = yield from first_scores(self.live, self.device)
        self.live.first = None
        return scores

    def advice(self) -> tuple[str, ...]:
        """Return advice on the course of the training so far."""
        from napari_tessera.training.data.advice import advice_on_course

        assert self.live.state is not None
        return tuple(each.text for each in advice_on_course(self.live.state.losses, self.live.state.history))

    def look(self, viewport: Viewport) -> Job[ViewportPrediction]:
        """Predict the viewport with the current weights."""
        painting = self.paintings[viewport.index]
        viewport = fitted(viewport, painting, self.side_px)
        view = yield from painting.view(viewport.place, viewport.window, self.live.header)
        labels = yield from prediction(
            self.live, view, diameter_px=self.live.diameter_px(painting.name), device=self.device
        )
        return ViewportPrediction(viewport, painting.without_fill(labels, viewport.place, viewport.window))

    def adapt_size(self, seen: ViewportPrediction, viewport: Viewport) -> None:
        """Choose the side of the next prediction of the viewport by the time that this one took."""
        now, wanted = (max(part.stop - part.start for part in each.window[-2:]) for each in (seen.viewport, viewport))
        if now < wanted:
            self.seconds = min(GROWTH * self.seconds, MOST_SECONDS)
        side = now * (self.seconds / max(self.took, 0.01)) ** 0.5
        # A prediction of less than the allowed area tells little about a larger one.
        self.side_px = int(min(max(SMALLEST_SIDE_PX, min(side, 2 * now)), LARGEST_SIDE_PX))


def warm_up_training() -> Job[None]:
    """Take one step on a tiny image, so that everything is loaded before the user starts a training."""
    from napari_tessera.models.load_torch import load_torch

    yield from load_torch()
    diagonal = np.eye(SMALLEST_SIDE_PX, dtype=np.uint8)
    given = AnnotatedLayer("rehearsal", 99 * diagonal, diagonal + 1, "YX")
    small = {
        "task": "classes",
        "steps": 1,
        "patch": 32,
        "batch": 1,
        "widths": "4,8",
        "validation": 0.0,
        "device": "cpu",
    }
    with short_lived_folder() as folder:
        yield from learning(TrainingRequest([given], folder / "rehearsal.safetensors", small), lambda: None)

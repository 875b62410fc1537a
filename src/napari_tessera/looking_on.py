"""Train while somebody looks on: between two steps, the network says what it sees in the part of an image in view."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_tessera.errors import in_words
from napari_tessera.io.short_lived import short_lived_folder
from napari_tessera.jobs import Job, Progress, part_of
from napari_tessera.lesson import Given, Lesson, check_named, named, paintings_of
from napari_tessera.sight import FIRST_SIDE_PX, Seen, Sight, fitted, levels_for, read, spacing_of

if TYPE_CHECKING:
    from napari_tessera.live import Live
    from napari_tessera.train.painting import Painting
    from napari_tessera.trained_model import Trained

# What computes is imported where it is used, in the thread: a widget opens without waiting for it.

SHARE_OF_LOOKING = 0.2
"""Of the time that goes into learning, at most so much goes into looking."""
FEWEST_SECONDS = 1.0
SECONDS_OF_A_LOOK = 1.0
NOT_SHOWN = "There is no live prediction any more; the training goes on."
SMALLEST_SIDE_PX, LARGEST_SIDE_PX = 96, 2048


@dataclass(frozen=True)
class Learnt:
    """What came of it: the model, and the scores of the network on the paint held back before its first step."""

    trained: Trained
    scores_before: Mapping[str, float]
    paintings: Sequence[Painting]
    diameters_px: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def scores(self) -> Mapping[str, float]:
        """Scores of the weights that were kept."""
        return self.trained.header["training"]["scores"]


def learning(
    lesson: Lesson, sight: Callable[[], Sight | None], should_stop: Callable[[], bool] = lambda: False
) -> Job[Learnt]:
    """Do what `fine_tuning.fine_tuning` does, and look between steps at what is in view.

    Parameters
    ----------
    lesson : Lesson
    sight : function () -> Sight or None
        Asked between steps; None where nothing is to be looked at.
    should_stop : function () -> bool
        Asked after each step.

    Yields
    ------
    Progress
        With `data`: as in `train.loop.train`, or {"before": scores}, {"advice": texts} as it is by now, or
        {"seen": Seen}.
    """
    from napari_tessera.nn.loading import load_torch

    yield from part_of(load_torch(), 0, 0, 1)
    from napari_tessera.fine_tuning import fine_tuning
    from napari_tessera.live import Live
    from napari_tessera.train.checked import checked_settings
    from napari_tessera.train.settings import NOTHING

    settings = checked_settings({**lesson.settings, "painted": True})
    paintings, highest = yield from part_of(paintings_of(lesson.given, settings.ndim), 0, 0, 1)
    check_named(settings, lesson.names, highest)
    settings = named(settings, lesson.names, highest)
    live = Live(keeps_first=settings.start_from != NOTHING)
    looking = Looking(live, paintings, settings.device, sight, should_stop)
    job = fine_tuning(paintings, lesson.out, settings, restart=not lesson.goes_on, should_stop=should_stop, live=live)
    trained = yield from watched(job, looking)
    diameters = {each.name: live.diameter_px(each.name) for each in paintings}
    return Learnt(trained, looking.before or {}, paintings, diameters)


def watched(training: Job[Trained], looking: Looking) -> Job[Trained]:
    """Take steps, and look in between."""
    try:
        while True:
            step = next(training)
            yield step
            if isinstance(step.data, dict) and "loss" in step.data:
                yield from looking.between_steps(step)
    except StopIteration as end:
        return end.value
    finally:
        training.close()


@dataclass
class Looking:
    """Looks at what is in view, now and then, and tells what is amiss with the course of the training.

    Attributes
    ----------
    before : mapping or None
        Scores before the first step; None until they are known.
    """

    live: Live
    paintings: Sequence[Painting]
    device: Any
    sight: Callable[[], Sight | None]
    should_stop: Callable[[], bool]
    before: Mapping[str, float] | None = None
    side_px: int = FIRST_SIDE_PX
    ended: float = 0.0
    took: float = 0.0
    told: tuple[str, ...] = ()

    def between_steps(self, step: Progress) -> Job[None]:
        """Do what is due."""
        if self.before is None:
            self.before = (yield from self.unless_stopped(self.score_first(), step)) or {}
            yield replace(step, data={"before": self.before})
        if (advice := self.advice()) != self.told:
            self.told = advice
            yield replace(step, data={"advice": advice})
        pause = max(FEWEST_SECONDS, self.took * (1 / SHARE_OF_LOOKING - 1))
        if time.monotonic() - self.ended >= pause and (sight := self.sight()) is not None:
            began = time.monotonic()
            try:
                seen = yield from self.unless_stopped(self.look(sight), step)
            except Exception as error:  # the training can do without
                self.ended = math.inf
                yield replace(step, data={"warning": f"{NOT_SHOWN} {in_words(error) or repr(error)}"})
                return
            self.ended = time.monotonic()
            self.took = self.ended - began
            if seen is not None:
                self.fit_side(seen)
                yield replace(step, data={"seen": replace(seen, step=int(step.done))})

    def unless_stopped(self, job: Job[Any], step: Progress) -> Job[Any]:
        """Run a job at the place of a step, and let go of it when the training is to stop; then return None."""
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
        from napari_tessera.live import first_scores

        scores = yield from first_scores(self.live, self.device)
        self.live.first = None
        return scores

    def advice(self) -> tuple[str, ...]:
        """Say what is amiss with the course by now."""
        from napari_tessera.train.advice import advice_on_course

        assert self.live.state is not None
        return tuple(each.text for each in advice_on_course(self.live.state.losses, self.live.state.history))

    def look(self, sight: Sight) -> Job[Seen]:
        """Let the network in training say what it sees."""
        from napari_tessera.live import prediction

        painting = self.paintings[sight.index]
        sight = fitted(sight, painting, self.side_px)
        levels = yield from levels_for(painting, sight, self.live.header)
        labels = yield from prediction(
            self.live,
            read(painting, sight),
            levels,
            has_channels=painting.channels > 0,
            spacing=spacing_of(painting, sight),
            diameter_px=self.live.diameter_px(painting.name),
            device=self.device,
        )
        return Seen(sight, labels)

    def fit_side(self, seen: Seen) -> None:
        """Choose the side of the next look by the time that this one took."""
        side = self.side_px * (SECONDS_OF_A_LOOK / max(self.took, 0.01)) ** 0.5
        now = max(part.stop - part.start for part in seen.sight.window[-2:])
        # A look at less than was allowed says little about more.
        self.side_px = int(min(max(SMALLEST_SIDE_PX, min(side, 2 * now)), LARGEST_SIDE_PX))


def rehearse() -> Job[None]:
    """Take one step on a tiny image, so that all that a training loads is there before anybody waits for it."""
    from napari_tessera.nn.loading import load_torch

    yield from load_torch()
    diagonal = np.eye(SMALLEST_SIDE_PX, dtype=np.uint8)
    given = Given("rehearsal", 99 * diagonal, diagonal + 1, "YX")
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
        yield from learning(Lesson([given], folder / "rehearsal.safetensors", small), lambda: None)

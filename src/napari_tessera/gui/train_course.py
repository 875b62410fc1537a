"""How a training goes: what was told of it, and how long it will still take."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from napari_tessera.jobs import Job, Progress
from napari_tessera.sight import Seen

FEWEST_STEPS = 3
"""Steps to have seen before the time that is left is told."""
SCORES = {"dice": "Dice", "iou": "IoU", "ap": "AP 0.5", "map": "Mean AP", "score": "Score"}
"""Titles of the scores, the one that is shown first."""


@dataclass
class Course:
    """All that was told of a training so far.

    Attributes
    ----------
    losses : list of (step, loss)
    validations : list of mapping
        Scores, each with its step.
    before : mapping
        Scores before the first step.
    warnings, advice : list of str
        What is amiss with the paint, and with the course by now.
    seen : Seen or None
        What the network said last of what is in view.
    ends_at : float or None
        When the time that was given is over, on the clock of `time.monotonic`.
    all_from : int or None
        Step from which what was held back is learnt, too, so that there is no score any more.
    """

    losses: list[tuple[float, float]] = field(default_factory=list)
    validations: list[Mapping[str, float]] = field(default_factory=list)
    before: Mapping[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    advice: Sequence[str] = ()
    seen: Seen | None = None
    all_from: int | None = None
    steps: int = 0
    text: str = ""
    ends_at: float | None = None
    _began: tuple[float, int] | None = None
    _last: tuple[float, int] | None = None

    def continued(self) -> Course:
        """Return the course of a training that is taken up again."""
        return Course(list(self.losses), list(self.validations), self.before, list(self.warnings))

    def note(self, step: Progress) -> None:
        """Take note of a step."""
        self.text = step.text
        told: Any = step.data
        if not isinstance(told, dict):
            return
        if "warning" in told:
            self.warnings += [told["warning"]] * (told["warning"] not in self.warnings)
        elif "advice" in told:
            self.advice = told["advice"]
        elif "seconds" in told:
            self.ends_at = time.monotonic() + told["seconds"]
        elif "all_from" in told:
            self.all_from = told["all_from"]
        elif "before" in told:
            self.before = told["before"] or self.before  # of a training that is taken up again, nothing is told
        elif "seen" in told:
            self.seen = told["seen"]
        elif "loss" in told:
            self._forget_from(told["step"])
            self.losses.append((told["step"], told["loss"]))
            self._clock(told["step"], int(step.total))
        elif "score" in told:
            self.validations.append(told)

    @property
    def step(self) -> int:
        """Steps done."""
        return self._last[1] if self._last else 0

    @property
    def seconds_left(self) -> float | None:
        """How long the steps that are left will take, if that is known already."""
        if self._began is None or self._last is None or self._last[1] - self._began[1] < FEWEST_STEPS:
            return None
        of_step = (self._last[0] - self._began[0]) / (self._last[1] - self._began[1])
        left = of_step * (self.steps - self.step)
        return left if self.ends_at is None else min(left, max(0.0, self.ends_at - self._last[0]))

    @property
    def score_name(self) -> str:
        """The score that is shown: Dice of classes, AP at 0.5 of objects."""
        told = {**self.before, **(self.validations[-1] if self.validations else {})}
        return next((name for name in SCORES if name in told), "score")

    def scores(self) -> list[tuple[float, float]]:
        """Return the score that is shown by step, that before the first step among them."""
        name = self.score_name
        first = [(0.0, self.before[name])] if name in self.before else []
        return first + [(told["step"], told[name]) for told in self.validations if name in told]

    def _forget_from(self, step: int) -> None:
        """Forget what comes again, where a training is taken up at an earlier step than it had reached."""
        if self.losses and self.losses[-1][0] >= step:
            self.losses = [told for told in self.losses if told[0] < step]
            self.validations = [told for told in self.validations if told["step"] < step]

    def _clock(self, step: int, steps: int) -> None:
        now = (time.monotonic(), step)
        self.steps = steps
        self._began = self._began or now
        self._last = now


def noted(job: Job[Any], course: Course) -> Job[Any]:
    """Run a job and take note of all its steps, in the thread that it runs in."""
    try:
        while True:
            step = next(job)
            course.note(step)
            yield step
    except StopIteration as end:
        return end.value
    finally:
        job.close()


def headline(before: Mapping[str, float], after: Mapping[str, float]) -> Iterator[tuple[str, str, str]]:
    """Say each score before and after: title, before or a dash, after or a dash."""
    for name, title in SCORES.items():
        if name != "score" and (name in before or name in after):
            was, now = (f"{scores[name]:.3f}" if name in scores else "–" for scores in (before, after))
            yield title, was, now

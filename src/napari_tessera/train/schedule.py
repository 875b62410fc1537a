"""How long and how fast to learn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

RATE_FOR_MORE, RATE_FOR_OTHER = 0.05, 0.25
"""Share of the rate at which a network that has learnt much learns more of the same task, or another one.

Sixty steps on twenty stained nuclei at a quarter of the rate cost 0.08 of AP on other images, 150 at a twentieth 0.04.
"""
RATE_FOR_KNOWN, RATE_FOR_NEW = 0.05, 1.0
"""The same where it learns again, beside what is painted, what it has learnt before: of a kind that it knows, and of a
new one."""
STEPS_AT_FULL_RATE = 300
"""A network that has learnt no longer goes on at the full rate; one that has, at a rate the lower the longer it has."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to learn.

    Parameters
    ----------
    steps : int
        Steps in all.
    peak_rate : float
        Learning rate between warming up and cooling down.
    warm_steps, cool_steps : int
        Steps over which the rate rises from 0 at the start, and falls to 0 at the end along a cosine.
    weight_decay : float
    average : float
        How slowly the averaged weights, which are the ones kept, follow the trained ones.
    validate_every : int
        Steps between two validations.
    save_seconds : float
        Time between two checkpoints.
    seed : int
    mixed : bool
        Compute in bfloat16 where that is sound.
    keeps_statistics : bool
        Batch normalisation goes by the means and variances that the network came with, and leaves them as they are: a
        few images of one kind say little about those of others.
    patience : int or None
        Validations without a better score after which the training ends.
    all_from : int or None
        Step from which what was held back is learnt, too; then nothing is validated any more, and the last weights are
        kept. None: it is held back to the end.
    """

    steps: int
    peak_rate: float = 2e-3
    warm_steps: int = 100
    cool_steps: int = 1000
    weight_decay: float = 1e-2
    average: float = 0.998
    validate_every: int = 1000
    save_seconds: float = 60.0
    seed: int = 0
    mixed: bool = False
    keeps_statistics: bool = False
    patience: int | None = None
    all_from: int | None = None

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        warm = min(1.0, (step + 1) / max(1, self.warm_steps))
        left = min(1.0, (self.steps - step) / max(1, self.cool_steps))
        return self.peak_rate * warm * 0.5 * (1 - math.cos(math.pi * left))

    @property
    def steps_per_mean(self) -> int:
        """Steps over which losses are averaged for the curves: some 200 points in all."""
        return max(1, self.steps // 200)


def share_of_rate(start: Mapping[str, Any] | None, task: str) -> float:
    """Return at which share of the usual rate a network learns: 1 from nothing, less after it has learnt for long.

    Parameters
    ----------
    start : mapping or None
        The model whose weights are learnt further, with its "task" and its "steps" (None if that is not known).
    task : str
        What is to be learnt.
    """
    if start is None:
        return 1.0
    least = RATE_FOR_MORE if start["task"] == task else RATE_FOR_OTHER
    return least if start["steps"] is None else min(1.0, max(least, STEPS_AT_FULL_RATE / max(start["steps"], 1)))

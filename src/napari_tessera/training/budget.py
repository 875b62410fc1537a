"""How long to train: what fits into a time, or how many steps see all there is so many times."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_tessera.core.jobs import Job, Progress
from napari_tessera.training.checkpoint import read_checkpoint
from napari_tessera.training.config import TrainingConfig
from napari_tessera.training.data.dataset import Dataset
from napari_tessera.training.data.example import Example
from napari_tessera.training.data.targets import NOT_PAINTED
from napari_tessera.training.settings import Training
from napari_tessera.training.tasks import learn

TIMED_STEPS = 5
SHARE_OF_LEARNING, SHARE_OF_VALIDATION = 0.85, 0.1
"""Share of the time that goes into steps and validations, the rest being reading and writing; and into validations."""
FORWARD_SHARE = 0.4
"""Time to predict pixels, as a share of that to learn from as many."""


def with_length(
    settings: Training, plan: TrainingConfig, data: Dataset, device: str, checkpoint: Path
) -> Job[TrainingConfig]:
    """Return the plan with as many steps as the settings say in steps, epochs or minutes."""
    if settings.minutes is not None:
        return (yield from with_steps_in(settings.minutes, plan, data, device, checkpoint))
    return plan if settings.epochs is None else replace(plan, steps=steps_in(settings.epochs, data.learn, plan))


def steps_in(epochs: float, examples: Sequence[Example], plan: TrainingConfig) -> int:
    """Return how many steps see all that is labelled so many times, one at least."""
    patches = sum(patches_to_cover(example, plan) for example in examples)
    return max(1, math.ceil(epochs * patches / plan.batch))


def patches_to_cover(example: Example, plan: TrainingConfig) -> int:
    """Count the patches, laid side by side, that hold what is labelled in an image."""
    wanted = plan.diameter_px
    factor = wanted / (example.diameter_px or wanted) if wanted else 1.0
    sides = np.array((plan.depth_px / example.anisotropy, plan.patch_px, plan.patch_px)[-plan.ndim :]) / factor
    places = np.argwhere(example.labels != NOT_PAINTED)
    return len(np.unique(places // np.maximum(1, sides), axis=0))


def with_steps_in(
    minutes: float, plan: TrainingConfig, data: Dataset, device: str, checkpoint: Path
) -> Job[TrainingConfig]:
    """Set steps and validations to what fits into a time: as found at the start of the run, or measured now."""
    if checkpoint.exists():
        then = read_checkpoint(checkpoint)[1]["identity"]
        known = {name: then[name] for name in ("steps", "validations") if then.get(name) is not None}
        return replace(plan, **known)
    trial = learn(data.learn, replace(plan, steps=10**6), device=device)
    yield from skip_to_next_step(trial)  # the first is slower than the others
    start = time.perf_counter()
    for _ in range(TIMED_STEPS):
        yield from skip_to_next_step(trial)
    seconds = (time.perf_counter() - start) / TIMED_STEPS
    trial.close()
    return fit_to_time(60 * minutes, seconds, plan, data)


def skip_to_next_step(trial: Job[Any]) -> Job[None]:
    """Go on to the end of a step, past all that is looked at before the first.

    What the trial says of its steps is not passed on: whoever looks on would take them for those of the training.
    """
    while True:
        data = next(trial).data or {}
        yield Progress(0, 1, "Measuring how long a step takes")
        if "loss" in data:
            return


def fit_to_time(seconds: float, of_step: float, plan: TrainingConfig, data: Dataset) -> TrainingConfig:
    """Return the plan with as many steps and, of those planned, validations as fit into a time.

    Parameters
    ----------
    seconds : float
    of_step : float
        Seconds that a step takes.
    plan : TrainingConfig
    data : Dataset
    """
    step_px = plan.batch * plan.patch_px**2 * (plan.depth_px or 1)
    of_validation = FORWARD_SHARE * of_step * sum(example.labels.size for example in data.check) / step_px
    validations = plan.validations
    if of_validation:
        validations = max(1, min(validations, int(SHARE_OF_VALIDATION * seconds / of_validation)))
    left = SHARE_OF_LEARNING * seconds - validations * of_validation
    return replace(plan, steps=max(10, int(left / of_step)), validations=validations)

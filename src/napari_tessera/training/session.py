"""Run a training session: start or resume, choose the number of steps, and use smaller patches if memory runs out."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from napari_tessera.core.errors import lacks_memory
from napari_tessera.core.jobs import Job, Progress
from napari_tessera.training.checkpoint import read_checkpoint
from napari_tessera.training.config import TrainingConfig
from napari_tessera.training.data.dataset import Dataset
from napari_tessera.training.data.example import Example
from napari_tessera.training.data.targets import NOT_PAINTED
from napari_tessera.training.live_prediction import LiveTraining
from napari_tessera.training.resolve import step_px
from napari_tessera.training.settings import Training, words
from napari_tessera.training.tasks import learn
from napari_tessera.training.validation import score_network

if TYPE_CHECKING:
    from napari_tessera.models.weights import Network
    from napari_tessera.training.checkpoint import State
    from napari_tessera.training.pretrained import Pretrained


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


LARGEST_LOSS_OF_SCORE = 0.05
"""Held-back strokes are even, too, so that to find as much of each class as there is may cost a little on them."""


@dataclass(frozen=True)
class TrainingSession:
    """What it takes to learn, but for the plan.

    Attributes
    ----------
    settings : Training
    data : Dataset
    start : Pretrained or None
        The model whose weights are learnt further.
    header : mapping
        Of the model file.
    saved : Path
        Where the checkpoint lies, or will.
    device : str
    should_stop, live
        See `fine_tuning.fine_tuning`.
    """

    settings: Training
    data: Dataset
    start: Pretrained | None
    header: Mapping[str, Any]
    saved: Path
    device: str
    should_stop: Callable[[], bool]
    live: LiveTraining

    def learn(self, wanted: TrainingConfig) -> Job[tuple[State, TrainingConfig]]:
        """Learn as planned, if need be from smaller patches; return what was learnt, and the plan that came of it."""
        return within_memory(partial(self.attempt, wanted), wanted)

    def attempt(self, wanted: TrainingConfig, plan: TrainingConfig) -> Job[tuple[State, TrainingConfig]]:
        """Learn by a plan whose patches may be smaller than those that were wanted."""
        from napari_tessera.training.checkpoint import DATA, Checkpoint
        from napari_tessera.training.pretrained import load_pretrained
        from napari_tessera.training.tasks import learn

        plan = yield from with_length(self.settings, plan, self.data, self.device, self.saved)
        # Whoever goes on with a training asks for the patches that were wanted, whatever fitted into memory then.
        asked = replace(plan, patch_px=wanted.patch_px, depth_px=wanted.depth_px)
        classes = words(self.settings.classes)
        model = {"header": dict(self.header), "images": self.data.names, "doubts": list(self.data.doubts)}
        checkpoint = Checkpoint(self.saved, asked.as_json() | {DATA: self.data.digest}, model)
        state = yield from learn(
            self.data.learn, plan, checkpoint,
            self.validate if self.data.check else None,
            device=self.device, save_seconds=self.settings.save_every, should_stop=self.should_stop,
            begin=partial(load_pretrained, start=self.start, task=plan.task, classes=classes, seed=plan.seed),
            watch=partial(self.live.begin, header=self.header, data=self.data), everything=self.everything,
        )  # fmt: skip
        yield from self.correct_class_prior(state, plan)
        return state, plan

    def correct_class_prior(self, state: State, plan: TrainingConfig) -> Job[None]:
        """Let as much of each class be found as there is, unless that costs more on the paint held back than it may.

        Only of a network that learns from nothing: paint that corrects a model lies where the model was wrong, and says
        nothing of how often it is.
        """
        from napari_tessera.models.weights import tensors_of
        from napari_tessera.training.class_prior import match_class_prior

        if self.start is not None or not has_even_strokes(plan, self.settings):
            return
        before, scored = tensors_of(state.net), state.scores
        learns_all = bool(scored) and scored["step"] < state.best_step
        if learns_all:
            scored = yield from self.validate(state.net)
        examples = self.everything if learns_all else self.data.learn
        shares = yield from match_class_prior(state.net, examples, plan.seed)
        if shares is None or not scored:
            return
        scores = yield from self.validate(state.net)
        if scores["score"] < scored["score"] - LARGEST_LOSS_OF_SCORE:
            state.net.load_state_dict(before)
        elif not learns_all:
            scored.update(scores)

    @property
    def everything(self) -> Sequence[Example]:
        """What is learnt in the end, paint that was held back among it: in strokes on few images all of it counts.

        A model that is learnt further is held to what it does on paint that it has not learnt, to the end, and so is
        a training that ends when that gets no better.
        """
        return () if self.start is not None or self.settings.patience is not None else self.data.everything

    def validate(self, net: Network) -> Job[dict[str, float]]:
        """Score a network on what is held back."""
        return score_network(net, self.header, self.data.check, self.settings.device)


def has_even_strokes(plan: TrainingConfig, settings: Training) -> bool:
    """Return whether classes are learnt from strokes that say nothing of how much there is of each.

    Whoever chooses class weights, or a loss that favours a class, wants more or less of it to be found.
    """
    return settings.painted and plan.task == "classes" and plan.loss == "combined" and plan.class_weights is None


SMALLEST_PATCH_PX = 32
Done = TypeVar("Done")


def within_memory(attempt: Callable[[TrainingConfig], Job[Done]], plan: TrainingConfig) -> Job[Done]:
    """Try a plan; whenever memory does not suffice, try it again with patches of half the side.

    Parameters
    ----------
    attempt : function (Plan) -> Job
        Begins from where it got to, if it has saved that.
    plan : TrainingConfig

    Raises
    ------
    OutOfMemory
        If memory does not suffice for the smallest patches.
    """
    while True:
        try:
            return (yield from attempt(plan))
        except Exception as error:
            smaller = with_smaller_patches(plan)
            if smaller.patch_px == plan.patch_px or not lacks_memory(error):
                raise
        gc.collect()  # the error's traceback may hold what the step had taken
        said = on_smaller_patches(smaller, plan)
        plan = smaller
        yield Progress(0, plan.steps, said, {"warning": said})


def with_smaller_patches(plan: TrainingConfig) -> TrainingConfig:
    """Halve the side of the patches, which stays a multiple of the network's step; the smallest stay as they are.

    Examples
    --------
    >>> [with_smaller_patches(TrainingConfig(patch_px=side)).patch_px for side in (160, 32)]
    [80, 32]
    """
    step = step_px(plan.network, plan.widths)
    smallest = max(SMALLEST_PATCH_PX, step * (2 if plan.batch == 1 else 1))
    half = plan.patch_px // 2 // step * step
    side = min(plan.patch_px, max(smallest, half))
    return replace(plan, patch_px=side, depth_px=side if plan.ndim == 3 else 0)


def on_smaller_patches(plan: TrainingConfig, wanted: TrainingConfig) -> str:
    """Say that patches are smaller than they were to be."""
    return (
        f"Memory did not suffice for patches of {wanted.patch_px} px, so they are {plan.patch_px} px wide, and the "
        "network learns less of what lies around. Close other programs, or choose a smaller `batch`, for larger ones."
    )

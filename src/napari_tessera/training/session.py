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
from napari_tessera.training.data.example import NOT_PAINTED, Example
from napari_tessera.training.live_prediction import LiveTraining
from napari_tessera.training.resolve import step_px
from napari_tessera.training.settings import Training, words
from napari_tessera.training.unet_task import learn
from napari_tessera.training.validation import score_network

if TYPE_CHECKING:
    from napari_tessera.models.weights import Network
    from napari_tessera.training.checkpoint import State
    from napari_tessera.training.pretrained import Pretrained


TIMED_STEPS = 5
SHARE_OF_LEARNING, SHARE_OF_VALIDATION = 0.85, 0.1
"""Share of the time for steps and validations together (the rest is for reading and writing), and for validations."""
FORWARD_SHARE = 0.4
"""Prediction time per pixel as a share of the training time per pixel."""


def with_length(
    settings: Training, plan: TrainingConfig, data: Dataset, device: str, checkpoint: Path
) -> Job[TrainingConfig]:
    """Return the configuration with its number of steps, from the settings' steps, epochs or minutes."""
    if settings.minutes is not None:
        return (yield from with_steps_in(settings.minutes, plan, data, device, checkpoint))
    return plan if settings.epochs is None else replace(plan, steps=steps_in(settings.epochs, data.learn, plan))


def steps_in(epochs: float, examples: Sequence[Example], plan: TrainingConfig) -> int:
    """Return the steps for this many passes over all labels, at least 1."""
    patches = sum(patches_to_cover(example, plan) for example in examples)
    return max(1, math.ceil(epochs * patches / plan.batch))


def patches_to_cover(example: Example, plan: TrainingConfig) -> int:
    """Count the patches, side by side, that cover the labels of an image."""
    wanted = plan.diameter_px
    factor = wanted / (example.diameter_px or wanted) if wanted else 1.0
    sides = np.array((plan.depth_px / example.anisotropy, plan.patch_px, plan.patch_px)[-plan.ndim :]) / factor
    places = np.argwhere(example.labels != NOT_PAINTED)
    return len(np.unique(places // np.maximum(1, sides), axis=0))


def with_steps_in(
    minutes: float, plan: TrainingConfig, data: Dataset, device: str, checkpoint: Path
) -> Job[TrainingConfig]:
    """Set steps and validations to fit into a time: as at the start of the run, or measured now."""
    if checkpoint.exists():
        then = read_checkpoint(checkpoint)[1]["identity"]
        known = {name: then[name] for name in ("steps", "validations") if then.get(name) is not None}
        return replace(plan, **known)
    trial = learn(data.learn, replace(plan, steps=10**6), device=device)
    yield from skip_to_next_step(trial)  # the first step is slower than the others
    start = time.perf_counter()
    for _ in range(TIMED_STEPS):
        yield from skip_to_next_step(trial)
    seconds = (time.perf_counter() - start) / TIMED_STEPS
    trial.close()
    return fit_to_time(60 * minutes, seconds, plan, data)


def skip_to_next_step(trial: Job[Any]) -> Job[None]:
    """Advance a trial to the end of a step, past the work before the first step.

    Its progress is not passed on, because it would look like progress of the training.
    """
    while True:
        data = next(trial).data or {}
        yield Progress(0, 1, "Measuring how long a step takes")
        if "loss" in data:
            return


def fit_to_time(seconds: float, of_step: float, plan: TrainingConfig, data: Dataset) -> TrainingConfig:
    """Return the configuration with the steps and validations (at most those planned) that fit into a time.

    Parameters
    ----------
    seconds : float
    of_step : float
        Seconds per step.
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
"""Largest loss of score by the class prior correction: held-out strokes have equal class frequencies too."""


@dataclass(frozen=True)
class TrainingSession:
    """Everything that a training needs, except its configuration.

    Attributes
    ----------
    settings : Training
    data : Dataset
    start : Pretrained or None
        The model to start from.
    header : mapping
        Of the model file.
    saved : Path
        Path of the checkpoint.
    device : str
    should_stop, live
        See `fine_tune.fine_tuning`.
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
        """Train as configured, with smaller patches if needed; return the state and the final configuration."""
        return within_memory(partial(self.attempt, wanted), wanted)

    def attempt(self, wanted: TrainingConfig, plan: TrainingConfig) -> Job[tuple[State, TrainingConfig]]:
        """Train with a configuration whose patches may be smaller than those wanted."""
        from napari_tessera.training.checkpoint import DATA, Checkpoint
        from napari_tessera.training.pretrained import load_pretrained
        from napari_tessera.training.unet_task import learn

        plan = yield from with_length(self.settings, plan, self.data, self.device, self.saved)
        # A resumed training starts with the wanted patches, whatever fitted into memory earlier.
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
        """Match the class frequencies to their estimate, unless that lowers the held-out score too much.

        Only for a network that started from nothing: an annotation that corrects a model lies where the model was
        wrong, and does not show how often it is wrong.
        """
        from napari_tessera.models.weights import tensors_of
        from napari_tessera.training.class_prior_correction import match_class_prior

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
        """All examples for the last steps, also the held-out annotation: with few strokes, every stroke matters.

        A model that is fine-tuned keeps its validation to the end, and so does a training with `patience`.
        """
        return () if self.start is not None or self.settings.patience is not None else self.data.everything

    def validate(self, net: Network) -> Job[dict[str, float]]:
        """Score a network on the validation data."""
        return score_network(net, self.header, self.data.check, self.settings.device)


def has_even_strokes(plan: TrainingConfig, settings: Training) -> bool:
    """Return whether classes are learnt from strokes that do not show class frequencies.

    With class weights, or a loss that favours a class, the user wants more or less of a class.
    """
    return settings.painted and plan.task == "classes" and plan.loss == "combined" and plan.class_weights is None


SMALLEST_PATCH_PX = 32
Done = TypeVar("Done")


def within_memory(attempt: Callable[[TrainingConfig], Job[Done]], plan: TrainingConfig) -> Job[Done]:
    """Try a configuration; while memory is insufficient, try again with patches of half the side.

    Parameters
    ----------
    attempt : function (TrainingConfig) -> Job
        Resumes from its checkpoint, if there is one.
    plan : TrainingConfig

    Raises
    ------
    OutOfMemory
        If memory is insufficient for the smallest patches.
    """
    while True:
        try:
            return (yield from attempt(plan))
        except Exception as error:
            smaller = with_smaller_patches(plan)
            if smaller.patch_px == plan.patch_px or not lacks_memory(error):
                raise
        gc.collect()  # the error's traceback may hold the memory of the step
        said = on_smaller_patches(smaller, plan)
        plan = smaller
        yield Progress(0, plan.steps, said, {"warning": said})


def with_smaller_patches(plan: TrainingConfig) -> TrainingConfig:
    """Halve the side of the patches, as a multiple of the network's step; the smallest patches stay.

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
    """Return a note that patches are smaller than planned."""
    return (
        f"Patches of {wanted.patch_px} px do not fit into memory, so they are {plan.patch_px} px wide, and the "
        "network learns less from the surroundings. For larger ones, close other programs, or choose a smaller `batch`."
    )

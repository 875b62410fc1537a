"""One sitting of a training: from its checkpoint, or from the beginning, to its end or a Stop.

Learn from patches as large as memory allows: after an out-of-memory error, smaller ones do.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from napari_tessera.core.errors import lacks_memory
from napari_tessera.core.jobs import Job, Progress
from napari_tessera.training.config import TrainingConfig
from napari_tessera.training.live_prediction import LiveTraining
from napari_tessera.training.resolve import step_px
from napari_tessera.training.settings import Training, words
from napari_tessera.training.validation import score_network

if TYPE_CHECKING:
    from napari_tessera.models.weights import Network
    from napari_tessera.training.checkpoint import State
    from napari_tessera.training.data.dataset import Dataset
    from napari_tessera.training.data.example import Example
    from napari_tessera.training.pretrained import Pretrained


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
        from napari_tessera.training.budget import with_length
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
        yield from self.settle_shares(state, plan)
        return state, plan

    def settle_shares(self, state: State, plan: TrainingConfig) -> Job[None]:
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

"""One sitting of a training: from its checkpoint, or from the beginning, to its end or a Stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_tessera.jobs import Job
from napari_tessera.live import Live
from napari_tessera.train.lists import words
from napari_tessera.train.settings import Training
from napari_tessera.validation import score_network

if TYPE_CHECKING:
    from napari_tessera.nn.weights import Network
    from napari_tessera.train.checkpoint import State
    from napari_tessera.train.dataset import Dataset
    from napari_tessera.train.examples import Example
    from napari_tessera.train.plan import Plan
    from napari_tessera.train.start_from import Start

LARGEST_LOSS_OF_SCORE = 0.05
"""Held-back strokes are even, too, so that to find as much of each class as there is may cost a little on them."""


@dataclass(frozen=True)
class Sitting:
    """What it takes to learn, but for the plan.

    Attributes
    ----------
    settings : Training
    data : Dataset
    start : Start or None
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
    start: Start | None
    header: Mapping[str, Any]
    saved: Path
    device: str
    should_stop: Callable[[], bool]
    live: Live

    def learn(self, wanted: Plan) -> Job[tuple[State, Plan]]:
        """Learn as planned, if need be from smaller patches; return what was learnt, and the plan that came of it."""
        from napari_tessera.train.within_memory import within_memory

        return within_memory(partial(self.attempt, wanted), wanted)

    def attempt(self, wanted: Plan, plan: Plan) -> Job[tuple[State, Plan]]:
        """Learn by a plan whose patches may be smaller than those that were wanted."""
        from napari_tessera.train.budget import of_length
        from napari_tessera.train.checkpoint import DATA, Checkpoint
        from napari_tessera.train.learn import learn
        from napari_tessera.train.start_from import begin_with

        plan = yield from of_length(self.settings, plan, self.data, self.device, self.saved)
        # Whoever goes on with a training asks for the patches that were wanted, whatever fitted into memory then.
        asked = replace(plan, patch_px=wanted.patch_px, depth_px=wanted.depth_px)
        classes = words(self.settings.classes)
        model = {"header": dict(self.header), "images": self.data.names, "doubts": list(self.data.doubts)}
        checkpoint = Checkpoint(self.saved, asked.as_json() | {DATA: self.data.digest}, model)
        state = yield from learn(
            self.data.learn, plan, checkpoint,
            self.validate if self.data.check else None,
            device=self.device, save_seconds=self.settings.save_every, should_stop=self.should_stop,
            begin=partial(begin_with, start=self.start, task=plan.task, classes=classes, seed=plan.seed),
            watch=partial(self.live.begin, header=self.header, data=self.data), everything=self.everything,
        )  # fmt: skip
        yield from self.settle_shares(state, plan)
        return state, plan

    def settle_shares(self, state: State, plan: Plan) -> Job[None]:
        """Let as much of each class be found as there is, unless that costs more on the paint held back than it may.

        Only of a network that learns from nothing: paint that corrects a model lies where the model was wrong, and says
        nothing of how often it is.
        """
        from napari_tessera.nn.weights import tensors_of
        from napari_tessera.train.class_shares import find_as_much_as_there_is

        if self.start is not None or not has_even_strokes(plan, self.settings):
            return
        before, scored = tensors_of(state.net), state.scores
        learns_all = bool(scored) and scored["step"] < state.best_step
        if learns_all:
            scored = yield from self.validate(state.net)
        examples = self.everything if learns_all else self.data.learn
        shares = yield from find_as_much_as_there_is(state.net, examples, plan.seed)
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


def has_even_strokes(plan: Plan, settings: Training) -> bool:
    """Say whether classes are learnt from strokes that say nothing of how much there is of each.

    Whoever chooses class weights, or a loss that favours a class, wants more or less of it to be found.
    """
    return settings.painted and plan.task == "classes" and plan.loss == "combined" and plan.class_weights is None

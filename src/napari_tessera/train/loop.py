"""The one training loop: a generator that can be stopped, killed and resumed at any moment.

Each step draws its patches from a generator seeded with (seed, step), so that nothing random has to be remembered: a
run resumed from its checkpoint goes on exactly as if it had never stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_tessera.errors import RunError
from napari_tessera.jobs import Job, Progress, part_of
from napari_tessera.nn.unet import UNet
from napari_tessera.nn.weights import tensors_of
from napari_tessera.train.checkpoint import Checkpoint, State

Batch = Any
Draw = Callable[[np.random.Generator], Batch]
LossParts = Callable[[nn.Module, Batch], dict[str, Tensor]]
Validate = Callable[[UNet], Job[dict[str, float]]]
LARGEST_LOSS = 1e4
"""Beyond this a network has come apart; at the start losses are around 3."""


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

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        warm = min(1.0, (step + 1) / max(1, self.warm_steps))
        left = min(1.0, (self.steps - step) / max(1, self.cool_steps))
        return self.peak_rate * warm * 0.5 * (1 - math.cos(math.pi * left))

    @property
    def steps_per_mean(self) -> int:
        """Steps over which losses are averaged for the curves: some 200 points in all."""
        return max(1, self.steps // 200)


def train(
    net: UNet,
    draw: Draw,
    loss_parts: LossParts,
    schedule: Schedule,
    checkpoint: Checkpoint | None = None,
    validate: Validate | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Job[State]:
    """Train a network; resume from `checkpoint` if its file exists.

    Parameters
    ----------
    net : UNet
        Changed in place.
    draw : function (numpy Generator) -> batch
        Draws a batch; called with a generator of its own at each step.
    loss_parts : function (net, batch) -> dict of str to Tensor
        The parts of the loss; their sum is made smaller.
    schedule : Schedule
    checkpoint : Checkpoint, optional
        Written every `save_seconds`, around validations, and when the job is closed.
    validate : function (net) -> job that returns a dict with "score", optional
        Scores the averaged weights, more is better; the best are kept.
    should_stop : function () -> bool
        Asked after each step; if it says so, the run ends there, with the best weights so far.

    Returns
    -------
    State
        Its `net`, in eval mode, has the best averaged weights (the last ones without `validate`).

    Yields
    ------
    Progress
        With `data`: step, rate, loss and its parts; or, after a validation, step and scores.

    Raises
    ------
    InputError
        If the checkpoint is of another run.
    RunError
        If the loss grows beyond all bounds.
    """
    state = start(net, schedule, checkpoint)
    saved = time.monotonic()
    try:
        while (is_due := validate is not None and validation_is_due(state, schedule)) or state.step < schedule.steps:
            if is_due and validate is not None:
                save(state, checkpoint)
                report = yield from part_of(keep_best(state, validate), state.step, 0, schedule.steps)
            else:
                report = take_step(state, draw, loss_parts, schedule)
            if is_due or state.step == schedule.steps or time.monotonic() - saved >= schedule.save_seconds:
                save(state, checkpoint)
                saved = time.monotonic()
            yield Progress(state.step, schedule.steps, in_words(report), report)
            if should_stop():
                save(state, checkpoint)
                break
    except GeneratorExit:
        save(state, checkpoint)
        raise
    net.load_state_dict(state.kept)
    net.eval()
    return state


def start(net: UNet, schedule: Schedule, checkpoint: Checkpoint | None) -> State:
    """Begin, or take up where the checkpoint left off."""
    is_fused = next(net.parameters()).device.type in ("cpu", "cuda")
    optimiser = torch.optim.AdamW(
        net.parameters(), lr=schedule.peak_rate, weight_decay=schedule.weight_decay, fused=is_fused
    )
    state = State(net, tensors_of(net), optimiser)
    if checkpoint is not None and checkpoint.path.exists():
        checkpoint.load(state)
    return state


def save(state: State, checkpoint: Checkpoint | None) -> None:
    """Write the checkpoint, if there is to be one."""
    if checkpoint is not None:
        checkpoint.save(state)


def validation_is_due(state: State, schedule: Schedule) -> bool:
    """Say whether the weights of this very step are to be scored and have not been."""
    is_time = state.step > 0 and (state.step % schedule.validate_every == 0 or state.step == schedule.steps)
    return is_time and not (state.history and state.history[-1]["step"] == state.step)


def take_step(state: State, draw: Draw, loss_parts: LossParts, schedule: Schedule) -> dict[str, float]:
    """Draw a batch, follow the gradient once, and let the averaged weights follow."""
    state.net.train()
    batch = draw(np.random.default_rng([schedule.seed, state.step]))
    rate = schedule.rate(state.step)
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    device = next(state.net.parameters()).device.type
    with torch.autocast(device, torch.bfloat16, enabled=schedule.mixed):
        parts = loss_parts(state.net, batch)
    loss = torch.stack(list(parts.values())).sum()
    check_loss(float(loss.detach()), state.step + 1)
    state.optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(state.net.parameters(), 5.0)
    state.optimiser.step()
    state.step += 1
    follow(state.average, state.net, min(schedule.average, state.step / (state.step + 10)))
    values = {"loss": float(loss.detach())} | {name: float(part.detach()) for name, part in parts.items()}
    remember(state, values, schedule.steps_per_mean)
    return {"step": state.step, "rate": rate, **values}


def check_loss(loss: float, step: int) -> None:
    """Stop where nothing good can come any more; the weights are still those before this step.

    Raises
    ------
    RunError
    """
    if not math.isfinite(loss) or loss > LARGEST_LOSS:
        raise RunError(
            f"The loss is {loss:g} at step {step}: the network has come apart. Look for images with NaN or wild "
            "intensities and for labels that do not lie on them; then train again with full precision, another seed, "
            "or larger batches."
        )


def follow(average: dict[str, Tensor], net: nn.Module, slowness: float) -> None:
    """Move the averaged weights towards the trained ones; counts are copied."""
    for name, value in net.state_dict().items():
        if value.is_floating_point():
            average[name].lerp_(value.detach(), 1 - slowness)
        else:
            average[name].copy_(value)


def remember(state: State, values: dict[str, float], steps_per_mean: int) -> None:
    """Keep the losses of a step, and once there are enough of them only their means."""
    state.recent.append(values)
    if len(state.recent) >= steps_per_mean:
        means = {name: float(np.mean([each[name] for each in state.recent])) for name in values}
        state.losses.append({"step": state.step, **means})
        state.recent.clear()


def keep_best(state: State, validate: Validate) -> Job[dict[str, float]]:
    """Score the averaged weights, and keep them if they are the best so far."""
    trained = tensors_of(state.net)
    state.net.load_state_dict(state.average)
    try:
        scores = yield from validate(state.net.eval())
    finally:
        state.net.load_state_dict(trained)
    report = {"step": state.step, **scores}
    state.history.append(report)
    if scores["score"] > state.best_score:
        state.best_score = scores["score"]
        state.best = {name: value.clone() for name, value in state.average.items()}
    return report


def in_words(report: dict[str, float]) -> str:
    """Say how a step or a validation went."""
    if "loss" in report:
        return f"Step {report['step']}, loss {report['loss']:.3f}"
    return f"Step {report['step']}, score {report['score']:.3f}"

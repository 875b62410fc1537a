"""The training loop: a generator that can be stopped, killed and resumed at any step.

Each step draws its patches with a random generator seeded with (seed, step). So a training that is resumed from its
checkpoint gives exactly the same weights as one that was not interrupted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_tessera.core.errors import RunError
from napari_tessera.core.jobs import Job, Progress, finish_writing, in_background, subtask
from napari_tessera.inference.predictor import translate_torch_errors
from napari_tessera.models.device import describe
from napari_tessera.models.weights import Network, tensors_of
from napari_tessera.training.checkpoint import Checkpoint, State
from napari_tessera.training.config import Schedule

Batch = Any
Draw = Callable[[np.random.Generator], Batch]
LossParts = Callable[[nn.Module, Batch], dict[str, Tensor]]
Validate = Callable[[Network], Job[dict[str, float]]]
LARGEST_LOSS = 1e4
"""Above this loss the training has diverged; at the start losses are around 3."""


def train(
    net: Network,
    draw: Draw,
    loss_parts: LossParts,
    schedule: Schedule,
    checkpoint: Checkpoint | None = None,
    validate: Validate | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    watch: Callable[[State], None] | None = None,
    draw_of_all: Draw | None = None,
) -> Job[State]:
    """Train a network in place; resume from `checkpoint` if its file exists.

    Parameters
    ----------
    draw : function (numpy Generator) -> batch
        Draws a batch; each step has its own generator.
    loss_parts : function (net, batch) -> dict of str to Tensor
        The parts of the loss, whose sum is minimised.
    checkpoint : Checkpoint, optional
        Written every `save_seconds`, around validations, and when the job is closed.
    validate : function (net) -> job that returns a dict with "score", optional
        Scores the averaged weights; the best are kept (higher is better), among equal ones the last.
    should_stop : function () -> bool
        Called after each step; if it returns True, the run ends there, with the best weights so far.
    watch : function (State), optional
        Gets the state before the first step, and may read it between steps.
    draw_of_all : function (numpy Generator) -> batch, optional
        Draws from `Schedule.all_from` on, also from the held-out data.

    Returns
    -------
    State
        Its `net`, in eval mode, has the best averaged weights; the last ones without `validate`, or after training on
        all data.

    Yields
    ------
    Progress
        With `data`: step, rate, loss and its parts; or, after a validation, step and scores.

    Raises
    ------
    InputError
        If the checkpoint is from another run.
    OutOfMemory
        If a step needs more memory than the device has.
    RunError
        If the training diverges, or torch fails.
    """
    state = start(net, schedule, checkpoint)
    if watch is not None:
        watch(state)
    saved = time.monotonic()
    try:
        while is_under_way(state, schedule, validate):
            report = yield from step_or_validate(state, draw, loss_parts, schedule, checkpoint, validate, draw_of_all)
            is_milestone = "score" in report or state.step == schedule.steps
            if is_milestone or time.monotonic() - saved >= schedule.save_seconds:
                yield from save(state, checkpoint, schedule)
                saved = time.monotonic()
            yield Progress(state.step, schedule.steps, in_words(report), report)
            if should_stop():
                yield from save(state, checkpoint, schedule)
                break
    except GeneratorExit:
        if checkpoint is not None:
            checkpoint.start_saving(state)  # nothing waits for it
        raise
    net.load_state_dict(state.kept)
    net.eval()
    return state


def start(net: Network, schedule: Schedule, checkpoint: Checkpoint | None) -> State:
    """Start, or resume from the checkpoint."""
    is_fused = next(net.parameters()).device.type in ("cpu", "cuda")
    optimiser = torch.optim.AdamW(
        net.parameters(), lr=schedule.peak_rate, weight_decay=schedule.weight_decay, fused=is_fused
    )
    state = State(net, tensors_of(net), optimiser)
    finish_writing()
    if checkpoint is not None and checkpoint.path.exists():
        checkpoint.load(state)
    return state


def is_under_way(state: State, schedule: Schedule, validate: Validate | None) -> bool:
    """Return whether steps or validations are left."""
    if state.has_settled(schedule.patience):
        return False
    return state.step < schedule.steps or validation_is_due(state, schedule, validate)


def save(state: State, checkpoint: Checkpoint | None, schedule: Schedule) -> Job[None]:
    """Write the checkpoint, if any; a job that is closed does not wait for it."""
    if checkpoint is not None:
        writing = in_background(checkpoint.start_saving(state).result, "Writing the checkpoint")
        yield from subtask(writing, state.step, 0, schedule.steps)


def validation_is_due(state: State, schedule: Schedule, validate: Validate | None) -> bool:
    """Return whether the weights of this step must be scored and have not been."""
    last = schedule.steps if schedule.all_from is None else schedule.all_from
    is_time = 0 < state.step <= last and (state.step % schedule.validate_every == 0 or state.step == last)
    is_done = bool(state.history) and state.history[-1]["step"] == state.step
    return validate is not None and is_time and not is_done


def step_or_validate(
    state: State,
    draw: Draw,
    loss_parts: LossParts,
    schedule: Schedule,
    checkpoint: Checkpoint | None,
    validate: Validate | None,
    draw_of_all: Draw | None = None,
) -> Job[dict[str, float]]:
    """Validate if that is due, otherwise take a step; return what to report."""
    if validate is None or not validation_is_due(state, schedule, validate):
        if draw_of_all is not None and schedule.all_from is not None and state.step >= schedule.all_from:
            draw, state.best = draw_of_all, None
        device = describe(next(state.net.parameters()).device.type)
        with translate_torch_errors(device.title, instead="choose a smaller `patch` or `batch`"):
            return take_step(state, draw, loss_parts, schedule)
    yield from save(state, checkpoint, schedule)
    return (yield from subtask(keep_best(state, validate), state.step, 0, schedule.steps))


def take_step(state: State, draw: Draw, loss_parts: LossParts, schedule: Schedule) -> dict[str, float]:
    """Draw a batch, take an optimiser step, and update the averaged weights."""
    state.net.train()
    if schedule.keeps_statistics:
        keep_statistics(state.net)
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
    update_ema(state.average, state.net, min(schedule.average, state.step / (state.step + 10)))
    values = {"loss": float(loss.detach())} | {name: float(part.detach()) for name, part in parts.items()}
    log_losses(state, values, schedule.steps_per_mean)
    return {"step": state.step, "rate": rate, **values}


def keep_statistics(net: nn.Module) -> None:
    """Keep the means and variances of batch normalisation; its weights are still trained."""
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm3d):
            layer.eval()


def check_loss(loss: float, step: int) -> None:
    """Stop a training that has diverged; the weights are still those before this step."""
    if not math.isfinite(loss) or loss > LARGEST_LOSS:
        raise RunError(
            f"The loss is {loss:g} at step {step}: the training has diverged. Look for images with NaN or extreme "
            "intensities and for labels that do not match them; then train again with full precision, another seed, "
            "or larger batches."
        )


def update_ema(average: dict[str, Tensor], net: nn.Module, slowness: float) -> None:
    """Move the averaged weights towards the trained ones; batch counters are copied."""
    for name, value in net.state_dict().items():
        if value.is_floating_point():
            average[name].lerp_(value.detach(), 1 - slowness)
        else:
            average[name].copy_(value)


def log_losses(state: State, values: dict[str, float], steps_per_mean: int) -> None:
    """Keep the losses of a step, and replace them by their mean when there are enough."""
    state.recent.append(values)
    if len(state.recent) >= steps_per_mean:
        means = {name: float(np.mean([each[name] for each in state.recent])) for name in values}
        state.losses.append({"step": state.step, **means})
        state.recent.clear()


def keep_best(state: State, validate: Validate) -> Job[dict[str, float]]:
    """Score the averaged weights, and keep them unless an earlier score was better."""
    with state.averaged() as net:
        scores = yield from validate(net)
    report = {"step": state.step, **scores}
    state.judge(report)
    return report


def in_words(report: dict[str, float]) -> str:
    """Describe the result of a step or a validation."""
    if "loss" in report:
        return f"Step {report['step']}, loss {report['loss']:.3f}"
    return f"Step {report['step']}, score {report['score']:.3f}"

"""The one training loop: a generator that can be stopped, killed and resumed at any moment.

Each step draws its patches from a generator seeded with (seed, step), so that nothing random has to be remembered: a
run resumed from its checkpoint goes on exactly as if it had never stopped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_tessera.jobs import Job, Progress
from napari_tessera.nn.weights import read_tensors, tensors_of, write_tensors

Batch = Any
Draw = Callable[[np.random.Generator], Batch]
LossParts = Callable[[nn.Module, Batch], dict[str, Tensor]]
Validate = Callable[[nn.Module], dict[str, float]]


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
    save_every, validate_every : int
        Steps between two checkpoints, and between two validations.
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
    save_every: int = 200
    validate_every: int = 1000
    seed: int = 0
    mixed: bool = False

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        warm = min(1.0, (step + 1) / max(1, self.warm_steps))
        left = min(1.0, (self.steps - step) / max(1, self.cool_steps))
        return self.peak_rate * warm * 0.5 * (1 - math.cos(math.pi * left))


@dataclass
class State:
    """All that changes while learning; the whole of it is in a checkpoint."""

    net: nn.Module
    average: dict[str, Tensor]
    optimiser: torch.optim.Optimizer
    step: int = 0
    best_score: float = -math.inf
    best: dict[str, Tensor] | None = None
    history: list[dict[str, float]] | None = None


def train(
    net: nn.Module,
    draw: Draw,
    loss_parts: LossParts,
    schedule: Schedule,
    checkpoint: Path | None = None,
    validate: Validate | None = None,
) -> Job[nn.Module]:
    """Train a network; resume from `checkpoint` if it exists.

    Parameters
    ----------
    net : Module
        Changed in place.
    draw : function (numpy Generator) -> batch
        Draws a batch; called with a generator of its own at each step.
    loss_parts : function (net, batch) -> dict of str to Tensor
        The parts of the loss; their sum is made smaller.
    schedule : Schedule
    checkpoint : path, optional
        Written every `save_every` steps, before the step's progress is yielded.
    validate : function (net) -> dict with "score", optional
        Scores the averaged weights, more is better; the best are kept.

    Returns
    -------
    Module
        `net`, in eval mode, with the best averaged weights (the last ones without `validate`).

    Yields
    ------
    Progress
        With `data`: step, rate, loss and its parts, and after a validation its scores.
    """
    state = start(net, schedule, checkpoint)
    while state.step < schedule.steps:
        report = take_step(state, draw, loss_parts, schedule)
        is_last = state.step == schedule.steps
        if validate is not None and (state.step % schedule.validate_every == 0 or is_last):
            report |= keep_best(state, validate)
        if checkpoint is not None and (state.step % schedule.save_every == 0 or is_last):
            save_checkpoint(checkpoint, state, schedule)
        yield Progress(state.step, schedule.steps, f"Step {state.step}, loss {report['loss']:.3f}", report)
    net.load_state_dict(state.best or state.average)
    return net.eval()


def start(net: nn.Module, schedule: Schedule, checkpoint: Path | None) -> State:
    """Begin, or take up where the checkpoint left off."""
    optimiser = torch.optim.AdamW(
        net.parameters(), lr=schedule.peak_rate, weight_decay=schedule.weight_decay, fused=True
    )
    state = State(net, tensors_of(net), optimiser, history=[])
    if checkpoint is not None and checkpoint.exists():
        load_checkpoint(checkpoint, state)
    return state


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
    state.optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(state.net.parameters(), 5.0)
    state.optimiser.step()
    state.step += 1
    follow(state.average, state.net, min(schedule.average, state.step / (state.step + 10)))
    values = {name: float(part.detach()) for name, part in parts.items()}
    return {"step": state.step, "rate": rate, "loss": float(loss.detach()), **values}


def follow(average: dict[str, Tensor], net: nn.Module, slowness: float) -> None:
    """Move the averaged weights towards the trained ones; counts are copied."""
    for name, value in net.state_dict().items():
        if value.is_floating_point():
            average[name].lerp_(value.detach(), 1 - slowness)
        else:
            average[name].copy_(value)


def keep_best(state: State, validate: Validate) -> dict[str, float]:
    """Score the averaged weights, and keep them if they are the best so far."""
    trained = tensors_of(state.net)
    state.net.load_state_dict(state.average)
    scores = validate(state.net.eval())
    state.net.load_state_dict(trained)
    assert state.history is not None
    state.history.append({"step": state.step, **scores})
    if scores["score"] > state.best_score:
        state.best_score = scores["score"]
        state.best = {name: value.clone() for name, value in state.average.items()}
    return scores


def save_checkpoint(path: Path, state: State, schedule: Schedule) -> None:
    """Write everything that is needed to go on."""
    groups: dict[str, Mapping[str, Tensor]] = {"net": tensors_of(state.net), "average": state.average}
    for index, moments in state.optimiser.state_dict()["state"].items():
        groups[f"optimiser.{index}"] = moments
    if state.best is not None:
        groups["best"] = state.best
    tensors = {f"{group}/{name}": value for group, values in groups.items() for name, value in values.items()}
    best_score = state.best_score if math.isfinite(state.best_score) else None
    header = {"step": state.step, "best_score": best_score, "history": state.history, "schedule": asdict(schedule)}
    write_tensors(path, tensors, header)


def load_checkpoint(path: Path, state: State) -> None:
    """Read what `save_checkpoint` wrote into `state`."""
    tensors, header = read_tensors(path)
    groups: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        group, name = key.split("/", 1)
        groups.setdefault(group, {})[name] = value
    state.net.load_state_dict(groups["net"])
    state.average = groups["average"]
    state.best = groups.get("best")
    moments = {int(group.split(".")[1]): each for group, each in groups.items() if group.startswith("optimiser.")}
    saved = state.optimiser.state_dict()
    state.optimiser.load_state_dict({"state": moments, "param_groups": saved["param_groups"]})
    state.step, state.history = header["step"], header["history"]
    state.best_score = -math.inf if header["best_score"] is None else header["best_score"]

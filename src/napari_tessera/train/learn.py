"""A training as planned: the network, how its patches are drawn, and the parts of its loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from napari_tessera.jobs import Job, Progress
from napari_tessera.nn.detector import MaskRCNN
from napari_tessera.nn.unet import Architecture, UNet
from napari_tessera.nn.weights import Network
from napari_tessera.train.checkpoint import Checkpoint, State
from napari_tessera.train.classes import class_batch, class_head_loss, class_targets
from napari_tessera.train.detection import (
    criteria_of,
    detection_batch,
    detection_loss,
    detection_targets,
)
from napari_tessera.train.examples import Example
from napari_tessera.train.loop import Draw, LossParts, Validate, train
from napari_tessera.train.losses import class_loss
from napari_tessera.train.novelty import share_of_rate_for
from napari_tessera.train.objects import object_batch, object_loss, object_targets
from napari_tessera.train.patches import MakeTargets, Sampling, draw_batch, image_weights
from napari_tessera.train.plan import PEAK_RATES, Plan
from napari_tessera.train.rehearsal import INTENSITY_CHANGES, parts_of_batch, shipped_examples, with_rehearsal


def learn(
    examples: Sequence[Example],
    plan: Plan,
    checkpoint: Checkpoint | None = None,
    validate: Validate | None = None,
    *,
    device: str = "cpu",
    save_seconds: float = 60.0,
    should_stop: Callable[[], bool] = lambda: False,
    begin: Callable[[Network], None] = lambda _: None,
    watch: Callable[[State], None] = lambda _: None,
    everything: Sequence[Example] = (),
) -> Job[State]:
    """Train a network as planned; see `loop.train` for what it yields and returns.

    `begin` may give the network other weights than random ones, before it learns. `everything` is learnt in the end,
    with what was held back until then; before the first step, the one from which it is learnt is told as "all_from".
    """
    net = new_network(plan, device)
    begin(net)
    draw, loss_parts = task_of(plan, examples, torch.device(device))
    schedule = plan.schedule(save_seconds, learns_all=bool(everything))
    if plan.rehearsal and plan.learning_rate is None and plan.network == "unet":
        share = yield from share_of_rate_for(net, draw, loss_parts, schedule, plan.rehearsal)
        schedule = replace(schedule, peak_rate=PEAK_RATES[plan.network] * share)
    draw_of_all = task_of(plan, everything, torch.device(device))[0] if everything else None
    if schedule.all_from is not None:
        yield Progress(0, schedule.steps, "Learning", {"all_from": schedule.all_from})
    return (yield from train(net, draw, loss_parts, schedule, checkpoint, validate, should_stop, watch, draw_of_all))


def new_network(plan: Plan, device: str = "cpu") -> Network:
    """Make a network with random weights, the same for the same seed."""
    torch.manual_seed(plan.seed)
    architecture = plan.architecture()
    net: Network = UNet(architecture) if isinstance(architecture, Architecture) else MaskRCNN(architecture)
    layout = torch.channels_last if plan.ndim == 2 else torch.channels_last_3d
    for parameter in net.parameters():
        if parameter.ndim == plan.ndim + 2:
            parameter.data = parameter.data.contiguous(memory_format=layout)
    return net.to(device)


@dataclass(frozen=True)
class Lesson:
    """What differs from task to task.

    Attributes
    ----------
    make_targets : function
        See `patches.MakeTargets`.
    as_batch : function (patches, targets, numpy Generator) -> batch
    loss_parts : function (net, batch) -> dict of str to Tensor
    """

    make_targets: MakeTargets
    as_batch: Callable[[np.ndarray, Sequence[Any], np.random.Generator], Any]
    loss_parts: Callable[..., dict[str, torch.Tensor]]


def task_of(plan: Plan, examples: Sequence[Example], device: torch.device) -> tuple[Draw, LossParts]:
    """Return how to draw a batch for the task, and the parts of its loss."""
    lesson = lesson_of(plan, device)
    if not plan.rehearsal:
        return draw_from(examples, plan.sampling(), lesson, plan.batch), lesson.loss_parts
    new, known = parts_of_batch(plan.batch, plan.rehearsal)
    as_before = replace(plan.sampling(), intensity_changes=INTENSITY_CHANGES)
    return with_rehearsal(
        draw_from(examples, plan.sampling(), lesson, new),
        draw_from(shipped_examples(), as_before, lesson, known),
        lesson.loss_parts,
        plan.rehearsal,
    )


def draw_from(examples: Sequence[Example], sampling: Sampling, lesson: Lesson, count: int) -> Draw:
    """Return how to draw a batch of `count` patches."""
    weights = image_weights(examples)

    def draw(rng: np.random.Generator) -> Any:
        patches, targets = draw_batch(examples, weights, sampling, lesson.make_targets, count, rng)
        return lesson.as_batch(patches, targets, rng)

    return draw


def lesson_of(plan: Plan, device: torch.device) -> Lesson:
    """Choose targets, batches and losses by network and task."""
    diameter_px = plan.diameter_px or 1.0
    weights = torch.tensor(plan.class_weights, device=device) if plan.class_weights else None
    of_classes = class_loss(plan.loss, weights, gamma=plan.gamma, alpha=plan.alpha)
    of_masks = class_loss(plan.mask_loss, gamma=plan.gamma, alpha=plan.alpha)
    if plan.network == "mask-rcnn":
        return Lesson(
            detection_targets(diameter_px),
            lambda patches, truths, rng: detection_batch(patches, truths, int(rng.integers(2**63)), device),
            partial(detection_loss, criteria=criteria_of(of_classes, of_masks)),
        )
    if plan.task == "objects":
        return Lesson(
            object_targets(diameter_px),
            lambda patches, targets, _: object_batch(patches, targets, device),
            partial(object_loss, class_loss=of_classes),
        )
    return Lesson(
        class_targets,
        lambda patches, targets, _: class_batch(patches, targets, device),
        partial(class_head_loss, class_loss=of_classes),
    )

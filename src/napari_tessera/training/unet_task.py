"""The task of a U-Net training: the network, its batches of patches, and the loss for objects or classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_tessera.core.jobs import Job, Progress
from napari_tessera.models.mask_rcnn.model import MaskRCNN
from napari_tessera.models.unet import UNet, UNetArchitecture
from napari_tessera.models.weights import Network
from napari_tessera.training.checkpoint import Checkpoint, State
from napari_tessera.training.config import PEAK_RATES, TrainingConfig
from napari_tessera.training.data.example import Example
from napari_tessera.training.data.patches import MakeTargets, Sampling, draw_batch, image_weights
from napari_tessera.training.data.targets import BACKGROUND, Targets, instance_targets
from napari_tessera.training.loop import Draw, LossParts, Validate, train
from napari_tessera.training.losses import ClassLoss, class_loss, regression
from napari_tessera.training.mask_rcnn_task import criteria_of, detection_batch, detection_loss, detection_targets
from napari_tessera.training.rehearsal import (
    INTENSITY_CHANGES,
    parts_of_batch,
    share_of_rate_for,
    shipped_examples,
    with_rehearsal,
)

DISTANCE_COUNTS, SIZE_COUNTS = 6.0, 0.25
"""Weights of the losses besides that of the classes: the distance separates objects, the size only finds the scale."""


@dataclass(frozen=True)
class ObjectBatch:
    """Patches and targets as tensors: classes and weight (B, [Z,] Y, X), all others (B, channels, [Z,] Y, X)."""

    images: Tensor
    classes: Tensor
    distance: Tensor
    size: Tensor
    weight: Tensor


def object_targets(diameter_px: float) -> MakeTargets:
    """Return the function that makes the targets of a patch, at this usual diameter."""

    def make(labels: np.ndarray, example: Example, factor: float, inner: tuple[slice, ...]) -> Targets:
        sizes = example.sizes * factor**labels.ndim
        return instance_targets(labels, diameter_px, sizes).crop(inner)

    return make


def object_batch(patches: np.ndarray, targets: Sequence[Targets], device: torch.device | None = None) -> ObjectBatch:
    """Stack patches and targets."""

    def stack(name: str) -> Tensor:
        return torch.from_numpy(np.stack([getattr(target, name) for target in targets])).to(device)

    images = channels_last(patches).to(device)
    return ObjectBatch(images, stack("classes"), stack("distance")[:, None], stack("size")[:, None], stack("weight"))


def channels_last(patches: np.ndarray) -> Tensor:
    """Bring patches (B, C, [Z,] Y, X) into the memory layout that is fastest for convolutions."""
    layout = torch.channels_last if patches.ndim == 4 else torch.channels_last_3d
    return torch.from_numpy(patches).contiguous(memory_format=layout)


def object_loss(net: nn.Module, batch: ObjectBatch, class_loss: ClassLoss) -> dict[str, Tensor]:
    """Return the loss of each head: classes, distance and size."""
    scores = net(batch.images)
    is_object = (batch.classes > BACKGROUND).float()
    return {
        **class_loss(scores["classes"], batch.classes, batch.weight),
        "distance": DISTANCE_COUNTS * regression(scores["distance"], batch.distance, batch.weight),
        "size": SIZE_COUNTS * regression(scores["size"], batch.size, is_object),  # weighted by area
    }


@dataclass(frozen=True)
class ClassBatch:
    """Patches (B, C, [Z,] Y, X) and their classes (B, [Z,] Y, X), 0 where not annotated."""

    images: Tensor
    classes: Tensor


def class_targets(labels: np.ndarray, _: Example, __: float, inner: tuple[slice, ...]) -> np.ndarray:
    """Return the classes of a patch, which are its annotation."""
    return labels[inner].astype(np.uint8)


def class_batch(patches: np.ndarray, targets: Sequence[np.ndarray], device: torch.device | None = None) -> ClassBatch:
    """Stack patches and classes."""
    return ClassBatch(channels_last(patches).to(device), torch.from_numpy(np.stack(targets)).to(device))


def class_head_loss(net: nn.Module, batch: ClassBatch, class_loss: ClassLoss) -> dict[str, Tensor]:
    """Return the loss of the classes."""
    return class_loss(net(batch.images)["classes"], batch.classes, None)


def learn(
    examples: Sequence[Example],
    plan: TrainingConfig,
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
    """Train a network as configured; see `loop.train` for what it yields and returns.

    `begin` may load other weights than random ones. `everything` is used in the last steps, with the held-out data;
    before the first step, "all_from" reports the step from which on it is used.
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


def new_network(plan: TrainingConfig, device: str = "cpu") -> Network:
    """Make a network with random weights, the same for the same seed."""
    torch.manual_seed(plan.seed)
    architecture = plan.architecture()
    net: Network = UNet(architecture) if isinstance(architecture, UNetArchitecture) else MaskRCNN(architecture)
    layout = torch.channels_last if plan.ndim == 2 else torch.channels_last_3d
    for parameter in net.parameters():
        if parameter.ndim == plan.ndim + 2:
            parameter.data = parameter.data.contiguous(memory_format=layout)
    return net.to(device)


@dataclass(frozen=True)
class TaskSpec:
    """What differs between tasks.

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


def task_of(plan: TrainingConfig, examples: Sequence[Example], device: torch.device) -> tuple[Draw, LossParts]:
    """Return the function that draws a batch for the task, and the one that returns the parts of its loss."""
    lesson = task_spec(plan, device)
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


def draw_from(examples: Sequence[Example], sampling: Sampling, lesson: TaskSpec, count: int) -> Draw:
    """Return the function that draws a batch of `count` patches."""
    weights = image_weights(examples)

    def draw(rng: np.random.Generator) -> Any:
        patches, targets = draw_batch(examples, weights, sampling, lesson.make_targets, count, rng)
        return lesson.as_batch(patches, targets, rng)

    return draw


def task_spec(plan: TrainingConfig, device: torch.device) -> TaskSpec:
    """Choose targets, batches and losses by network and task."""
    diameter_px = plan.diameter_px or 1.0
    weights = torch.tensor(plan.class_weights, device=device) if plan.class_weights else None
    parameters: dict[str, Any] = {**plan.loss_parameters}
    of_classes = class_loss(plan.loss, weights, **parameters)
    of_masks = class_loss(plan.mask_loss, **parameters)
    if plan.network == "mask-rcnn":
        return TaskSpec(
            detection_targets(diameter_px),
            lambda patches, truths, rng: detection_batch(patches, truths, int(rng.integers(2**63)), device),
            partial(detection_loss, criteria=criteria_of(of_classes, of_masks)),
        )
    if plan.task == "objects":
        return TaskSpec(
            object_targets(diameter_px),
            lambda patches, targets, _: object_batch(patches, targets, device),
            partial(object_loss, class_loss=of_classes),
        )
    return TaskSpec(
        class_targets,
        lambda patches, targets, _: class_batch(patches, targets, device),
        partial(class_head_loss, class_loss=of_classes),
    )

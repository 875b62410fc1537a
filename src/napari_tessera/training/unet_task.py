"""The task of a U-Net training: the network, its batches of patches, and the loss for objects or classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.ndimage import maximum_filter, minimum_filter
from torch import Tensor, nn

from napari_tessera.algorithms.distance_transform import distance_to_background
from napari_tessera.core.jobs import Job, Progress, run_job
from napari_tessera.models.weights import Network, built
from napari_tessera.training.checkpoint import Checkpoint, State
from napari_tessera.training.click_task import click_loss, draw_clicks
from napari_tessera.training.config import PEAK_RATES, TrainingConfig
from napari_tessera.training.data.example import BACKGROUND, NOT_PAINTED, Example
from napari_tessera.training.data.patches import MakeTargets, Sampling, draw_batch, image_weights
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

OBJECT, BORDER = 2, 3
"""Classes of the targets for objects, after those of annotations."""


@dataclass(frozen=True)
class Targets:
    """Targets of one patch."""

    classes: np.ndarray  # ([Z,] Y, X): 0 not annotated, 1 background, 2 object, 3 where two objects touch
    distance: np.ndarray
    """([Z,] Y, X): distance to the object's edge, divided by its maximum in the object; 0 outside, 1 at the centre."""
    size: np.ndarray  # ([Z,] Y, X): natural logarithm of the diameter of the object divided by the usual one; 0 outside
    weight: np.ndarray  # ([Z,] Y, X): weight of a pixel; 0 where not annotated

    def crop(self, where: tuple[slice, ...]) -> Targets:
        """Return the targets of a part of the patch."""
        return Targets(self.classes[where], self.distance[where], self.size[where], self.weight[where])


def instance_targets(
    labels: np.ndarray,
    diameter_px: float,
    sizes: np.ndarray | None = None,
    *,
    border_weight: float = 4.0,
) -> Targets:
    """Make the targets of an instance network from annotation, preferably without large gaps in its numbers.

    Pixels of objects smaller than usual have a higher weight, up to 4, so that each object counts about the same.

    Parameters
    ----------
    diameter_px : float
        The usual object diameter at the network's scale.
    sizes : array (objects + 2,), optional
        Area or volume of each label number, for objects that are cut in `labels`; measured if not given.
    border_weight : float
        Weight of the pixels where two objects touch; other pixels of objects and background have weight 1.
    """
    is_object = labels > BACKGROUND
    border = touching(labels)
    classes = np.where(labels == NOT_PAINTED, NOT_PAINTED, np.where(is_object, OBJECT, BACKGROUND)).astype(np.uint8)
    classes[border & (classes != NOT_PAINTED)] = BORDER
    sizes = np.bincount(labels.ravel()) if sizes is None else sizes
    ratio = diameters(np.maximum(sizes, 1), labels.ndim) / diameter_px
    weight = np.where(is_object, np.clip(1 / ratio, 0.5, 4)[labels], 1).astype(np.float32)
    weight[border] *= border_weight
    weight[labels == NOT_PAINTED] = 0
    size = np.where(is_object, np.log(ratio)[labels], 0).astype(np.float32)
    return Targets(classes, normalised_distance(labels), size, weight)


def diameters(sizes: np.ndarray, ndim: int) -> np.ndarray:
    """Return the diameters of discs of these areas, or of balls of these volumes."""
    return np.sqrt(sizes * (4 / np.pi)) if ndim == 2 else np.cbrt(sizes * (6 / np.pi))


def touching(labels: np.ndarray, reach_px: int = 1) -> np.ndarray:
    """Mark the pixels with two different objects within `reach_px`, like the gaps in the U-Net paper."""
    size = 2 * reach_px + 1
    largest = maximum_filter(labels, size)
    of_objects = np.where(labels > BACKGROUND, labels, np.iinfo(labels.dtype).max)
    smallest = minimum_filter(of_objects, size)
    return (largest > BACKGROUND) & (smallest < largest)


def normalised_distance(labels: np.ndarray) -> np.ndarray:
    """Return each pixel's distance to the edge of its object, divided by the largest one in the object."""
    objects = np.where(labels > BACKGROUND, labels, 0).astype(np.int32)
    has_edge = (objects != objects.flat[0]).any()
    distance = run_job(distance_to_background(objects)) if has_edge else np.zeros(labels.shape, np.float32)
    largest = np.ones(int(objects.max()) + 1, dtype=np.float32)
    np.maximum.at(largest, objects.ravel(), distance.ravel())
    return (distance / largest[objects]).astype(np.float32)


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
    begin: Callable[[Network], None] | None = None,
    watch: Callable[[State], None] | None = None,
    everything: Sequence[Example] = (),
) -> Job[State]:
    """Train a network as configured; see `loop.train` for what it yields and returns.

    `begin` may load other weights than random ones. `everything` is used in the last steps, with the held-out data;
    before the first step, "all_from" reports the step from which on it is used.
    """
    net = new_network(plan, device)
    if begin is not None:
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
    net = built(plan.architecture())
    layout = torch.channels_last if plan.ndim == 2 else torch.channels_last_3d
    for parameter in net.parameters():
        if parameter.ndim == plan.ndim + 2:
            parameter.data = parameter.data.contiguous(memory_format=layout)
    return net.to(device)


@dataclass(frozen=True)
class TaskSpec:
    """What differs between tasks."""

    make_targets: MakeTargets  # see `patches.MakeTargets`
    as_batch: Callable[[np.ndarray, Sequence[Any], np.random.Generator], Any]  # (patches, targets, numpy Generator)
    loss_parts: Callable[..., dict[str, torch.Tensor]]  # (net, batch)


def task_of(plan: TrainingConfig, examples: Sequence[Example], device: torch.device) -> tuple[Draw, LossParts]:
    """Return the function that draws a batch for the task, and the one that returns the parts of its loss."""
    if plan.network == "click":
        draw = draw_clicks(examples, plan.batch, plan.intensity_changes, device, plan.noise)
        parameters: dict[str, Any] = {**plan.loss_parameters}
        of_classes = class_loss(plan.loss, **parameters)
        return draw, partial(click_loss, class_loss=of_classes)
    spec = task_spec(plan, device)
    if not plan.rehearsal:
        return draw_from(examples, plan.sampling(), spec, plan.batch), spec.loss_parts
    new, known = parts_of_batch(plan.batch, plan.rehearsal)
    as_before = replace(plan.sampling(), intensity_changes=INTENSITY_CHANGES)
    return with_rehearsal(
        draw_from(examples, plan.sampling(), spec, new),
        draw_from(shipped_examples(tuple(plan.rehearsed)), as_before, spec, known),
        spec.loss_parts,
        plan.rehearsal,
    )


def draw_from(examples: Sequence[Example], sampling: Sampling, spec: TaskSpec, count: int) -> Draw:
    """Return the function that draws a batch of `count` patches."""
    weights = image_weights(examples)

    def draw(rng: np.random.Generator) -> Any:
        patches, targets = draw_batch(examples, weights, sampling, spec.make_targets, count, rng)
        return spec.as_batch(patches, targets, rng)

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

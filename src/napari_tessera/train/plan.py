"""What to train, on what, for how long: the settings of `tessera train` made definite, and the run that they say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import torch

from napari_tessera.jobs import Job
from napari_tessera.nn.intensity import CHANNELS, Kind
from napari_tessera.nn.unet import Architecture, UNet
from napari_tessera.train.checkpoint import Checkpoint, State
from napari_tessera.train.classes import class_batch, class_head_loss, class_targets
from napari_tessera.train.examples import Example
from napari_tessera.train.loop import Draw, LossParts, Validate, train
from napari_tessera.train.losses import class_loss
from napari_tessera.train.objects import object_batch, object_loss, object_targets
from napari_tessera.train.patches import Sampling, draw_batch, image_weights
from napari_tessera.train.schedule import Schedule
from napari_tessera.train.settings import Loss
from napari_tessera.train.targets import HEADS


@dataclass(frozen=True)
class Plan:
    """How to train a U-Net; two runs with one plan on the same images give the same weights.

    Parameters
    ----------
    task : {"objects", "classes"}
    steps : int
        Batches to learn from.
    ndim : {2, 3}
    n_classes : int
        Classes of pixels, background included; not used for objects.
    kind, n_channels
        Kind of images, and how many channels they have; see `nn.intensity`.
    widths : sequence of int
        Channels of the network at each level, from full resolution down.
    diameter_px : float or None
        Usual diameter of an object at which the network works; images are rescaled to it. None for classes.
    patch_px, depth_px : int
        Side of a patch at the network's scale, and its planes (0 in 2-D).
    batch : int
        Patches per step.
    validations : int
        How often the network is scored on the validation images, evenly spread.
    intensity_changes : float
        See `augment.random_intensity`.
    loss, class_weights
        See `losses.class_loss`.
    mixed : bool
        Compute in bfloat16 where that is sound.
    seed : int
    """

    task: Literal["objects", "classes"] = "objects"
    steps: int = 2000
    ndim: Literal[2, 3] = 2
    n_classes: int = 2
    kind: Kind = "colours"
    n_channels: int = 3
    widths: Sequence[int] = (24, 48, 96, 192, 256)
    diameter_px: float | None = 32.0
    patch_px: int = 160
    depth_px: int = 0
    batch: int = 4
    validations: int = 10
    intensity_changes: float = 1.0
    loss: Loss = "combined"
    class_weights: Sequence[float] | None = None
    mixed: bool = True
    seed: int = 0

    def as_json(self) -> dict[str, Any]:
        """Say it as plain JSON."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def architecture(self) -> Architecture:
        """Return the network that is trained."""
        channels = CHANNELS if self.kind == "colours" else self.n_channels
        heads = HEADS if self.task == "objects" else {"classes": self.n_classes}
        return Architecture(channels, heads, self.widths, self.ndim)

    def sampling(self) -> Sampling:
        """Return how patches are drawn: objects at their usual size, classes at the scale of the images."""
        common = Sampling(self.patch_px, self.diameter_px, self.depth_px, intensity_changes=self.intensity_changes)
        if self.task == "objects":
            return common
        return replace(common, diameter_px=None, size_spread=0.15, native_share=0, dim_share=0)

    def schedule(self, save_seconds: float = 60.0) -> Schedule:
        """Cool down over the second half."""
        return Schedule(
            self.steps,
            warm_steps=min(200, self.steps // 10),
            cool_steps=self.steps // 2,
            validate_every=max(1, -(-self.steps // self.validations)),
            save_seconds=save_seconds,
            mixed=self.mixed,
            seed=self.seed,
        )


def learn(
    examples: Sequence[Example],
    plan: Plan,
    checkpoint: Checkpoint | None = None,
    validate: Validate | None = None,
    *,
    device: str = "cpu",
    save_seconds: float = 60.0,
    should_stop: Callable[[], bool] = lambda: False,
) -> Job[State]:
    """Train a U-Net as planned; see `loop.train` for what it yields and returns."""
    net = new_network(plan, device)
    draw, loss_parts = task_of(plan, examples, torch.device(device))
    return train(net, draw, loss_parts, plan.schedule(save_seconds), checkpoint, validate, should_stop)


def new_network(plan: Plan, device: str = "cpu") -> UNet:
    """Make a network with random weights, the same for the same seed."""
    torch.manual_seed(plan.seed)
    net = UNet(plan.architecture())
    layout = torch.channels_last if plan.ndim == 2 else torch.channels_last_3d
    for parameter in net.parameters():
        if parameter.ndim == plan.ndim + 2:
            parameter.data = parameter.data.contiguous(memory_format=layout)
    return net.to(device)


def task_of(plan: Plan, examples: Sequence[Example], device: torch.device) -> tuple[Draw, LossParts]:
    """Return how to draw a batch for the task, and the parts of its loss."""
    sampling, weights = plan.sampling(), image_weights(examples)
    weight_of_class = None if plan.class_weights is None else torch.tensor(plan.class_weights, device=device)
    of_classes = class_loss(plan.loss, weight_of_class)
    is_objects = plan.task == "objects" and plan.diameter_px is not None
    make_targets = object_targets(plan.diameter_px or 1.0) if is_objects else class_targets
    as_batch: Callable[..., Any] = object_batch if is_objects else class_batch
    head_loss: Callable[..., dict[str, torch.Tensor]] = object_loss if is_objects else class_head_loss

    def draw(rng: np.random.Generator) -> Any:
        return as_batch(*draw_batch(examples, weights, sampling, make_targets, plan.batch, rng), device)

    def loss_parts(net: torch.nn.Module, batch: Any) -> dict[str, torch.Tensor]:
        return head_loss(net, batch, of_classes)

    return draw, loss_parts

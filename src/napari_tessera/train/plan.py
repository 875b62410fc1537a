"""What to train, on what, for how long: the settings of `tessera train`, and the run that they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_tessera.jobs import Job
from napari_tessera.nn.intensity import CHANNELS
from napari_tessera.nn.unet import Architecture, UNet
from napari_tessera.train.instances import InstanceBatch, as_batch, instance_loss
from napari_tessera.train.loop import Schedule, Validate, train
from napari_tessera.train.patches import Example, Sampling, draw_batch, image_weights
from napari_tessera.train.targets import HEADS


@dataclass(frozen=True)
class Plan:
    """How to train a U-Net that finds objects.

    Parameters
    ----------
    steps : int
        Batches to learn from.
    widths : sequence of int
        Channels of the network at each level, from full resolution down.
    diameter_px : float
        Usual diameter of an object at which the network works; images are rescaled to it.
    patch_px : int
        Side of a patch, at the network's scale.
    batch : int
        Patches per step.
    validations : int
        How often the network is scored on the validation images, evenly spread.
    mixed : bool
        Compute in bfloat16 where that is sound.
    seed : int
    """

    steps: int = 12000
    widths: Sequence[int] = (24, 48, 96, 192, 256)
    diameter_px: float = 32.0
    patch_px: int = 160
    batch: int = 4
    validations: int = 4
    mixed: bool = True
    seed: int = 0

    def as_json(self) -> dict[str, Any]:
        """Say it as plain JSON."""
        return asdict(self) | {"widths": list(self.widths)}

    def schedule(self) -> Schedule:
        """Cool down over the second half."""
        validate_every = max(1, -(-self.steps // self.validations))
        warm_steps = min(200, self.steps // 10)
        return Schedule(
            self.steps,
            warm_steps=warm_steps,
            cool_steps=self.steps // 2,
            validate_every=validate_every,
            mixed=self.mixed,
            seed=self.seed,
        )


def train_objects(
    examples: Sequence[Example], plan: Plan, checkpoint: Path | None = None, validate: Validate | None = None
) -> Job[torch.nn.Module]:
    """Train a U-Net that finds objects; see `train` for what it yields and returns."""
    torch.manual_seed(plan.seed)
    net = UNet(Architecture(CHANNELS, HEADS, plan.widths)).to(memory_format=torch.channels_last)
    sampling, weights = Sampling(plan.patch_px, plan.diameter_px), image_weights(examples)

    def draw(rng: np.random.Generator) -> InstanceBatch:
        return as_batch(*draw_batch(examples, weights, sampling, plan.batch, rng))

    return train(net, draw, instance_loss, plan.schedule(), checkpoint, validate)

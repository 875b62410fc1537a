"""`TrainingConfig`: the complete configuration of a training, with its schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from napari_tessera.inference.click import CHANNELS as CLICK_CHANNELS
from napari_tessera.inference.normalization import CHANNELS, Kind
from napari_tessera.models.mask_rcnn.config import MaskRCNNArchitecture
from napari_tessera.models.unet import ClickArchitecture, UNetArchitecture
from napari_tessera.training.data.patches import Sampling
from napari_tessera.training.mask_rcnn_task import detection_architecture
from napari_tessera.training.settings import LossName, NetworkKind

RATE_FOR_MORE, RATE_FOR_OTHER = 0.05, 0.25
"""Share of the learning rate for a network that has been trained for long, for the same task or another one.

Sixty steps on twenty stained nuclei at a quarter of the rate cost 0.08 of AP on other images, 150 at a twentieth 0.04.
"""
RATE_FOR_KNOWN, RATE_FOR_NEW = 0.05, 1.0
"""The same with rehearsal: for a known kind of objects, and for a new one; see `rehearsal.rate_by_ratio`."""
STEPS_AT_FULL_RATE = 300
"""Up to this many steps a network continues at the full rate; after more steps the rate is lower."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train."""

    steps: int  # total steps
    peak_rate: float = 2e-3  # learning rate between warm-up and cool-down
    warm_steps: int = 100
    """Steps over which the rate rises from 0; over `cool_steps` it falls to 0 at the end, along a cosine."""
    cool_steps: int = 1000
    weight_decay: float = 1e-2
    average: float = 0.998  # decay of the moving average of the weights, which is the one that is kept
    validate_every: int = 1000  # steps between two validations
    save_seconds: float = 60.0  # time between two checkpoints
    seed: int = 0
    mixed: bool = False  # compute in bfloat16 where that is precise enough
    keeps_statistics: bool = False
    """Keep the means and variances of batch normalisation: a few images of one kind do not represent those of
    others."""
    patience: int | None = None  # validations without a better score after which the training ends
    all_from: int | None = None
    """Step from which the held-out annotation is used for training too; then there is no validation, and the last
    weights are kept. None: it is held out to the end."""

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        warm = min(1.0, (step + 1) / max(1, self.warm_steps))
        left = min(1.0, (self.steps - step) / max(1, self.cool_steps))
        return self.peak_rate * warm * 0.5 * (1 - math.cos(math.pi * left))

    @property
    def steps_per_mean(self) -> int:
        """Steps over which losses are averaged for the curves: some 200 points in all."""
        return max(1, self.steps // 200)


def share_of_rate(start: Mapping[str, Any] | None, task: str) -> float:
    """Return the share of the default learning rate: 1 without a start model, less after long training.

    `start` has the model's "task" and its "steps" (None if unknown); `task` is that of this training.
    """
    if start is None:
        return 1.0
    least = RATE_FOR_MORE if start["task"] == task else RATE_FOR_OTHER
    return least if start["steps"] is None else min(1.0, max(least, STEPS_AT_FULL_RATE / max(start["steps"], 1)))


HEADS = {"classes": 3, "distance": 1, "size": 1}
"""Heads of a U-Net for objects: scores of background, object and border; distance; size."""
PEAK_RATES: Mapping[NetworkKind, float] = {"unet": 2e-3, "mask-rcnn": 1e-3, "click": 2e-3}
FREE_SCALES: Mapping[NetworkKind, float] = {"unet": 0.12, "mask-rcnn": 0.25, "click": 0.0}
"""Share of object patches at scales far from the usual; see `Sampling.native_share`."""
ALL_FROM = 0.5
"""Share of the steps after which held-out strokes are used for training too."""


@dataclass(frozen=True)
class TrainingConfig:
    """How to train a network; two runs with one configuration on the same images give the same weights."""

    network: NetworkKind = "unet"
    task: Literal["objects", "classes"] = "objects"
    steps: int = 2000  # batches
    ndim: Literal[2, 3] = 2
    n_classes: int = 2  # classes of pixels, background included; not used for objects
    kind: Kind = "colours"  # of images; see `inference.normalization`
    n_channels: int = 3
    widths: Sequence[int] = (24, 48, 96, 192, 256)  # channels of the network at each level, from the finest down
    diameter_px: float | None = 32.0
    """Usual object diameter to which images are rescaled for the network. None for classes."""
    patch_px: int = 160  # side of a patch at the network's scale
    depth_px: int = 0  # its planes; 0 in 2-D
    batch: int = 4  # patches per step
    learning_rate: float | None = None
    """See `Schedule.peak_rate`; None depends on the network and on how long the start model was trained."""
    rehearsal: float = 0.0  # share of the patches that come from the start model's earlier data; see `rehearsal`
    rehearsed: Sequence[str] = ()  # kinds of images that these patches come from
    validations: int = 10  # number of validations, evenly spaced
    intensity_changes: float = 1.0  # see `patches.random_intensity`
    noise: float = 0.0  # see `Sampling`
    inversion: float = 0.0  # see `Sampling`
    rescaling: float | None = None  # see `Sampling.size_spread`; None is usual for the task
    loss: LossName = "combined"  # see `losses.class_loss`
    mask_loss: LossName = "combined"  # for the masks of a Mask R-CNN; not used for a U-Net
    class_weights: Sequence[float] | None = None
    loss_parameters: Mapping[str, float] = field(default_factory=dict)  # parameters of the losses, by name
    mixed: bool = True  # compute in bfloat16 where that is precise enough
    seed: int = 0
    patience: int | None = None  # see `Schedule`
    start: Mapping[str, Any] | None = None  # the model to start from; see `Pretrained.as_json`

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        optional = ("noise", "inversion", "rescaling", "loss_parameters", "rehearsed")
        unused = [name for name in optional if not getattr(self, name)]
        values = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in unused}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def architecture(self) -> UNetArchitecture | MaskRCNNArchitecture:
        """Return the network's architecture."""
        channels = CHANNELS if self.kind == "colours" else self.n_channels
        if self.network == "mask-rcnn" and self.start is not None:
            return replace(MaskRCNNArchitecture.from_json(self.start["architecture"]), num_classes=2)
        if self.network == "mask-rcnn":
            return detection_architecture(channels, self.diameter_px or 1.0, self.patch_px, self.widths)
        if self.network == "click":
            return ClickArchitecture(CLICK_CHANNELS, {"classes": 2}, self.widths)
        heads = HEADS if self.task == "objects" else {"classes": self.n_classes}
        return UNetArchitecture(channels, heads, self.widths, self.ndim)

    def described_network(self) -> dict[str, Any]:
        """Return the architecture as in the header of a model file."""
        return self.architecture().as_json()

    def sampling(self) -> Sampling:
        """Return how patches are sampled: objects at their usual size, classes at the scale of the images."""
        is_objects = self.task == "objects"
        common = Sampling(
            self.patch_px,
            self.diameter_px,
            self.depth_px,
            size_spread=(0.22 if is_objects else 0.15) if self.rescaling is None else self.rescaling,
            native_share=FREE_SCALES[self.network],
            intensity_changes=self.intensity_changes,
            noise_share=self.noise,
            inverted_share=self.inversion,
            is_dark_outside=self.network == "mask-rcnn",
        )
        if is_objects:
            return common
        return replace(common, diameter_px=None, native_share=0, dim_share=0, needs_margin=False)

    def schedule(self, save_seconds: float = 60.0, *, learns_all: bool = False) -> Schedule:
        """Cool down over the second half; from a start model, train slowly, so that the network forgets little.

        With `learns_all`, the held-out annotation is used for training in the end.
        """
        usual = PEAK_RATES[self.network]
        slower = RATE_FOR_KNOWN if self.rehearsal else share_of_rate(self.start, self.task)
        rate = self.learning_rate or usual * slower
        all_from = max(1, round(ALL_FROM * self.steps)) if learns_all else None
        return Schedule(
            self.steps,
            peak_rate=rate,
            warm_steps=min(200, self.steps // 10),
            cool_steps=self.steps // 2,
            validate_every=max(1, -(-(all_from or self.steps) // self.validations)),
            save_seconds=save_seconds,
            mixed=self.mixed,
            seed=self.seed,
            keeps_statistics=self.start is not None and (rate < usual or self.rehearsal > 0),
            patience=self.patience,
            all_from=all_from,
        )

"""Start from a trained model, or from the published COCO weights: load its weights and adapt its heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from napari_tessera.core.errors import InputError, ParameterError
from napari_tessera.inference.click import COLOURS
from napari_tessera.inference.normalization import CHANNELS, Kind, kind_of, normalisation
from napari_tessera.models import registry as catalogue
from napari_tessera.models.header import TITLES
from napari_tessera.models.mask_rcnn.coco import (
    COCO_CLASSES,
    DEEPER,
    SCORES,
    check_tensors,
    coco_file,
    digest_of,
    read_coco_weights,
)
from napari_tessera.models.mask_rcnn.config import IMAGENET_MEAN, IMAGENET_STD, MaskRCNNArchitecture
from napari_tessera.models.mask_rcnn.model import MaskRCNN
from napari_tessera.models.registry import ModelEntry
from napari_tessera.models.weights import Network, empty_network, load_model
from napari_tessera.training.data.patches import Sampling
from napari_tessera.training.mask_rcnn_task import detection_architecture
from napari_tessera.training.settings import NOTHING, Training

ROWS_OF_A_CLASS = {
    "heads.classes": 1,
    "roi_heads.box_predictor.cls_score": 1,
    "roi_heads.box_predictor.bbox_pred": 4,
    "roi_heads.mask_predictor.mask_fcn_logits": 1,
}
"""Layers with rows of weights for each class, and the rows per class."""
BACKGROUND_ROW, OBJECT_ROW = 0, 1
INPUT = "down.0.0.weight"
"""Weights of the first layer of a U-Net, (features, channels, Y, X)."""
NOISE = 0.1
"""Standard deviation of the noise on the rows of a new class, as a share of that of its initial rows: without noise,
equal classes would stay equal."""
KINDS = {"unet": "unet", "mask_rcnn": "mask-rcnn", "click": "click"}
"""Kinds of networks in model files, and in the settings."""


@dataclass(frozen=True)
class Pretrained:
    """A model to start from."""

    name: str
    sha256: str  # of the model file
    header: Mapping[str, Any]
    weights: Mapping[str, Tensor] = field(repr=False)

    @property
    def architecture(self) -> Mapping[str, Any]:
        """The network, as the header describes it."""
        return self.header["architecture"]

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON that identifies the model, with the fields that a training configuration needs."""
        taken = ("architecture", "task", "classes", "diameter_px", "decoding", "scoring")
        known = {name: self.header[name] for name in taken if name in self.header}
        return {"model": self.name, "sha256": self.sha256, "steps": self.steps, **known}

    @property
    def steps(self) -> int | None:
        """Training steps of the model, with those of its own start model; None if unknown."""
        record = self.header.get("training", {})
        own, before = record.get("best_step"), (record.get("settings") or {}).get("start") or {}
        return None if own is None else int(own) + int(before.get("steps") or 0)

    @property
    def kind(self) -> Kind:
        """Kind of images; see `inference.normalization`."""
        return kind_of(self.header)

    @property
    def n_channels(self) -> int:
        """Channels of its images."""
        return (
            int(self.header["normalisation"].get("count", 3))
            if self.kind == "colours"
            else int(self.architecture["channels"])
        )

    @property
    def diameter_px(self) -> float | None:
        """Usual object diameter at the network's scale; None if it has none."""
        return self.header.get("diameter_px")


def read_start(settings: Training) -> Pretrained:
    """Load the model, or the published weights, that the settings name.

    A ParameterError says that there is no such model, or it does not fit the other settings; a ModelError, that the
    file cannot be used.
    """
    if is_coco(settings.start_from):
        return read_coco_start(settings)
    entry = catalogue.find(settings.start_from)
    check_suits(entry, settings)
    net, header = load_model(entry.path)
    return Pretrained(entry.name, entry.sha256(), header, net.state_dict())


def check_suits(entry: ModelEntry, settings: Training) -> None:
    """Refuse a model that does not fit the settings."""
    suiting = ("unet", "click") if settings.network == "click" else (settings.network,)
    if KINDS[entry.kind] not in suiting:
        raise _unsuited(
            f"{entry.name!r} is a {_in_words(KINDS[entry.kind])}, but `network` is {settings.network!r}. Choose the "
            f"network {KINDS[entry.kind]!r}, or another model."
        )
    if entry.ndim != settings.ndim:
        raise _unsuited(
            f"{entry.name!r} is for {'planes' if entry.ndim == 2 else 'volumes'}, but `ndim` is {settings.ndim}. "
            f"Choose {entry.ndim}, or another model."
        )
    if settings.task == "objects" and entry.task == "classes":
        raise _unsuited(
            f'{entry.name!r} segments classes of pixels, not objects, but `task` is "objects". Choose the '
            'task "classes", or a model for objects.'
        )
    for name in ("widths", "diameter"):
        if getattr(settings, name) is not None:
            raise ParameterError(
                f"Training: `{name}` is that of the model to start from, {entry.name!r}. Leave it out, or start from "
                f'"{NOTHING}".',
                name,
            )


def _unsuited(said: str) -> ParameterError:
    return ParameterError(f"Training: `start_from` does not fit the other settings: {said}", "start_from")


def _in_words(network: str) -> str:
    return TITLES[network.replace("-", "_")]


def check_images(start: Pretrained, kind: Kind, n_channels: int) -> None:
    """Refuse images with other channels than the model takes."""
    if start.kind == kind and (kind == "colours" or start.n_channels == n_channels):
        return
    takes = "grey or RGB images" if start.kind == "colours" else f"images with {start.n_channels} channels"
    has = "are grey or RGB" if kind == "colours" else f"have {n_channels} channels"
    raise InputError(
        f"The model to start from, {start.name!r}, takes {takes}, but these {has}. Give such images, or start from "
        f'"{NOTHING}".'
    )


@dataclass(frozen=True)
class Row:
    """Source of the weights of a class: a class of the start model, copied as it is or with noise."""

    of: int
    is_new: bool


def rows_for(start: Pretrained, task: str, classes: Sequence[str], count: int) -> list[Row]:
    """Return the source of each class: existing classes keep their weights, new ones start as an object.

    `classes` are the names, background first; empty if they have no names. `count` is the number of rows of the new
    head: one for each class; for the objects of a U-Net: background, object and border.
    """
    old = list(start.header["classes"])
    is_same_task = start.header["task"] == task
    is_same_head = count == len(old) or start.architecture["kind"] == "unet"
    if is_same_task and (is_same_head if task == "objects" else count == len(old) and list(classes or old) == old):
        return [Row(index, False) for index in range(count)]
    known = {name: index for index, name in enumerate(old) if index > BACKGROUND_ROW and is_same_task}
    names = list(classes or [""] * count)[1:]
    return [Row(BACKGROUND_ROW, False), *(Row(known.get(name, OBJECT_ROW), name not in known) for name in names)]


def load_pretrained(net: Network, start: Pretrained, task: str, classes: Sequence[str], seed: int) -> None:
    """Load the weights of the start model into a network, in place; see `rows_for` on its classes.

    Layers that the model does not have, such as the head for another task, stay as they are in `net`; a click network
    takes from a U-Net what that makes of the colours. The seed is that of the noise on new classes.
    """
    rows = rows_for(start, task, classes, classes_of(net))
    rng = torch.Generator().manual_seed(seed)
    own = net.state_dict()
    chosen = {}
    for name, value in own.items():
        old, layer = start.weights.get(name), name.rpartition(".")[0]
        if old is None:
            continue
        if layer in ROWS_OF_A_CLASS:
            old = adapted(old, rows, ROWS_OF_A_CLASS[layer], rng)
        if name == INPUT and old.shape[1] != value.shape[1]:
            chosen[name] = value.clone()
            chosen[name][:, :COLOURS] = old[:, :COLOURS].to(value.dtype)
        elif old.shape == value.shape:
            chosen[name] = old.to(value.dtype)
    net.load_state_dict(own | chosen)


def classes_of(net: Network) -> int:
    """Return the number of classes that a network scores, background included."""
    if isinstance(net, MaskRCNN):
        return net.architecture.num_classes
    return int(net.architecture.heads["classes"])


def adapted(old: Tensor, rows: Sequence[Row], each: int, rng: torch.Generator) -> Tensor:
    """Return the weights (old classes × each, …) of a layer for other classes; new classes get a little noise.

    `each` is the number of rows of the layer for each class.
    """
    by_class = old.unflatten(0, (-1, each))
    new = torch.stack([by_class[row.of] for row in rows])
    spread = float(old.std()) if old.numel() > 1 else 0.0
    noise = NOISE * spread * torch.randn(new.shape, generator=rng)
    is_new = torch.tensor([float(row.is_new) for row in rows]).reshape(-1, *(1,) * (new.ndim - 1))
    return (new + noise * is_new).flatten(0, 1)


COCO = "coco"
"""Name for the published weights, which are downloaded; the path of their file can be given instead."""
ENDING = ".pth"
FIRST_CONVOLUTION = "backbone.body.conv1.weight"
PUBLISHED = MaskRCNNArchitecture(len(COCO_CLASSES))


def is_coco(start_from: str) -> bool:
    """Return whether the setting names the published weights, or a file of weights."""
    return start_from == COCO or start_from.endswith(ENDING)


def read_coco_start(settings: Training) -> Pretrained:
    """Read the published weights, or those of a network with ResNet-101, for patches instead of photographs.

    Images keep their size, the anchors fit the objects, and besides the three colours there are Tessera's other
    channels, with weight 0 at first. A ParameterError says that the settings need another network; a FileError, that
    the file is missing, is not the published one, or cannot be downloaded.
    """
    check_suits_coco(settings)
    file = coco_file(None if settings.start_from == COCO else settings.start_from)
    weights = read_coco_weights(file)
    published = published_architecture(weights)
    check_tensors(weights, empty_network(published.as_json()).state_dict(), file)
    is_of_coco = published.num_classes == len(COCO_CLASSES)
    numbered = ["background", *(f"class {number}" for number in range(1, published.num_classes))]
    diameter_px = settings.diameter or Sampling().diameter_px
    assert diameter_px is not None
    header = {
        "architecture": coco_architecture(diameter_px, settings.patch, published).as_json(),
        "task": "objects",
        "classes": list(COCO_CLASSES) if is_of_coco else numbered,
        "diameter_px": diameter_px,
        "decoding": {},
        "normalisation": normalisation("colours", len(IMAGENET_MEAN)),
    }
    name = COCO if published == PUBLISHED else file.stem
    return Pretrained(name, digest_of(file), header, with_own_channels(weights))


def published_architecture(weights: Mapping[str, Tensor]) -> MaskRCNNArchitecture:
    """Return the network that has these weights; only the published ones were trained without epsilon."""
    if DEEPER not in weights:
        return PUBLISHED
    return MaskRCNNArchitecture(len(weights[SCORES]), backbone="resnet101", epsilon=1e-5)


def check_suits_coco(settings: Training) -> None:
    """Refuse settings for another network than the published one."""
    if settings.network != "mask-rcnn":
        raise ParameterError(
            f"Training: `start_from` is {settings.start_from!r}, the published Mask R-CNN, but `network` is "
            f'{settings.network!r}. Choose the network "mask-rcnn", or another model.',
            "start_from",
        )
    if settings.widths is not None:
        raise ParameterError(
            "Training: `widths` are those of the model to start from, the published Mask R-CNN. Leave it out.", "widths"
        )


def coco_architecture(
    diameter_px: float, patch_px: int | None = None, published: MaskRCNNArchitecture = PUBLISHED
) -> MaskRCNNArchitecture:
    """Return the published network's architecture for objects of a usual diameter, and patches of this side."""
    own = detection_architecture(CHANNELS, diameter_px, patch_px or Sampling().size_px, published.widths)
    more = CHANNELS - len(IMAGENET_MEAN)
    as_published = {"image_mean": (*IMAGENET_MEAN, *[0.0] * more), "image_std": (*IMAGENET_STD, *[1.0] * more)}
    return replace(published, channels=CHANNELS, settings={**own.settings, **as_published})


def with_own_channels(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Extend the first convolution by Tessera's other channels, with weight 0."""
    first = weights[FIRST_CONVOLUTION]
    more = torch.zeros(len(first), CHANNELS - first.shape[1], *first.shape[2:])
    return {**weights, FIRST_CONVOLUTION: torch.cat([first, more], dim=1)}

"""Cost of running a U-Net or a Mask R-CNN: operations, memory, and seconds on a device."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, prod
from typing import Any

import torch
from torch.nn import functional

from napari_tessera.inference.sliding_window import (
    SHARE_OF_FREE_MEMORY,
    computed_pixels,
    largest_side,
    unet_pixels_at_once,
)
from napari_tessera.models import device as devices
from napari_tessera.models.mask_rcnn.config import MaskRCNNArchitecture, Settings
from napari_tessera.models.mask_rcnn.rpn import limits
from napari_tessera.models.unet import UNetArchitecture
from napari_tessera.models.weights import empty_network

MEASURING_SECONDS = 0.05
MEASURED_SIDE_PX = {"cpu": 128, "mps": 512, "cuda": 512}
"""Side of the image that is convolved; small images do not keep a graphics card busy."""
UNET_EFFICIENCY = 0.75
"""Speed of a whole network over that of its convolutions alone."""


@dataclass(frozen=True)
class Estimate:
    """What a run will cost."""

    seconds: float  # of the network alone, on an idle device
    n_bytes: int  # of the computer: the scores, and the network unless it runs on a graphics card


def estimate_unet(
    header: Mapping[str, Any],
    shape: Sequence[int],
    factor: float | Sequence[float] = 1.0,
    device: str = "auto",
    augment: bool = False,
) -> Estimate:
    """Estimate what `sliding_window.predict` will cost.

    `shape` is ([Z,] Y, X) of the image; planes in front of the axes of the network are counted one by one. `factor` is
    network pixels per image pixel, one number or one per axis. With `augment`, scores are averaged over mirror images.
    """
    architecture, kind = UNetArchitecture.from_json(header["architecture"]), devices.choose(device)
    planes, sides = prod(shape[: -architecture.ndim]), shape[-architecture.ndim :]
    factors = [factor] * len(sides) if isinstance(factor, (int, float)) else factor[-len(sides) :]
    computed = [max(1, round(side * each)) for side, each in zip(sides, factors, strict=True)]
    dtype, halo = devices.low_precision(kind), architecture.halo_px
    at_once = unet_pixels_at_once(architecture, kind, dtype)
    side = largest_side(computed, architecture.step, halo, at_once)
    n_pixels = (
        planes * computed_pixels(computed, side, architecture.step, halo) * (2**architecture.ndim if augment else 1)
    )
    seconds = n_pixels * architecture.operations_per_pixel / (UNET_EFFICIENCY * convolution_rate(kind))
    scores = 4 * sum(architecture.heads.values()) * prod(computed)
    window = 0 if kind == "cuda" else min(at_once, n_pixels) * architecture.bytes_per_pixel(dtype)
    return Estimate(seconds, scores + window)


@lru_cache
def convolution_rate(kind: str, dtype: torch.dtype | None = None) -> float:
    """Measure how fast a device convolves, once: operations per second of 3×3 convolutions, 64 channels to 64."""
    dtype = dtype or devices.low_precision(kind)
    side = MEASURED_SIDE_PX[kind]
    image = torch.zeros(1, 64, side, side, device=kind, dtype=dtype).to(memory_format=torch.channels_last)
    weight = torch.zeros(64, 64, 3, 3, device=kind, dtype=dtype)

    def seconds() -> float:
        start = time.perf_counter()
        functional.conv2d(image, weight, padding=1)[0, 0, 0, 0].item()
        return time.perf_counter() - start

    with torch.inference_mode():
        seconds()  # the first time, libraries are loaded
        end = time.perf_counter() + MEASURING_SECONDS
        best = seconds()
        while time.perf_counter() < end:
            best = min(best, seconds())
    return 2 * 9 * 64 * image.numel() / best


MASK_RCNN_EFFICIENCY = 0.45
"""Speed of a whole network over that of its convolutions alone: the heads process many small boxes."""
SECONDS_PER_PLANE = 0.08
"""What choosing boxes and painting masks takes of a plane, however small it is."""
MASK_RCNN_OPERATIONS_AT_ONCE = {"cpu": 200e9, "mps": 800e9, "cuda": 4000e9}
"""Work in a tile: a second or a few on a slow device of each kind. Fixed, so that a run can be repeated."""
OBJECTS_APART = 1.5
"""Distance of neighbours in a crowd, in usual diameters; each object has a mask to be computed."""
USUAL_DIAMETER_PX = 64
"""What counts as the usual diameter where a model knows none."""
MASK_RCNN_LIVE_FEATURES = 4
"""Values that the backbone keeps per pixel while it runs, as a multiple of the channels of its first level over 4."""
BYTES_OF_HEADS = 300e6
"""Memory of the heads, which process a fixed number of boxes at a time."""
MASK_POINTS = (14**2, 28**2)
"""Points of a box on which the mask head convolves, and on which it predicts."""
MASK_BYTES = 4 * 28**2
PAINTING_BYTES = 28
"""Memory for each pixel of a plane while masks become labels."""
ALL_LEVELS = sum(1 / 4 ** (level + 2) for level in range(5))
"""Pixels of all levels of the pyramid together, for each pixel of the image."""
COARSEST_STRIDE_PX = 64
"""Pixels of the image for each of the coarsest level of the pyramid."""
DIAMETERS_SHARED = 4
"""How far tiles overlap, in usual diameters of an object."""
SHARED_PX = 256
"""How far tiles overlap where no diameter is known."""
LARGEST_SIDE_PX = 1408
"""Side of a tile where no diameter is known: objects may be as large as the image, which must be processed whole."""


def estimate_mask_rcnn(
    header: Mapping[str, Any], shape: Sequence[int], factor: float, device: str = "auto"
) -> Estimate:
    """Estimate what `tiled_detection.detect` will cost on an image full of objects.

    `shape` is ([Z,] Y, X) of the image; planes are counted one by one. `factor` is network pixels per image pixel.
    """
    architecture, kind = MaskRCNNArchitecture.from_json(header["architecture"]), devices.choose(device)
    usual_px = header.get("diameter_px") or USUAL_DIAMETER_PX
    sides = [max(1, round(side * factor)) for side in shape[-2:]]
    at_once, shared = mask_rcnn_pixels_at_once(header, kind), overlap_px(header)
    own = max(1, int(at_once**0.5) - shared)
    computed = prod(side + shared * (ceil(side / own) - 1) for side in sides)
    planes = prod(shape[:-2])
    per_plane = (
        computed
        * mask_rcnn_operations_per_pixel(architecture, usual_px)
        / (MASK_RCNN_EFFICIENCY * convolution_rate(kind))
    )
    seconds = planes * (per_plane + SECONDS_PER_PLANE)
    masks = MASK_BYTES * prod(sides) * objects_per_pixel(usual_px) + PAINTING_BYTES * prod(shape[-2:])
    tile = 0 if kind == "cuda" else tile_bytes(architecture, min(at_once, computed))
    return Estimate(seconds, int(masks + tile))


def overlap_px(header: Mapping[str, Any]) -> int:
    """Return how far tiles should overlap, in multiples of the coarsest stride."""
    usual_px = header.get("diameter_px")
    wanted = DIAMETERS_SHARED * usual_px if usual_px else SHARED_PX
    return ceil(wanted / COARSEST_STRIDE_PX) * COARSEST_STRIDE_PX


def mask_rcnn_pixels_at_once(header: Mapping[str, Any], kind: str) -> int:
    """Return how many pixels a tile may hold, by the time it takes and by the memory there is."""
    architecture, usual_px = MaskRCNNArchitecture.from_json(header["architecture"]), header.get("diameter_px")
    by_time = (
        MASK_RCNN_OPERATIONS_AT_ONCE[kind] / mask_rcnn_operations_per_pixel(architecture, usual_px)
        if usual_px
        else LARGEST_SIDE_PX**2
    )
    free = SHARE_OF_FREE_MEMORY * devices.free_bytes(kind) - BYTES_OF_HEADS
    return int(min(by_time, max(1.0, free) / mask_rcnn_bytes_per_pixel(architecture)))


def objects_per_pixel(usual_px: float) -> float:
    """Return how many objects there are in a crowd, per pixel."""
    return 1 / (OBJECTS_APART * usual_px) ** 2


def mask_rcnn_bytes_per_pixel(architecture: MaskRCNNArchitecture) -> float:
    """Estimate the memory that the backbone needs while it runs, per pixel of its input."""
    first = architecture.widths[0] if architecture.backbone == "light" else 64
    return 4 * (architecture.channels + MASK_RCNN_LIVE_FEATURES * first / 4 + 2 * ALL_LEVELS * architecture.width)


def tile_bytes(architecture: MaskRCNNArchitecture, n_pixels: float) -> float:
    """Estimate the memory that the network needs for a tile of so many pixels."""
    return BYTES_OF_HEADS + n_pixels * mask_rcnn_bytes_per_pixel(architecture)


def mask_rcnn_operations_per_pixel(architecture: MaskRCNNArchitecture, usual_px: float) -> float:
    """Count multiplications and additions per pixel of an image that is full of objects."""
    total = backbone_operations(architecture)
    proposals, objects = _proposals_per_pixel(architecture), objects_per_pixel(usual_px)
    for name, shape in _shapes(architecture).items():
        if name.startswith("roi_heads"):
            points = MASK_POINTS["logits" in name] * objects if len(shape) == 4 else proposals
            total += 2 * prod(shape) * points
    return total


def backbone_operations(architecture: MaskRCNNArchitecture) -> float:
    """Count multiplications and additions per pixel of the backbone, its pyramid, and the proposal head."""
    shapes = _shapes(architecture).items()
    weights = [(name, shape) for name, shape in shapes if len(shape) == 4 and not name.startswith("roi_heads")]
    return 2 * sum(prod(shape) * _share_of_pixels(name) for name, shape in weights)


def _shapes(architecture: MaskRCNNArchitecture) -> dict[str, tuple[int, ...]]:
    return _shapes_of_json(json.dumps(architecture.as_json()))


@lru_cache(maxsize=4)
def _shapes_of_json(architecture: str) -> dict[str, tuple[int, ...]]:
    return {name: tuple(each.shape) for name, each in empty_network(json.loads(architecture)).state_dict().items()}


def _proposals_per_pixel(architecture: MaskRCNNArchitecture) -> float:
    """Return how many proposals there can be for each pixel of a large image."""
    settings = Settings(**{**architecture.settings, "rpn_post_nms_top_n_test": None})
    side = 1024
    return limits(settings, (side, side), is_training=False).proposals / side**2


def _share_of_pixels(name: str) -> float:
    """Return on how many pixels a convolution's output lies, for each pixel of the image."""
    if name.startswith("rpn"):
        return ALL_LEVELS
    found = re.search(r"(?:layer|blocks\.)(\d)", name)
    if found is None:
        return 1 / 4  # the first convolution
    level = int(found[1]) - name.startswith("backbone.body")
    return 1 / 4 ** (level + 2)

"""What running a Mask R-CNN costs: operations and memory per pixel, per proposal and per object."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import ceil, prod
from typing import Any

from napari_tessera.io.architecture import tensor_shapes
from napari_tessera.nn import device as devices
from napari_tessera.nn.cost import SHARE_OF_FREE_MEMORY, Estimate, convolution_rate
from napari_tessera.nn.detection_settings import Architecture, Settings
from napari_tessera.nn.proposals import limits

EFFICIENCY = 0.45
"""Speed of a whole network over that of its convolutions alone: the heads look into many small boxes."""
SECONDS_PER_PLANE = 0.08
"""What choosing boxes and painting masks takes of a plane, however small it is."""
OPERATIONS_AT_ONCE = {"cpu": 200e9, "mps": 800e9, "cuda": 4000e9}
"""Work in a tile: a second or a few on a slow device of each kind. Fixed, so that a run can be repeated."""
OBJECTS_APART = 1.5
"""Distance of neighbours in a crowd, in usual diameters; each object has a mask to be computed."""
USUAL_DIAMETER_PX = 64
"""What counts as the usual diameter where a model knows none."""
LIVE_FEATURES = 4
"""Values that the backbone keeps per pixel while it runs, as a multiple of the channels of its first level over 4."""
BYTES_OF_HEADS = 300e6
"""Memory of the heads, which look into a fixed number of boxes at a time."""
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
"""Side of a tile where no diameter is known: objects may be as large as the image, which is then seen as a whole."""


def estimate(header: Mapping[str, Any], shape: Sequence[int], factor: float, device: str = "auto") -> Estimate:
    """Estimate what `large.detecting.detect` will cost on an image full of objects.

    Parameters
    ----------
    header : mapping
        Of the model file.
    shape : sequence of int
        ([Z,] Y, X) of the image; planes are counted one by one.
    factor : float
        Network pixels per image pixel.
    device : str
        "auto", "cuda", "mps" or "cpu".

    Raises
    ------
    ParameterError
        If this computer has no such device.
    """
    architecture, kind = Architecture.from_json(header["architecture"]), devices.choose(device)
    usual_px = header.get("diameter_px") or USUAL_DIAMETER_PX
    sides = [max(1, round(side * factor)) for side in shape[-2:]]
    at_once, shared = pixels_at_once(header, kind), overlap_px(header)
    own = max(1, int(at_once**0.5) - shared)
    seen = prod(side + shared * (ceil(side / own) - 1) for side in sides)
    planes = prod(shape[:-2])
    per_plane = seen * operations_per_pixel(architecture, usual_px) / (EFFICIENCY * convolution_rate(kind))
    seconds = planes * (per_plane + SECONDS_PER_PLANE)
    masks = MASK_BYTES * prod(sides) * objects_per_pixel(usual_px) + PAINTING_BYTES * prod(shape[-2:])
    tile = 0 if kind == "cuda" else tile_bytes(architecture, min(at_once, seen))
    return Estimate(seconds, int(masks + tile))


def overlap_px(header: Mapping[str, Any]) -> int:
    """Return how far tiles should overlap, in multiples of the coarsest stride."""
    usual_px = header.get("diameter_px")
    wanted = DIAMETERS_SHARED * usual_px if usual_px else SHARED_PX
    return ceil(wanted / COARSEST_STRIDE_PX) * COARSEST_STRIDE_PX


def pixels_at_once(header: Mapping[str, Any], kind: str) -> int:
    """Return how many pixels a tile may hold, by the time it takes and by the memory there is."""
    architecture, usual_px = Architecture.from_json(header["architecture"]), header.get("diameter_px")
    by_time = (
        OPERATIONS_AT_ONCE[kind] / operations_per_pixel(architecture, usual_px) if usual_px else LARGEST_SIDE_PX**2
    )
    free = SHARE_OF_FREE_MEMORY * devices.free_bytes(kind) - BYTES_OF_HEADS
    return int(min(by_time, max(1.0, free) / bytes_per_pixel(architecture)))


def objects_per_pixel(usual_px: float) -> float:
    """Return how many objects there are in a crowd, per pixel."""
    return 1 / (OBJECTS_APART * usual_px) ** 2


def bytes_per_pixel(architecture: Architecture) -> float:
    """Estimate the memory that the backbone needs while it runs, per pixel of its input."""
    first = 64 if architecture.backbone == "resnet50" else architecture.widths[0]
    return 4 * (architecture.channels + LIVE_FEATURES * first / 4 + 2 * ALL_LEVELS * architecture.width)


def tile_bytes(architecture: Architecture, n_pixels: float) -> float:
    """Estimate the memory that the network needs for a tile of so many pixels."""
    return BYTES_OF_HEADS + n_pixels * bytes_per_pixel(architecture)


def operations_per_pixel(architecture: Architecture, usual_px: float) -> float:
    """Count multiplications and additions per pixel of an image that is full of objects."""
    total = backbone_operations(architecture)
    proposals, objects = _proposals_per_pixel(architecture), objects_per_pixel(usual_px)
    for name, shape in _shapes(architecture).items():
        if name.startswith("roi_heads"):
            points = MASK_POINTS["logits" in name] * objects if len(shape) == 4 else proposals
            total += 2 * prod(shape) * points
    return total


def backbone_operations(architecture: Architecture) -> float:
    """Count multiplications and additions per pixel of the backbone, its pyramid, and the proposal head."""
    shapes = _shapes(architecture).items()
    weights = [(name, shape) for name, shape in shapes if len(shape) == 4 and not name.startswith("roi_heads")]
    return 2 * sum(prod(shape) * _share_of_pixels(name) for name, shape in weights)


def _shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    return tensor_shapes({"kind": "mask_rcnn", **architecture.as_json()})


def _proposals_per_pixel(architecture: Architecture) -> float:
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

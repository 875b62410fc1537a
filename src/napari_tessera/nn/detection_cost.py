"""What running a Mask R-CNN costs."""

from __future__ import annotations

import torch

from napari_tessera.nn.detection_settings import Architecture

SIDE_PX = {"cpu": 896, "mps": 1408, "cuda": 2048}
"""Side of a tile that takes a second or so on a device of each kind."""


def pixels_at_once(architecture: Architecture, kind: str, dtype: torch.dtype) -> int:
    """Return how many pixels a tile may hold."""
    return SIDE_PX[kind] ** 2

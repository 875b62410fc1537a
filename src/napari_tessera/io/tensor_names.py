"""What the descriptions of all kinds of networks have in common: limits, and the tensors of usual layers."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

MOST_CHANNELS = 8192
MOST_OUTPUTS = 1024
COUNTER = "num_batches_tracked"
VARIANCE = "running_var"

Shapes = dict[str, tuple[int, ...]]
"""Shape of each tensor, by its name."""


def check_fields(architecture: Any, fields: Set[str]) -> None:
    """Raise a `ValueError` unless a description has all these fields, and no others but its kind."""
    if not isinstance(architecture, dict):
        raise ValueError("`architecture` must be a JSON object")
    if missing := fields - architecture.keys():
        raise ValueError(f"`architecture` has no {min(missing)!r}")
    if unknown := architecture.keys() - fields - {"kind"}:
        raise ValueError(f"{min(unknown)!r:.80} is unknown")


def is_count(value: Any, most: int) -> bool:
    """Say whether this is a whole number from 1 to `most`."""
    return type(value) is int and 1 <= value <= most


def layer_shapes(name: str, leaving: int, *entering: int) -> Shapes:
    """Return the tensors of a layer with a bias: (leaving, *entering) weights."""
    return {f"{name}.weight": (leaving, *entering), f"{name}.bias": (leaving,)}


def normalisation_shapes(name: str, channels: int, is_frozen: bool = False) -> Shapes:
    """Return the tensors of a batch normalisation; a frozen one does not count its batches."""
    shapes: Shapes = {f"{name}.{each}": (channels,) for each in ("weight", "bias", "running_mean", VARIANCE)}
    return shapes if is_frozen else shapes | {f"{name}.{COUNTER}": ()}

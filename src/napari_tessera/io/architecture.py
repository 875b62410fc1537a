"""What a U-Net's description says of its tensors: names and shapes, found without torch and before any is made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

KINDS = ("unet",)
MOST_LEVELS = 8
MOST_CHANNELS = 8192
MOST_HEADS = 16
MOST_OUTPUTS = 1024
MOST_WEIGHTS = 500_000_000
COUNTER = "num_batches_tracked"
VARIANCE = "running_var"


def check_architecture(architecture: Any) -> None:
    """Raise a `ValueError` that names the first thing in a description that no U-Net can have.

    Parameters
    ----------
    architecture : dict
        kind, channels, heads, widths and ndim, as `nn.unet.Architecture` explains them.
    """
    if not isinstance(architecture, dict):
        raise ValueError("`architecture` must be a JSON object")
    missing = {"channels", "heads", "widths", "ndim"} - architecture.keys()
    unknown = architecture.keys() - {"kind", "channels", "heads", "widths", "ndim"}
    if missing or unknown:
        raise ValueError(f"`architecture` has no {min(missing)!r}" if missing else f"{min(unknown)!r:.80} is unknown")
    heads, widths = architecture["heads"], architecture["widths"]
    if not is_count(architecture["channels"], MOST_CHANNELS):
        raise ValueError(f"`channels` must be a whole number from 1 to {MOST_CHANNELS}")
    if not isinstance(widths, list) or not all(is_count(width, MOST_CHANNELS) for width in widths):
        raise ValueError(f"`widths` must be whole numbers from 1 to {MOST_CHANNELS}")
    if not 1 <= len(widths) <= MOST_LEVELS:
        raise ValueError(f"`widths` has {len(widths)} levels, but 1 to {MOST_LEVELS} are possible")
    if not isinstance(heads, dict) or not 1 <= len(heads) <= MOST_HEADS or not all(map(is_head_name, heads)):
        raise ValueError(f"`heads` must be 1 to {MOST_HEADS} named outputs")
    if not all(is_count(size, MOST_OUTPUTS) for size in heads.values()):
        raise ValueError(f"each of `heads` must have 1 to {MOST_OUTPUTS} channels")
    if type(architecture["ndim"]) is not int or architecture["ndim"] not in (2, 3):
        raise ValueError("`ndim` must be 2 or 3")
    n_weights = sum(math.prod(shape) for shape in tensor_shapes(architecture).values())
    if n_weights > MOST_WEIGHTS:
        raise ValueError(f"the network would have {n_weights:,} weights, but at most {MOST_WEIGHTS:,} are allowed")


def is_count(value: Any, most: int) -> bool:
    """Say whether this is a whole number from 1 to `most`."""
    return type(value) is int and 1 <= value <= most


def is_head_name(name: str) -> bool:
    """Say whether a module of a network can have this name."""
    return name.isidentifier() and len(name) <= 64


def tensor_shapes(architecture: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return name and shape of every tensor in the state of `nn.unet.UNet`.

    Parameters
    ----------
    architecture : mapping
        Found sound by `check_architecture`.

    Examples
    --------
    >>> shapes = tensor_shapes({"channels": 1, "heads": {"classes": 3}, "widths": [4, 8], "ndim": 2})
    >>> shapes["down.0.0.weight"], shapes["rise.0.weight"], shapes["heads.classes.weight"]
    ((4, 1, 3, 3), (8, 4, 2, 2), (3, 4, 1, 1))
    """
    widths, ndim = architecture["widths"], architecture["ndim"]
    shapes: dict[str, tuple[int, ...]] = {}
    for level, (entering, leaving) in enumerate(zip([architecture["channels"], *widths], widths, strict=False)):
        shapes |= double_convolution_shapes(f"down.{level}", entering, leaving, ndim)
    for step, (below, here) in enumerate(zip(widths[:0:-1], widths[-2::-1], strict=True)):
        shapes |= {f"rise.{step}.weight": (below, here, *[2] * ndim), f"rise.{step}.bias": (here,)}
        shapes |= double_convolution_shapes(f"up.{step}", 2 * here, here, ndim)
    for name, size in architecture["heads"].items():
        shapes |= {f"heads.{name}.weight": (size, widths[0], *[1] * ndim), f"heads.{name}.bias": (size,)}
    return shapes


def double_convolution_shapes(name: str, entering: int, leaving: int, ndim: int) -> dict[str, tuple[int, ...]]:
    """Return the tensors of two convolutions, each with its batch normalisation behind it."""
    shapes: dict[str, tuple[int, ...]] = {}
    for position, channels in ((0, entering), (3, leaving)):
        shapes[f"{name}.{position}.weight"] = (leaving, channels, *[3] * ndim)
        normalisation = f"{name}.{position + 1}"
        shapes |= {f"{normalisation}.{each}": (leaving,) for each in ("weight", "bias", "running_mean", VARIANCE)}
        shapes[f"{normalisation}.{COUNTER}"] = ()
    return shapes

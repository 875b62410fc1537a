"""What a U-Net's description says of its tensors: names and shapes, found without torch and before any is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from napari_tessera.io.tensor_names import (
    MOST_CHANNELS,
    MOST_OUTPUTS,
    Shapes,
    check_fields,
    is_count,
    normalisation_shapes,
)

MOST_LEVELS = 8
MOST_HEADS = 16
FIELDS = frozenset({"channels", "heads", "widths", "ndim"})


def check_unet(architecture: Any) -> None:
    """Raise a `ValueError` that names the first thing in a description that no U-Net can have.

    Parameters
    ----------
    architecture : dict
        kind, channels, heads, widths and ndim, as `nn.unet.Architecture` explains them.
    """
    check_fields(architecture, FIELDS)
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


def is_head_name(name: str) -> bool:
    """Say whether a module of a network can have this name."""
    return name.isidentifier() and len(name) <= 64


def unet_shapes(architecture: Mapping[str, Any]) -> Shapes:
    """Return name and shape of every tensor in the state of `nn.unet.UNet`.

    Parameters
    ----------
    architecture : mapping
        Found sound by `check_unet`.

    Examples
    --------
    >>> shapes = unet_shapes({"channels": 1, "heads": {"classes": 3}, "widths": [4, 8], "ndim": 2})
    >>> shapes["down.0.0.weight"], shapes["rise.0.weight"], shapes["heads.classes.weight"]
    ((4, 1, 3, 3), (8, 4, 2, 2), (3, 4, 1, 1))
    """
    widths, ndim = architecture["widths"], architecture["ndim"]
    shapes: Shapes = {}
    for level, (entering, leaving) in enumerate(zip([architecture["channels"], *widths], widths, strict=False)):
        shapes |= double_convolution_shapes(f"down.{level}", entering, leaving, ndim)
    for step, (below, here) in enumerate(zip(widths[:0:-1], widths[-2::-1], strict=True)):
        shapes |= {f"rise.{step}.weight": (below, here, *[2] * ndim), f"rise.{step}.bias": (here,)}
        shapes |= double_convolution_shapes(f"up.{step}", 2 * here, here, ndim)
    for name, size in architecture["heads"].items():
        shapes |= {f"heads.{name}.weight": (size, widths[0], *[1] * ndim), f"heads.{name}.bias": (size,)}
    return shapes


def double_convolution_shapes(name: str, entering: int, leaving: int, ndim: int) -> Shapes:
    """Return the tensors of two convolutions, each with its batch normalisation behind it."""
    shapes: Shapes = {}
    for position, channels in ((0, entering), (3, leaving)):
        shapes[f"{name}.{position}.weight"] = (leaving, channels, *[3] * ndim)
        shapes |= normalisation_shapes(f"{name}.{position + 1}", leaving)
    return shapes

"""What a network's description says of its tensors: names and shapes, found without torch and before any is made."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from napari_tessera.io.mask_rcnn_architecture import check_mask_rcnn, mask_rcnn_shapes
from napari_tessera.io.tensor_names import COUNTER, VARIANCE, Shapes
from napari_tessera.io.unet_architecture import check_unet, unet_shapes

__all__ = ["COUNTER", "KINDS", "MOST_WEIGHTS", "VARIANCE", "check_architecture", "kind_of", "tensor_shapes"]

MOST_WEIGHTS = 500_000_000
KINDS: Mapping[str, tuple[Callable[[Any], None], Callable[[Mapping[str, Any]], Shapes]]] = {
    "unet": (check_unet, unet_shapes),
    "mask_rcnn": (check_mask_rcnn, mask_rcnn_shapes),
}
"""Kinds of network: what checks a description, and what reads the shapes off it."""
OLDEST_KIND = "unet"


def kind_of(architecture: Any) -> str:
    """Return the kind of network that is described; where nothing is said, a U-Net.

    Raises
    ------
    ValueError
        If there is no such kind.
    """
    kind = architecture.get("kind", OLDEST_KIND) if isinstance(architecture, dict) else OLDEST_KIND
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"it is a network of kind {kind!r:.80}, but this Tessera knows {', '.join(KINDS)}")
    return kind


def check_architecture(architecture: Any) -> None:
    """Raise a `ValueError` that names the first thing in a description that no network of its kind can have.

    Parameters
    ----------
    architecture : dict
        kind ("unet" or "mask_rcnn"), and the fields of `nn.unet.Architecture` or `nn.detection_settings.Architecture`.
    """
    check, _ = KINDS[kind_of(architecture)]
    check(architecture)
    n_weights = sum(math.prod(shape) for shape in tensor_shapes(architecture).values())
    if n_weights > MOST_WEIGHTS:
        raise ValueError(f"the network would have {n_weights:,} weights, but at most {MOST_WEIGHTS:,} are allowed")


def tensor_shapes(architecture: Mapping[str, Any]) -> Shapes:
    """Return name and shape of every tensor in the state of a network.

    Parameters
    ----------
    architecture : mapping
        Found sound by `check_architecture`.

    Examples
    --------
    >>> shapes = tensor_shapes({"kind": "unet", "channels": 1, "heads": {"classes": 3}, "widths": [4, 8], "ndim": 2})
    >>> shapes["heads.classes.weight"]
    (3, 4, 1, 1)
    """
    _, shapes_of = KINDS[kind_of(architecture)]
    return shapes_of(architecture)

"""What training uses of the machine."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from napari_tessera.errors import ParameterError
from napari_tessera.io.architecture import tensor_shapes
from napari_tessera.nn.device import free_bytes
from napari_tessera.train.plan import Plan
from napari_tessera.train.settings import NetworkKind

VALUES_PER_CHANNEL = {False: 12, True: 8}
"""float32 values that a step keeps per pixel and channel of each level, without and with mixed precision.

Measured were 17 to 30, and 14 with mixed precision; what is refused by these numbers is certain not to fit.
"""
FINEST_STRIDE_PX: Mapping[NetworkKind, int] = {"unet": 1, "mask-rcnn": 4}
"""Pixels of a patch for each of the network's finest level."""
COPIES_OF_WEIGHTS = 6
"""The weights, their gradients, two moments of each, the running average, and the best so far."""


def use_threads(count: int | None) -> None:
    """Compute on this many processor cores; None leaves it to torch, which takes all."""
    if count is not None:
        torch.set_num_threads(count)


def threads() -> int:
    """Return how many processor cores torch uses."""
    return torch.get_num_threads()


def check_memory(plan: Plan, device: str) -> None:
    """Refuse a training whose steps cannot fit into the memory that is free on the device.

    Raises
    ------
    ParameterError
    """
    needed, free = least_bytes(plan), free_bytes(device)
    if needed > free:
        raise ParameterError(
            f"Training: {plan.batch} patches of {plan.patch_px} px with the widths "
            f"{','.join(map(str, plan.widths))} need more than {_in_gigabytes(needed)} of memory, but "
            f"{_in_gigabytes(free)} are free. Choose a smaller `patch` or `batch`, or narrower `widths`.",
            "batch",
        )


def least_bytes(plan: Plan) -> int:
    """Estimate, from below, the memory that a step needs."""
    shapes = tensor_shapes(plan.described_network())
    n_pixels = plan.batch * plan.patch_px**2 * (plan.depth_px or 1) / FINEST_STRIDE_PX[plan.network] ** plan.ndim
    n_features = sum(width * n_pixels / 2 ** (plan.ndim * level) for level, width in enumerate(plan.widths))
    n_weights = sum(math.prod(shape) for shape in shapes.values())
    return 4 * int(VALUES_PER_CHANNEL[plan.mixed] * n_features + COPIES_OF_WEIGHTS * n_weights)


def _in_gigabytes(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:.1f} GB"

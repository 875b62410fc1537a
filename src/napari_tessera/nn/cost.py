"""What running a network costs: operations, memory, and how many seconds that will be on a device."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, prod
from typing import Any

import torch
from torch.nn import functional

from napari_tessera.nn import device as devices
from napari_tessera.nn.unet import Architecture
from napari_tessera.nn.windows import largest_side, seen_pixels

OPERATIONS_AT_ONCE = {"cpu": 135e9, "mps": 500e9, "cuda": 2000e9}
"""Work in a window: a fraction of a second on a slow device of each kind. Fixed, so that a run can be repeated."""
MORE_FOR_VOLUMES = 4
"""In a volume most of a small window is halo; larger ones, in a second or two, compute less twice."""
WINDOWS_AT_ONCE = {"cpu": 1, "mps": 1, "cuda": 4}
"""Windows in a batch: a graphics card computes several faster than one after the other."""
SHARE_OF_FREE_MEMORY = 0.4
"""Share of the free memory that a batch may take."""
LIVE_FEATURES = 8
"""Values that a network keeps per pixel while it runs, as a multiple of the channels of its uppermost level."""
SHARE_OF_REACH = 1 / 2
"""How far a window should see, of how far anything at all has an influence: what is farther away hardly has any."""
MEASURING_SECONDS = 0.05
MEASURED_SIDE_PX = {"cpu": 128, "mps": 512, "cuda": 512}
"""Side of the image that is convolved; small images do not keep a graphics card busy."""
EFFICIENCY = 0.75
"""Speed of a whole network over that of its convolutions alone."""


@dataclass(frozen=True)
class Estimate:
    """What a run will cost.

    Attributes
    ----------
    seconds : float
        Of the network alone, on an idle device.
    n_bytes : int
        Memory of the computer that the scores take, and, unless the network runs on a graphics card, the network.
    """

    seconds: float
    n_bytes: int


def estimate(
    header: Mapping[str, Any],
    shape: Sequence[int],
    factor: float | Sequence[float] = 1.0,
    device: str = "auto",
    averaging: bool = False,
) -> Estimate:
    """Estimate what `large.predict.predict` will cost.

    Parameters
    ----------
    header : mapping
        Of the model file.
    shape : sequence of int
        ([Z,] Y, X) of the image; planes in front of what the network sees at once are counted one by one.
    factor : float, or one per axis
        Network pixels per image pixel.
    device : str
        "auto", "cuda", "mps" or "cpu".
    averaging : bool
        Whether scores are averaged over mirror images.

    Raises
    ------
    ParameterError
        If this computer has no such device.
    """
    architecture, kind = Architecture.from_json(header["architecture"]), devices.choose(device)
    planes, sides = prod(shape[: -architecture.ndim]), shape[-architecture.ndim :]
    factors = [factor] * len(sides) if isinstance(factor, (int, float)) else factor[-len(sides) :]
    seen = [max(1, round(side * each)) for side, each in zip(sides, factors, strict=True)]
    dtype, halo = devices.low_precision(kind), halo_px(architecture)
    at_once = pixels_at_once(architecture, kind, dtype)
    side = largest_side(seen, architecture.step, halo, at_once)
    n_pixels = planes * seen_pixels(seen, side, architecture.step, halo) * (2**architecture.ndim if averaging else 1)
    seconds = n_pixels * operations_per_pixel(architecture) / (EFFICIENCY * convolution_rate(kind))
    scores = 4 * sum(architecture.heads.values()) * prod(seen)
    window = 0 if kind == "cuda" else min(at_once, n_pixels) * bytes_per_pixel(architecture, dtype)
    return Estimate(seconds, scores + window)


def operations_per_pixel(architecture: Architecture) -> float:
    """Count multiplications and additions of the convolutions, per pixel of the input."""
    widths, ndim = [*architecture.widths], architecture.ndim
    kernel, total = 3**ndim, float(sum(architecture.heads.values()) * architecture.widths[0])
    for level, (entering, width) in enumerate(zip([architecture.channels, *widths], widths, strict=False)):
        is_lowest = level == len(widths) - 1
        down = kernel * (entering + width) * width
        up = 0 if is_lowest else kernel * (2 * width + width) * width + widths[level + 1] * width
        total += (down + up) / 2 ** (ndim * level)
    return 2 * total


def bytes_per_pixel(architecture: Architecture, dtype: torch.dtype) -> int:
    """Estimate the memory that the network needs while it runs, per pixel of its input."""
    return LIVE_FEATURES * architecture.widths[0] * dtype.itemsize


def halo_px(architecture: Architecture) -> int:
    """Return how far a window should see beyond what it decides, in multiples of the step."""
    return ceil(SHARE_OF_REACH * architecture.reach_px / architecture.step) * architecture.step


def pixels_at_once(architecture: Architecture, kind: str, dtype: torch.dtype) -> int:
    """Return how many pixels a window may hold, by the time it takes and by the memory there is."""
    more = MORE_FOR_VOLUMES if architecture.ndim == 3 else 1
    by_time = more * OPERATIONS_AT_ONCE[kind] / operations_per_pixel(architecture)
    free = SHARE_OF_FREE_MEMORY * devices.free_bytes(kind) / WINDOWS_AT_ONCE[kind]
    return int(min(by_time, free / bytes_per_pixel(architecture, dtype)))


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

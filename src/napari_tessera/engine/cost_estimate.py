"""Estimate the device, time and memory of a network run before it starts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_tessera.core.method import Method
from napari_tessera.core.region import Region
from napari_tessera.core.spatial import Layout
from napari_tessera.models.registry import find, second_of

if TYPE_CHECKING:
    from napari_tessera.inference.cost import Estimate

MINUTE_S, HOUR_S = 60, 3600
LABEL_BYTES = 4
BESIDE_SECONDS_PER_PIXEL = 1e-6
"""Time for normalisation, resampling and decoding of a pixel of the network's grid, measured on one core."""
ORTHOGONAL, SIDES_SEEN = "orthogonal", 3
LOOKS_FOR_SIZE = 1
"""Usual number of predictions, besides the last one, to find the object size."""
SHARE_OF_FREE_MEMORY = 0.9
"""A run that needs more than this share of the free memory probably fails, or slows the computer down."""


@dataclass(frozen=True)
class Forecast:
    """Estimated cost of a run, with the memory of the computer.

    With a diameter, the time is for objects of about this size, which is not known yet; smaller ones take longer.
    """

    device: str
    seconds: float
    needed_bytes: int
    free_bytes: int
    diameter_px: float | None = None

    @property
    def is_too_large(self) -> bool:
        """Whether the run is likely to exceed the free memory."""
        return self.needed_bytes > SHARE_OF_FREE_MEMORY * self.free_bytes

    @property
    def sentence(self) -> str:
        """One sentence with the estimate, and advice if memory is short."""
        needed = in_gigabytes(self.needed_bytes)
        sized = "" if self.diameter_px is None else f" if objects are about {self.diameter_px:g} px wide"
        plain = f"On {self.device}: {in_time(self.seconds)}{sized}, {needed} of memory"
        if not self.is_too_large:
            return f"{plain}."
        return (
            f"{plain}, but only {in_gigabytes(self.free_bytes)} are free. Work on one plane or a region, or close "
            "other programs."
        )


def models_of(method: Method, parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the models that a run loads: those of the settings that have an effect."""
    chosen = [each for each in method.parameters if each.model is not None and each.matters(parameters)]
    return tuple(parameters[each.name] for each in chosen)


def forecast(
    method: Method, axes: str, shape: tuple[int, ...], region: Region | None, parameters: Mapping[str, Any]
) -> Forecast | None:
    """Estimate the cost of a run; None if no network runs. It loads torch, and measures once how fast the device is."""
    headers = [find(name).header for name in models_of(method, parameters)]
    if not headers:
        return None
    from napari_tessera.models import device

    count, sides = frames_of(axes, shape, region)
    kind = device.choose(parameters["device"])
    runs = [estimate(header, sides, kind, parameters) for header in headers]
    usual_px = headers[0].get("diameter_px")
    return Forecast(
        device.describe(kind).title,
        count * sum(run.seconds for run in runs),
        max(run.n_bytes for run in runs) + LABEL_BYTES * count * math.prod(sides),
        device.free_bytes("cpu"),
        usual_px if parameters.get("diameter") is None else None,
    )


def estimate(header: Mapping[str, Any], sides: tuple[int, ...], kind: str, parameters: Mapping[str, Any]) -> Estimate:
    """Estimate the cost of a network on one frame of (z,) y, x pixels, with normalisation and decoding."""
    from napari_tessera.inference import cost

    factor = factor_of(header, parameters.get("diameter"))
    n_axes = header["architecture"].get("ndim", 2)
    is_seen_thrice = parameters.get("volume") == ORTHOGONAL and len(sides) > n_axes
    second = None
    if header["architecture"].get("kind") == "mask_rcnn":
        each = cost.estimate_mask_rcnn(header, sides, factor, kind)
        second = second_look(header, sides, factor, kind)
    else:
        each = cost.estimate_unet(header, sides, factor, kind, parameters.get("augment", False))
    grid_px = math.prod(sides) * factor ** (len(sides) if is_seen_thrice else n_axes)
    seconds = each.seconds + BESIDE_SECONDS_PER_PIXEL * grid_px
    times = float(SIDES_SEEN if is_seen_thrice else 1)
    if header.get("diameter_px") and parameters.get("diameter") is None:
        from napari_tessera.inference.scale_search import probed_px

        times += LOOKS_FOR_SIZE * probed_px(sides, n_axes) / math.prod(sides)
    if second is None:
        return replace(each, seconds=seconds * times)
    return replace(each, seconds=seconds * times + second.seconds, n_bytes=max(each.n_bytes, second.n_bytes))


def second_look(header: Mapping[str, Any], sides: tuple[int, ...], factor: float, kind: str) -> Estimate | None:
    """Estimate the cost of a second network, which predicts the image once and in parts; None without one."""
    from napari_tessera.inference import cost
    from napari_tessera.inference.rescore_detections import MARGIN_PX, OWN_PX

    second = second_of(header)
    if second is None:
        return None
    most = math.ceil((OWN_PX + 2 * MARGIN_PX) / factor)
    part = cost.estimate_unet(second.header, tuple(min(side, most) for side in sides[-second.ndim :]), factor, kind)
    seconds = cost.estimate_unet(second.header, sides, factor, kind).seconds
    beside = BESIDE_SECONDS_PER_PIXEL * math.prod(sides) * factor**second.ndim
    return replace(part, seconds=seconds + beside)


def factor_of(header: Mapping[str, Any], diameter_px: float | None) -> float:
    """Return the network pixels per image pixel; 1 if the diameter is not known yet."""
    usual_px = header.get("diameter_px")
    return usual_px / diameter_px if usual_px and diameter_px else 1.0


def in_time(seconds: float) -> str:
    """Format a time as precisely as it is known.

    Examples
    --------
    >>> in_time(0.4), in_time(12.3), in_time(250), in_time(9000)
    ('about 1 s', 'about 12 s', 'about 4 min', 'about 2.5 h')
    """
    if seconds < MINUTE_S:
        return f"about {max(1, round(seconds))} s"
    if seconds < HOUR_S:
        return f"about {round(seconds / MINUTE_S)} min"
    return f"about {seconds / HOUR_S:.1f} h"


def in_gigabytes(n_bytes: float) -> str:
    """Format an amount of memory, rounded up: one decimal below 10 GB, otherwise whole.

    Examples
    --------
    >>> in_gigabytes(520e6), in_gigabytes(31e9)
    ('0.6 GB', '31 GB')
    """
    gigabytes = n_bytes / 1e9
    return f"{math.ceil(gigabytes):.0f} GB" if gigabytes > 10 else f"{math.ceil(10 * gigabytes) / 10:.1f} GB"


def frames_of(axes: str, shape: tuple[int, ...], region: Region | None) -> tuple[int, tuple[int, ...]]:
    """Return how many frames a run has, and how large each is: the box around the region, without channels.

    Examples
    --------
    >>> frames_of("TYXC", (5, 64, 48, 3), None)
    (5, (64, 48))
    """
    size = dict(zip(axes, shape, strict=True))
    planes: Mapping[str, Any] = {} if region is None else region.planes
    kept = Layout("".join(axis for axis in axes if axis not in planes))
    if region is not None and region.polygons:
        vertices = np.concatenate(region.polygons)
        for axis, places in zip("YX", vertices.T, strict=True):
            inside = np.clip([places.min(), places.max() + 1], 0, size[axis])
            size[axis] = max(1, math.ceil(inside[1] - inside[0]))
    return math.prod(size[axis] for axis in kept.loops), tuple(size[axis] for axis in kept.space)

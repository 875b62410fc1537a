"""See what a network in training would say of an image by now."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_tessera.jobs import Job
from napari_tessera.large.view import View
from napari_tessera.overlapping import Stored
from napari_tessera.validation import Where, saved, score_network, seen_by

if TYPE_CHECKING:
    from napari_tessera.nn.intensity import Levels
    from napari_tessera.nn.weights import Network
    from napari_tessera.train.checkpoint import State
    from napari_tessera.train.dataset import Dataset


@dataclass
class Live:
    """A training under way; empty until its first step.

    Attributes
    ----------
    state : State or None
        What has been learnt.
    header : mapping
        Of the model file that it would be saved in.
    data : Dataset or None
        What is learnt, and what is held back to validate on.
    keeps_first : bool
        Whether `first_scores` will be asked for.
    first : UNet, MaskRCNN or None
        The network as it was before its first step; None for a training that goes on from a checkpoint.
    """

    state: State | None = None
    header: Mapping[str, Any] = field(default_factory=dict)
    data: Dataset | None = None
    keeps_first: bool = False
    first: Network | None = None

    def begin(self, state: State, header: Mapping[str, Any], data: Dataset | None = None) -> None:
        """Take note of a training that begins."""
        self.state, self.header, self.data = state, header, data
        self.first = copy.deepcopy(state.net).eval() if self.keeps_first and not state.step else None

    def diameter_px(self, name: str) -> float | None:
        """Return the usual diameter of the objects painted on an image; None where there are none."""
        of_image = [each.diameter_px for each in (self.data.learn if self.data else ()) if each.name.startswith(name)]
        return next((each for each in of_image if each), None)


def first_scores(live: Live, device: Where = "auto") -> Job[dict[str, float]]:
    """Score the network as it was before its first step, on the paint held back.

    Returns
    -------
    dict
        As of `validation.score_network`; empty where nothing is held back, or the training had begun before.
    """
    if live.first is None or live.data is None or not live.data.check:
        return {}
    return (yield from score_network(live.first, live.header, live.data.check, device))


def prediction(
    live: Live,
    image: np.ndarray | Stored,
    levels: Levels,
    *,
    has_channels: bool = False,
    spacing: Sequence[float] | None = None,
    diameter_px: float | None = None,
    output: Literal["objects", "classes", "probabilities"] | None = None,
    device: Where = "auto",
) -> Job[np.ndarray]:
    """Segment an image, or a part of one, with the averaged weights of a network in training.

    To be run between two steps, in the thread that trains.

    Parameters
    ----------
    live : Live
        Of a training that has begun.
    image : array, or what is read like one
        ([Z,] Y, X), with channels last if `has_channels`.
    levels : Levels
        Of the whole image, of which this may be a part.
    spacing : sequence of float, optional
        Size of a pixel along each axis.
    diameter_px : float, optional
        Usual diameter of the objects; estimated if not given.
    output : {"objects", "classes", "probabilities"}, optional
        As of `tessera.unet`; not given: what the network is trained for. A Mask R-CNN gives objects in any case.
    device : {"auto", "cpu", "cuda", "mps"}

    Returns
    -------
    array
        As `tessera.unet` returns it: labels, or probabilities float32 (K, [Z,] Y, X).
    """
    assert live.state is not None
    ndim = len(image.shape) - has_channels
    view = View(image, levels, has_channels, tuple(spacing or (1.0,) * ndim))
    with ExitStack() as files:
        with live.state.averaged() as net:
            path = files.enter_context(saved(net, live.header))
        return (yield from seen_by(str(path), view, output or live.header["task"], diameter_px, device))

"""The Mask R-CNN predictor: a network prepared for inference on a device; arrays in, detections out.

Normalisation is folded into the convolutions, channels lie last in memory, and the backbone runs in low precision where
the device is faster at it; the heads always run in float32. The number of objects is not limited.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_tessera.inference.cost import COARSEST_STRIDE_PX, mask_rcnn_pixels_at_once, overlap_px, tile_bytes
from napari_tessera.inference.rescore_detections import contrasts
from napari_tessera.inference.unet_predictor import (
    Network,
    Predictor,
    load_network,
    load_once,
    tile_in_words,
    translate_torch_errors,
)
from napari_tessera.models import registry as catalogue
from napari_tessera.models.mask_rcnn.detections import Detections
from napari_tessera.models.mask_rcnn.model import MaskRCNN
from napari_tessera.models.mask_rcnn.transform import scale_factor
from napari_tessera.models.registry import ModelEntry
from napari_tessera.models.unet import UNet, fold_normalisation
from napari_tessera.models.weights import as_stored, load_mask_rcnn

UNLIMITED: Mapping[str, Any] = {
    "min_size": None, "max_size": None,
    "rpn_pre_nms_top_n_test": None, "rpn_post_nms_top_n_test": None, "box_detections_per_img": None,
}  # fmt: skip
"""Settings under which a tile is taken as it is, and all its objects are found."""


class Detector(Predictor):
    """A Mask R-CNN ready to run, and maybe a U-Net, `second`, that rescores its objects; see `rescore_with_unet`.

    `overlap_px` is how far tiles should overlap, so that hardly an object is whole in none of them.
    """

    ndim = 2
    step = COARSEST_STRIDE_PX

    def __init__(
        self,
        net: MaskRCNN,
        header: Mapping[str, Any] | None = None,
        device: str = "auto",
        is_exact: bool = False,
        second: Network | None = None,
    ) -> None:
        super().__init__({**(header or {}), "architecture": net.architecture.as_json()}, device, is_exact)
        self.second = second
        self.architecture = net.architecture
        self.settings = net.settings
        self.overlap_px = overlap_px(self.header)
        with translate_torch_errors(self.device.title):
            self._net = fold_normalisation(net).requires_grad_(False).to(self.device.kind)
            self._net.backbone.to(self.dtype)
            self._net.settings = replace(net.settings, **UNLIMITED)

    def pixels_at_once(self) -> int:
        """Return how many pixels a tile should hold, for it to take a second or so and to fit in memory."""
        return mask_rcnn_pixels_at_once(self.header, self.device.kind)

    def scale_of(self, shape: Sequence[int]) -> float:
        """Return by how much an image of `shape` (Y, X) is scaled by a model that wants one size of all images."""
        return scale_factor(shape, self.settings) or 1.0

    def detect(self, image: np.ndarray, lowest_score: float | None = None) -> Detections:
        """Detect the objects in an image, float32 (C, Y, X) as `network_channels` makes it; boxes are in its pixels.

        Detections below `lowest_score` are left out and counted.

        Raises
        ------
        OutOfMemory
            If the device has too little memory for an image of this size.
        RunError
            If torch fails otherwise.
        """
        what = tile_in_words(image.shape[1:], tile_bytes(self.architecture, prod(image.shape[1:])))
        with translate_torch_errors(self.device.title, what), torch.inference_mode():
            pixels = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))
            [found] = self._net.detect([pixels.to(self.device.kind)], lowest_score)
            found = found.to("cpu")
            return replace(found, contrast=contrasts(pixels, found.boxes, found.masks))


def load_detector(model: ModelEntry | str | Path, device: str = "auto", is_exact: bool = False) -> Detector:
    """Load a Mask R-CNN, and the U-Net that rescores its objects if there is one, as `load_network` does."""
    entry = catalogue.find(model)
    return load_once(_load, entry, device, is_exact, entry.second and load_network(entry.second, device, is_exact))


def _load(path: Path, device: str, is_exact: bool, second: Network | None) -> Detector:
    return Detector(*load_mask_rcnn(path), device, is_exact, second)


def load_predictor(model: ModelEntry | str | Path, device: str = "auto") -> Network | Detector:
    """Load a model of any kind; see `load_network` and `load_detector`."""
    entry = catalogue.find(model)
    return load_detector(entry, device) if entry.kind == "mask_rcnn" else load_network(entry, device)


def in_memory(net: UNet | MaskRCNN, header: Mapping[str, Any], device: str = "auto") -> ModelEntry:
    """Return a network that is not saved yet as the model that its file would hold: in half precision.

    Raises
    ------
    ModelError
        If no model file can hold the network or its header.
    """
    path = Path("trained.safetensors")
    stored, full = as_stored(net, header, path)
    entry = ModelEntry(path.stem, path, is_shipped=False, n_bytes=0, header=full)
    if isinstance(stored, UNet):
        return replace(entry, network=Network(stored, full, device))
    second = load_network(entry.second, device) if entry.second else None
    return replace(entry, network=Detector(stored, full, device, second=second))

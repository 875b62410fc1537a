"""Predictors: a network prepared for inference on a device; arrays in, arrays or detections out.

Normalisation is folded into the convolutions, channels lie last in memory, and convolutions (of a Mask R-CNN, those of
its backbone) run in low precision where the device is faster at it; the heads always run in float32. The number of
objects that a Mask R-CNN finds is not limited.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from napari_tessera.core.errors import OutOfMemory, RunError, first_line, lacks_memory
from napari_tessera.inference.cost import (
    COARSEST_STRIDE_PX,
    mask_rcnn_pixels_at_once,
    overlap_px,
    tile_bytes,
)
from napari_tessera.inference.rescore_detections import contrasts
from napari_tessera.inference.sliding_window import WINDOWS_AT_ONCE, unet_pixels_at_once
from napari_tessera.models import device as devices
from napari_tessera.models import registry as catalogue
from napari_tessera.models.mask_rcnn.detections import Detections
from napari_tessera.models.mask_rcnn.model import MaskRCNN
from napari_tessera.models.mask_rcnn.transform import scale_factor
from napari_tessera.models.registry import ModelEntry
from napari_tessera.models.unet import UNet, UNetArchitecture, fold_normalisation
from napari_tessera.models.weights import as_stored, load_mask_rcnn, load_unet

Loaded = TypeVar("Loaded")
UNLIMITED: Mapping[str, Any] = {
    "min_size": None, "max_size": None,
    "rpn_pre_nms_top_n_test": None, "rpn_post_nms_top_n_test": None, "box_detections_per_img": None,
}  # fmt: skip
"""Settings under which a tile is taken as it is, and all its objects are found."""
ON_THE_PROCESSOR = "the processor"
"""How the title of the device begins that needs no advice to try it instead."""


class Predictor:
    """A network ready to run on one device. It is never changed, and may be used from several threads.

    Parameters
    ----------
    net : UNet or MaskRCNN
        Trained; it is copied.
    header : mapping
        Of its model file.
    device : str
        "auto", "cuda", "mps" or "cpu".
    is_exact : bool
        Compute everything in float32, also where the device has something faster.

    Attributes
    ----------
    architecture : UNetArchitecture or MaskRCNNArchitecture
    header : dict
    device : devices.Device
    dtype : torch.dtype
        Number type of the convolutions; of a Mask R-CNN, of its backbone.

    Raises
    ------
    ParameterError
        If this computer has no such device.
    """

    def __init__(self, header: Mapping[str, Any] | None, device: str, is_exact: bool) -> None:
        kind = devices.choose(device)
        self.header = dict(header or {})
        self.device = devices.describe(kind)
        self.dtype = torch.float32 if is_exact else devices.low_precision(kind)


class Network(Predictor):
    """A U-Net ready to run; `halo_px` is what a window must read beyond what it decides for the same scores."""

    def __init__(
        self, net: UNet, header: Mapping[str, Any] | None = None, device: str = "auto", is_exact: bool = False
    ) -> None:
        super().__init__(header, device, is_exact)
        self.architecture: UNetArchitecture = net.architecture
        self._layout = torch.channels_last if self.ndim == 2 else torch.channels_last_3d
        self.halo_px = net.architecture.halo_px
        self.windows_at_once = WINDOWS_AT_ONCE[self.device.kind]
        with translate_torch_errors(self.device.title):
            self._net = fold_normalisation(net).requires_grad_(False).to(self.device.kind, self.dtype)
            self._net.heads.float()

    @property
    def ndim(self) -> int:
        """2 for planes, 3 for volumes."""
        return self.architecture.ndim

    @property
    def step(self) -> int:
        """The number of pixels that each side of a batch must be a multiple of."""
        return self.architecture.step

    def pixels_at_once(self) -> int:
        """Return how many pixels a window should hold, for a tile to take well under a second and to fit in memory."""
        return unet_pixels_at_once(self.architecture, self.device.kind, self.dtype)

    def forward(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """Compute the scores of a batch, float32 (B, C, [Z,] Y, X), each side a multiple of `step`.

        Returns
        -------
        dict of str to float32 array (B, K, [Z,] Y, X)
            By head: "classes" are probabilities that add up to 1, "distance" lies between 0 and 1, others are as the
            network gives them. The same batch gives the same scores on a processor, bit for bit.

        Raises
        ------
        OutOfMemory
            If the device has too little memory for a batch of this size.
        RunError
            If torch fails otherwise.
        """
        n_bytes = len(batch) * prod(batch.shape[2:]) * self.architecture.bytes_per_pixel(self.dtype)
        what = tile_in_words(batch.shape[2:], n_bytes)
        with translate_torch_errors(self.device.title, what), torch.inference_mode():
            images = torch.from_numpy(np.ascontiguousarray(batch, dtype=np.float32)).to(self.device.kind)
            images = images.to(self.dtype, memory_format=self._layout)
            features = self._net.features(images).float()
            return {name: finished(name, head(features)) for name, head in self._net.heads.items()}


def finished(name: str, scores: Tensor) -> np.ndarray:
    """Turn the raw scores of a head into what they mean, in the computer's memory."""
    if name == "classes":
        scores = scores.softmax(1)
    elif name == "distance":
        scores = scores.clamp(0, 1)
    return scores.contiguous().cpu().numpy()


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


def tile_in_words(shape: Sequence[int], n_bytes: float) -> str:
    """Name a tile by its size and by the memory that it takes.

    Examples
    --------
    >>> tile_in_words((512, 256), 2.1e9)
    'a tile of 512 × 256 pixels, which takes about 2,100 MB'
    """
    return f"a tile of {' × '.join(map(str, shape))} pixels, which takes about {max(1, round(n_bytes / 1e6)):,} MB"


@contextmanager
def translate_torch_errors(
    device: str, what: str = "the network", instead: str = "segment a part of the image"
) -> Iterator[None]:
    """Turn what torch raises into errors that tell the user what to do.

    `what` is what the memory of `device` is needed for, and `instead` what takes less of it.

    Raises
    ------
    OutOfMemory
        If memory does not suffice.
    RunError
        If torch fails otherwise.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        is_slow = device.startswith(ON_THE_PROCESSOR)
        if lacks_memory(error):
            torch.cuda.empty_cache()  # does nothing without a card; with one, others need what torch held in reserve
            advice = f"or {instead}" if is_slow else f"{instead}, or choose `device` 'cpu'"
            raise OutOfMemory(
                f"There is too little memory on {device} for {what} ({first_line(error)}). Close other programs, "
                f"{advice}."
            ) from error
        advice = "Please report it." if is_slow else "Try `device` 'cpu'; if it fails there too, please report it."
        raise RunError(
            f"The network failed on {device} ({first_line(error)}). Nothing was changed. {advice}"
        ) from error


def load_network(model: ModelEntry | str | Path, device: str = "auto", is_exact: bool = False) -> Network:
    """Load a U-Net or a click network onto a device, or return it as loaded before; a changed file is loaded again.

    The parameters are those of `models.registry.find` and `Predictor`, and so are the errors. A file that is not a
    U-Net of Tessera is a `ModelError`.
    """
    entry = catalogue.find(model)
    return load_once(_load_unet, entry, device, is_exact, "click" if entry.kind == "click" else "unet")


def _load_unet(path: Path, device: str, is_exact: bool, kind: str) -> Network:
    return Network(*load_unet(path, kind), device, is_exact)


def load_detector(model: ModelEntry | str | Path, device: str = "auto", is_exact: bool = False) -> Detector:
    """Load a Mask R-CNN, and the U-Net that rescores its objects if there is one, as `load_network` does."""
    entry = catalogue.find(model)
    return load_once(
        _load_mask_rcnn, entry, device, is_exact, entry.second and load_network(entry.second, device, is_exact)
    )


def _load_mask_rcnn(path: Path, device: str, is_exact: bool, second: Network | None) -> Detector:
    return Detector(*load_mask_rcnn(path), device, is_exact, second)


def load_once(load: Callable[..., Loaded], entry: ModelEntry, device: str, *options: Any) -> Loaded:
    """Return the network of a model on a device: as loaded before, or by `load(path, device, *options)`."""
    if entry.network is not None:
        return entry.network
    whole = Path(os.path.realpath(entry.path))
    changed = whole.stat().st_mtime_ns if whole.exists() else 0
    return cast(Loaded, _loaded(load, whole, changed, devices.choose(device), *options))


@lru_cache(maxsize=6)
def _loaded(load: Callable[..., Any], path: Path, changed_ns: int, device: str, *options: Any) -> Any:
    """Load a file as it was at one time; the time is there to tell its versions apart."""
    return load(path, device, *options)


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

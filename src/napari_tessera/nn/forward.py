"""Run a network on a device: prepared once for inference, arrays in, arrays out.

Normalisation is folded into the convolutions, channels lie last in memory, and convolutions run in low precision where
the device is faster at it; the heads always run in float32.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_tessera.errors import OutOfMemory, RunError
from napari_tessera.nn import device as devices
from napari_tessera.nn.cost import WINDOWS_AT_ONCE, halo_px, pixels_at_once
from napari_tessera.nn.unet import Architecture, UNet, fold_normalisation
from napari_tessera.nn.weights import load_unet

SIGNS_OF_TOO_LITTLE_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "alloc_failed")
"""What torch says, in small letters, when a graphics card or the computer has too little memory."""


class Network:
    """A network ready to run on one device. It is never changed, and may be used from several threads.

    Parameters
    ----------
    net : UNet
        Trained; it is copied.
    header : mapping
        Of its model file.
    device : str
        "auto", "cuda", "mps" or "cpu".
    is_exact : bool
        Compute everything in float32, also where the device has something faster.

    Attributes
    ----------
    header : mapping
    architecture : Architecture
    device : devices.Device
        What it runs on.
    dtype : torch.dtype
        Number type of its convolutions.
    halo_px : int
        How far a window should see beyond what it decides, so that what is found does not depend on the windows.
    windows_at_once : int
        How many windows a batch should hold.

    Raises
    ------
    ParameterError
        If this computer has no such device.
    """

    def __init__(
        self, net: UNet, header: Mapping[str, Any] | None = None, device: str = "auto", is_exact: bool = False
    ) -> None:
        kind = devices.choose(device)
        self.header = dict(header or {})
        self.architecture: Architecture = net.architecture
        self.device = devices.describe(kind)
        self.dtype = torch.float32 if is_exact else devices.low_precision(kind)
        self._layout = torch.channels_last if self.ndim == 2 else torch.channels_last_3d
        self.halo_px = halo_px(net.architecture)
        self.windows_at_once = WINDOWS_AT_ONCE[kind]
        with in_plain_words(self.device.title):
            self._net = fold_normalisation(net).requires_grad_(False).to(kind, self.dtype)
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
        return pixels_at_once(self.architecture, self.device.kind, self.dtype)

    def forward(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """Compute the scores of a batch.

        Parameters
        ----------
        batch : float32 array (B, C, [Z,] Y, X)
            What `network_channels` makes of images; each side a multiple of `step`.

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
        with in_plain_words(self.device.title), torch.inference_mode():
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


@contextmanager
def in_plain_words(device: str, instead: str = "choose a smaller `tile`") -> Iterator[None]:
    """Turn what torch raises into errors that say what to do: `device` in words, and what needs less memory."""
    try:
        yield
    except MemoryError as error:
        raise _too_little(device, instead) from error
    except RuntimeError as error:
        if any(sign in str(error).lower() for sign in SIGNS_OF_TOO_LITTLE_MEMORY):
            torch.cuda.empty_cache()  # does nothing without a card; with one, others need what torch held in reserve
            raise _too_little(device, instead) from error
        what = str(error).strip().split("\n")[0]
        raise RunError(
            f"The network failed on {device} ({what}). Nothing was changed. Try `device` 'cpu'; if it fails there too, "
            "please report it."
        ) from error


def _too_little(device: str, instead: str) -> OutOfMemory:
    return OutOfMemory(
        f"There is too little memory on {device} for the network. Close other programs, {instead}, or choose `device` "
        "'cpu'."
    )


def load_network(path: str | Path, device: str = "auto", is_exact: bool = False) -> Network:
    """Load a model file onto a device, or return it as loaded before; a file that has changed is loaded anew.

    Parameters
    ----------
    path : path
    device : str
        "auto", "cuda", "mps" or "cpu".
    is_exact : bool
        Compute everything in float32, also where the device has something faster.

    Raises
    ------
    ModelError
        If the file is no model of ours.
    ParameterError
        If this computer has no such device.
    """
    whole = Path(os.path.realpath(path))
    changed = whole.stat().st_mtime_ns if whole.exists() else 0
    return _loaded(whole, changed, devices.choose(device), is_exact)


@lru_cache(maxsize=3)
def _loaded(path: Path, changed_ns: int, device: str, is_exact: bool) -> Network:
    """Load a file as it was at one time; the time is there to tell its versions apart."""
    return Network(*load_unet(path), device, is_exact)

"""The U-Net of Ronneberger et al. 2015, in two or three dimensions, with named heads.

Beside the paper: convolutions are padded, so that the output has the size of the input; each is followed by batch
normalisation (Ioffe & Szegedy 2015, arXiv:1502.03167), which `fold_normalisation` merges into the convolution for
inference; there may be several heads.

References
----------
doi:10.1007/978-3-319-24574-4_28 (2-D), doi:10.1007/978-3-319-46723-8_49 (3-D)
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from napari_tessera.models.header import Architecture

AnyModule = TypeVar("AnyModule", bound=nn.Module)
LIVE_FEATURES = 8
"""Values that a network keeps per pixel while it runs, as a multiple of the channels of its uppermost level."""
SHARE_OF_REACH = 1 / 2
"""How far a window should see, of how far anything at all has an influence: what is farther away hardly has any."""


@dataclass(frozen=True)
class UNetArchitecture(Architecture):
    """What is needed to build a U-Net; kept in the header of its model file.

    Parameters
    ----------
    channels : int
        Channels of the input.
    heads : mapping of str to int
        Name of each output and its number of channels, such as ``{"classes": 3}``.
    widths : sequence of int
        Channels at each level, from full resolution down. One level more halves the resolution once more.
    ndim : int
        2 for planes (B, C, Y, X), 3 for volumes (B, C, Z, Y, X).
    """

    channels: int
    heads: Mapping[str, int]
    widths: Sequence[int] = (32, 64, 128, 256, 512)
    ndim: int = 2
    kind: ClassVar[str] = "unet"

    @property
    def step(self) -> int:
        """The number of pixels that each side of the input must be a multiple of."""
        return 2 ** (len(self.widths) - 1)

    @property
    def reach_px(self) -> int:
        """The number of pixels beyond which nothing has an influence on a score.

        At each level l, a 3×3 convolution reaches 2^l pixels of the input; pooling and rising again, 2^l each at most.
        """
        levels = len(self.widths)
        convolutions = 2 * (2**levels - 1) + 2 * (self.step - 1)
        return convolutions + 2 * (self.step - 1)

    @property
    def halo_px(self) -> int:
        """How far a window should see beyond what it decides, in multiples of the step."""
        return ceil(SHARE_OF_REACH * self.reach_px / self.step) * self.step

    @property
    def operations_per_pixel(self) -> float:
        """Multiplications and additions of the convolutions, per pixel of the input."""
        widths, ndim = [*self.widths], self.ndim
        kernel, total = 3**ndim, float(sum(self.heads.values()) * self.widths[0])
        for level, (entering, width) in enumerate(zip([self.channels, *widths], widths, strict=False)):
            is_lowest = level == len(widths) - 1
            down = kernel * (entering + width) * width
            up = 0 if is_lowest else kernel * (2 * width + width) * width + widths[level + 1] * width
            total += (down + up) / 2 ** (ndim * level)
        return 2 * total

    def bytes_per_pixel(self, dtype: torch.dtype) -> int:
        """Estimate the memory that the network needs while it runs, per pixel of its input."""
        return LIVE_FEATURES * self.widths[0] * dtype.itemsize


@dataclass(frozen=True)
class ClickArchitecture(UNetArchitecture):
    """A U-Net for planes that finds the one object that is clicked on; see `inference.click`."""

    kind: ClassVar[str] = "click"


class UNet(nn.Module):
    """Contracting path, expanding path, skip connections, and one 1×1 convolution per head.

    Parameters
    ----------
    architecture : UNetArchitecture

    Examples
    --------
    >>> import torch
    >>> net = UNet(UNetArchitecture(channels=1, heads={"classes": 3}, widths=(4, 8)))
    >>> net(torch.zeros(1, 1, 16, 16))["classes"].shape
    torch.Size([1, 3, 16, 16])
    """

    def __init__(self, architecture: UNetArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        ndim, widths = architecture.ndim, tuple(architecture.widths)
        entering = (architecture.channels, *widths[:-1])
        self.down = nn.ModuleList(double_convolution(a, b, ndim) for a, b in zip(entering, widths, strict=True))
        self.pool = nn.MaxPool2d(2) if ndim == 2 else nn.MaxPool3d(2)
        rising = list(zip(widths[:0:-1], widths[-2::-1], strict=True))  # from the lowest level up
        self.rise = nn.ModuleList(up_convolution(below, here, ndim) for below, here in rising)
        self.up = nn.ModuleList(double_convolution(2 * here, here, ndim) for _, here in rising)
        self.heads = nn.ModuleDict(
            {name: convolution(ndim)(widths[0], size, 1) for name, size in architecture.heads.items()}
        )

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return each head's raw scores (logits).

        Parameters
        ----------
        images : Tensor (B, C, [Z,] Y, X)
            Each side a multiple of `architecture.step`.

        Returns
        -------
        dict of str to Tensor (B, K, [Z,] Y, X)
        """
        features = self.features(images)
        return {name: head(features) for name, head in self.heads.items()}

    def features(self, images: Tensor) -> Tensor:
        """Return the input of the heads: (B, widths[0], [Z,] Y, X)."""
        skipped: list[Tensor] = []
        features = images
        for level, block in enumerate(self.down):
            features = block(features if level == 0 else self.pool(features))
            skipped.append(features)
        skipped.pop()
        for rise, block in zip(self.rise, self.up, strict=True):
            features = block(torch.cat([skipped.pop(), rise(features)], dim=1))
        return features


def convolution(ndim: int) -> type[nn.Conv2d] | type[nn.Conv3d]:
    """Choose the convolution for planes or volumes."""
    return nn.Conv2d if ndim == 2 else nn.Conv3d


def up_convolution(entering: int, leaving: int, ndim: int) -> nn.Module:
    """Double the resolution by a transposed convolution."""
    transposed = nn.ConvTranspose2d if ndim == 2 else nn.ConvTranspose3d
    return transposed(entering, leaving, kernel_size=2, stride=2)


def double_convolution(entering: int, leaving: int, ndim: int) -> nn.Sequential:
    """Convolve twice with 3×3 (×3) kernels, each followed by batch normalisation and rectification."""
    normalisation = nn.BatchNorm2d if ndim == 2 else nn.BatchNorm3d
    layers: list[nn.Module] = []
    for channels in (entering, leaving):
        layers += [
            convolution(ndim)(channels, leaving, kernel_size=3, padding=1, bias=False),
            normalisation(leaving),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def fold_normalisation(net: AnyModule) -> AnyModule:
    """Return a copy for inference whose batch normalisations are merged into the convolutions before them.

    The copy gives the same scores as `net` in eval mode, to rounding; it cannot be trained further or saved.
    """
    folded = copy.deepcopy(net).eval()
    for module in list(folded.modules()):
        for before, after in pairwise([name for name, _ in module.named_children()]):
            layer, norm = getattr(module, before), getattr(module, after)
            if isinstance(layer, nn.Conv2d | nn.Conv3d) and hasattr(norm, "running_var"):
                layer.weight, layer.bias = fuse_conv_bn_weights(
                    layer.weight, layer.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
                )
                setattr(module, after, nn.Identity())
    return folded

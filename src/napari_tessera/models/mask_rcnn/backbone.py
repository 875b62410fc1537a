"""The residual network of He et al. 2016 as a backbone: features at four resolutions, strides 4, 8, 16 and 32.

References
----------
doi:10.1109/CVPR.2016.90

The feature pyramid of Lin et al. 2017 (doi:10.1109/CVPR.2017.106): fine features that know the coarse ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

Normalisation = Callable[[int], nn.Module]
"""Builds the normalisation of that many channels."""


class FrozenBatchNorm(nn.Module):
    """Batch normalisation whose statistics, scale and shift stay as they were loaded."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.eps = epsilon
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((channels,), value))

    def forward(self, features: Tensor) -> Tensor:
        """Scale and shift (B, C, Y, X)."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return torch.addcmul(shift[:, None, None], features, scale[:, None, None])


class Bottleneck(nn.Module):
    """Narrow by a 1×1 convolution, convolve 3×3 (with the stride), widen fourfold, and add the input."""

    expansion = 4

    def __init__(self, entering: int, width: int, stride: int, norm: Normalisation) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(entering, width, 1, bias=False)
        self.bn1 = norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = norm(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = norm(4 * width)
        self.downsample = shortcut(entering, 4 * width, stride, norm)

    def forward(self, features: Tensor) -> Tensor:
        """Turn (B, entering, Y, X) into (B, 4·width, Y/stride, X/stride)."""
        inner = self.bn1(self.conv1(features)).relu_()
        inner = self.bn2(self.conv2(inner)).relu_()
        inner = self.bn3(self.conv3(inner))
        return (inner + (features if self.downsample is None else self.downsample(features))).relu_()


class BasicBlock(nn.Module):
    """Convolve twice and add the input."""

    expansion = 1

    def __init__(self, entering: int, width: int, stride: int, norm: Normalisation) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(entering, width, 3, stride, padding=1, bias=False)
        self.bn1 = norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = norm(width)
        self.downsample = shortcut(entering, width, stride, norm)

    def forward(self, features: Tensor) -> Tensor:
        """Turn (B, entering, Y, X) into (B, width, Y/stride, X/stride)."""
        inner = self.bn1(self.conv1(features)).relu_()
        inner = self.bn2(self.conv2(inner))
        return (inner + (features if self.downsample is None else self.downsample(features))).relu_()


class Pointwise(nn.Conv2d):
    """A 1×1 convolution with a stride, of the pixels that the stride leaves.

    That is the same, and oneDNN's own way writes beyond its memory on four channels (torch 2.13, processors with AVX2).
    """

    def forward(self, features: Tensor) -> Tensor:
        """Turn (B, C, Y, X) into (B, C', Y/stride, X/stride)."""
        down, along = self.stride
        return functional.conv2d(features[..., ::down, ::along], self.weight, self.bias)


def shortcut(entering: int, leaving: int, stride: int, norm: Normalisation) -> nn.Sequential | None:
    """Bring the input to the shape of the output; None if it has that shape already."""
    if stride == 1 and entering == leaving:
        return None
    return nn.Sequential(Pointwise(entering, leaving, 1, stride, bias=False), norm(leaving))


class ResNet(nn.Module):
    """A residual network without its classifier.

    `depths` and `widths` are, for each of four resolutions, the number of blocks and the channels of a block's 3×3
    convolution; `channels` are those of the image.
    """

    def __init__(
        self,
        block: type[Bottleneck] | type[BasicBlock],
        depths: Sequence[int],
        widths: Sequence[int],
        channels: int,
        norm: Normalisation,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, widths[0], 7, 2, padding=3, bias=False)
        self.bn1 = norm(widths[0])
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        leaving = [block.expansion * width for width in widths]
        entering = [widths[0], *leaving[:-1]]
        stages = []
        for first, width, depth, stride in zip(entering, widths, depths, (1, 2, 2, 2), strict=True):
            more = [block(block.expansion * width, width, 1, norm) for _ in range(depth - 1)]
            stages.append(nn.Sequential(block(first, width, stride, norm), *more))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.leaving = tuple(leaving)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                keep_spread(layer.weight)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return features of (B, C, Y, X) images at strides 4, 8, 16 and 32, each (B, `leaving[level]`, Y', X')."""
        features = self.pool(self.bn1(self.conv1(images)).relu_())
        levels = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            features = stage(features)
            levels.append(features)
        return levels


def keep_spread(weight: Tensor) -> None:
    """Draw weights so that rectified features keep their spread (He et al. 2015, doi:10.1109/ICCV.2015.123)."""
    nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")


def initialise(net: nn.Module, draw: Callable[[Tensor], object]) -> None:
    """Set biases to 0, and draw all other weights."""
    for name, each in net.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(each)
        else:
            draw(each)


DEPTHS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
"""Blocks per resolution of the networks of the paper."""


def resnet(name: str, channels: int = 3, epsilon: float = 1e-5) -> ResNet:
    """Build a network of `DEPTHS` with frozen batch normalisation."""
    norm = partial(FrozenBatchNorm, epsilon=epsilon)
    return ResNet(Bottleneck, DEPTHS[name], (64, 128, 256, 512), channels, norm)


def light_resnet(channels: int, widths: Sequence[int] = (32, 64, 128, 256)) -> ResNet:
    """Build a small network, two basic blocks per resolution, whose batch normalisation is trained."""
    return ResNet(BasicBlock, (2, 2, 2, 2), widths, channels, nn.BatchNorm2d)


class FeaturePyramid(nn.Module):
    """Carry features from coarse to fine levels, and add one level more, half as fine as the coarsest.

    `entering` are the channels of each level that comes in, finest first; `width` are those of every level that goes
    out.
    """

    def __init__(self, entering: Sequence[int], width: int) -> None:
        super().__init__()
        self.inner_blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(each, width, 1)) for each in entering)
        self.layer_blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(width, width, 3, padding=1)) for _ in entering)
        initialise(self, partial(nn.init.kaiming_uniform_, a=1))

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Return one level more than came in, each (B, width, Y, X), finest first."""
        carried = self.inner_blocks[-1](levels[-1])
        pyramid = [self.layer_blocks[-1](carried)]
        for index in reversed(range(len(levels) - 1)):
            beside = self.inner_blocks[index](levels[index])
            carried = beside + functional.interpolate(carried, size=beside.shape[-2:], mode="nearest")
            pyramid.insert(0, self.layer_blocks[index](carried))
        return [*pyramid, pyramid[-1][..., ::2, ::2]]


class Backbone(nn.Module):
    """A network that gives features at several resolutions, and the pyramid of `width` channels on top of it."""

    def __init__(self, body: ResNet, width: int = 256) -> None:
        super().__init__()
        self.body = body
        self.fpn = FeaturePyramid(body.leaving, width)
        self.width = width

    def forward(self, images: Tensor) -> list[Tensor]:
        """Turn (B, C, Y, X) images into the levels of the pyramid, finest first."""
        return self.fpn(self.body(images))

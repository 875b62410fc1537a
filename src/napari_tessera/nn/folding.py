"""Merge the batch normalisations of a residual network into its convolutions, which makes it faster."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from napari_tessera.nn.resnet import FrozenBatchNorm

Network = TypeVar("Network", bound=nn.Module)


def folded(net: Network) -> Network:
    """Return a copy for inference that gives the same to rounding, but is not to be trained or saved."""
    net = copy.deepcopy(net).eval()
    for module in list(net.modules()):
        names = [name for name, _ in module.named_children()]
        for before, after in pairwise(names):
            convolution, norm = getattr(module, before), getattr(module, after)
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, FrozenBatchNorm | nn.BatchNorm2d):
                setattr(module, before, merged(convolution, norm))
                setattr(module, after, nn.Identity())
    return net


def merged(convolution: nn.Conv2d, norm: FrozenBatchNorm | nn.BatchNorm2d) -> nn.Conv2d:
    """Give a convolution the scale and shift of the normalisation behind it."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    convolution.weight, convolution.bias = fuse_conv_bn_weights(
        convolution.weight, convolution.bias, mean, variance, norm.eps, norm.weight, norm.bias
    )
    return convolution

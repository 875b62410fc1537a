"""Model files small enough for tests: a network whose weights are written by hand, that finds what is bright."""

from __future__ import annotations

import torch

from napari_tessera.nn.unet import Architecture, UNet
from napari_tessera.nn.weights import save_unet

CERTAINTY = 20.0
"""How sharply the classes part at half brightness."""


def bright_net() -> UNet:
    """Return a U-Net that calls a pixel object where its brightness, from 0 to 1, is above a half."""
    net = UNet(Architecture(5, {"classes": 3, "distance": 1}, (2, 3))).eval()
    with torch.no_grad():
        for each in net.parameters():
            if each.ndim > 1:
                each.zero_()
        for block in (net.down[0], net.up[0]):
            for convolution in (block[0], block[3]):
                convolution.weight[0, 0, 1, 1] = 1
        classes, distance = net.heads["classes"], net.heads["distance"]
        classes.weight[:, 0, 0, 0] = torch.tensor([-CERTAINTY, CERTAINTY, 0])
        classes.bias[:] = torch.tensor([CERTAINTY / 2, -CERTAINTY / 2, -CERTAINTY])
        distance.weight[0, 0] = 1
        distance.bias[:] = 0
    return net


def save_bright(path, **fields):
    """Save the network as a model file; `fields` go into its header."""
    header = {"title": "Bright things", "summary": "Finds what is bright.", "classes": ["background", "blob"]}
    save_unet(path, bright_net(), header | fields)
    return path

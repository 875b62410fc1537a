"""Model files small enough for tests: a network whose weights are written by hand, that finds what is bright."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage
from torch.nn.functional import interpolate

from napari_tessera.models.device import Device
from napari_tessera.models.mask_rcnn.config import Settings
from napari_tessera.models.mask_rcnn.detections import Detections
from napari_tessera.models.mask_rcnn.model import MaskRCNN, light_architecture
from napari_tessera.models.unet import UNet, UNetArchitecture
from napari_tessera.models.weights import save_model

CERTAINTY = 20.0
"""How sharply the classes part at half brightness."""


def bright_net(ndim=2, n_channels=5, size=None):
    """Return a U-Net that calls a pixel object where the first channel, from 0 to 1, is above a half.

    `size` is what it says of the size of every object: the logarithm of its diameter over the usual one.
    """
    heads = {"classes": 3, "distance": 1} | ({} if size is None else {"size": 1})
    net = UNet(UNetArchitecture(n_channels, heads, (2, 3), ndim)).eval()
    centre, only = (1,) * ndim, (0,) * ndim
    with torch.no_grad():
        for each in net.parameters():
            if each.ndim > 1:
                each.zero_()
        for block in (net.down[0], net.up[0]):
            for convolution in (block[0], block[3]):
                convolution.weight[(0, 0, *centre)] = 1
        classes, distance = net.heads["classes"], net.heads["distance"]
        classes.weight[(slice(None), 0, *only)] = torch.tensor([-CERTAINTY, CERTAINTY, 0])
        classes.bias[:] = torch.tensor([CERTAINTY / 2, -CERTAINTY / 2, -CERTAINTY])
        distance.weight[0, 0] = 1
        distance.bias[:] = 0
        if size is not None:
            net.heads["size"].bias[:] = size
    return net


def save_bright(path, ndim=2, n_channels=5, size=None, **fields):
    """Save the network as a model file; `fields` go into its header."""
    header = {"title": "Bright things", "summary": "Finds what is bright.", "classes": ["background", "blob"]}
    save_model(path, bright_net(ndim, n_channels, size), header | fields)
    return path


def small_mask_rcnn(channels=1, num_classes=2, **settings):
    """Return a Mask R-CNN of random weights, for objects 20 pixels wide."""
    torch.manual_seed(0)
    light = light_architecture(num_classes, channels, diameter_px=20, **settings)
    return MaskRCNN(replace(light, widths=(8, 16, 16, 16), width=16, box_width=64)).eval()


class BrightDetector:
    """Stands in for a Mask R-CNN on a device: each bright region is an object, whose brightness is its score.

    Objects of more than 150 pixels are of class 2, the others of class 1.
    """

    ndim, step, overlap_px, second = 2, 16, 32, None
    settings = Settings(is_aligned=True)
    device = Device("cpu", "the processor", 0)

    def __init__(self, diameter_px=None, tile_px=1000):
        self.header = {"diameter_px": diameter_px}
        self.tile_px = tile_px

    def pixels_at_once(self):
        return (self.tile_px + self.overlap_px) ** 2

    def scale_of(self, shape):
        return 1.0

    def detect(self, image, lowest_score=0.0):
        regions, _ = ndimage.label(image[0] > 0.45)
        places = ndimage.find_objects(regions)
        parts = [regions[place] == number for number, place in enumerate(places, start=1)]
        scores = [float(image[0][place][part].max()) for place, part in zip(places, parts, strict=True)]
        order = [index for index in np.argsort(scores)[::-1] if scores[index] >= lowest_score]
        boxes = [[x.start, y.start, x.stop, y.stop] for y, x in (places[index] for index in order)]
        masks = [torch.from_numpy(parts[index][None, None]).float() for index in order]
        return Detections(
            torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            torch.tensor([1 + int(parts[index].sum() > 150) for index in order], dtype=torch.long),
            torch.tensor([scores[index] for index in order]),
            torch.cat([torch.empty(0, 28, 28), *(interpolate(each, (28, 28))[0] for each in masks)]),
        )

"""A Mask R-CNN that fits into a test, and images for it."""

from dataclasses import replace

import torch

from napari_tessera.models.mask_rcnn.model import MaskRCNN, light_architecture

SMALL = {"widths": (8, 16, 16, 16), "width": 16, "box_width": 64}


def small_model(channels=1, **settings):
    torch.manual_seed(0)
    light = light_architecture(2, channels, diameter_px=20, **({"box_batch_size_per_image": 64} | settings))
    return MaskRCNN(replace(light, **SMALL))


def disc(side=64, y=30, x=36, radius=10):
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return ((rows - y) ** 2 + (columns - x) ** 2 < radius**2).long()


def waves(height=60, width=80):
    y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    return torch.stack([(y / 5).sin() * (x / 7).cos(), (x / 3 + y / 9).sin(), (y * x / 200).cos()]) * 0.5 + 0.5

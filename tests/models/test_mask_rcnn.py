"""A Mask R-CNN: what it takes and refuses, any number of channels, folding, its header."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_tessera.core.errors import InputError, ParameterError
from napari_tessera.models.mask_rcnn.backbone import FrozenBatchNorm
from napari_tessera.models.mask_rcnn.config import MaskRCNNArchitecture
from napari_tessera.models.mask_rcnn.model import (
    MaskRCNN,
    light_architecture,
    mask_rcnn_resnet50_fpn,
    mask_rcnn_resnet101_fpn,
)
from napari_tessera.models.unet import fold_normalisation
from tests.helpers.small_mask_rcnn import SMALL, small_model


def test_no_images_give_no_results():
    assert small_model().eval()([]) == []


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((1, 32, 32), np.float32), "is a ndarray, but a tensor"),
        (torch.zeros(3, 32, 32), r"shape \(3, 32, 32\), but the network needs \(1, Y, X\)"),
        (torch.zeros(32, 32), "channels first"),
        (torch.zeros(1, 0, 32), "at least one pixel"),
        (torch.zeros(1, 32, 32, dtype=torch.uint8), "of type torch.uint8, but floats from 0 to 1"),
    ],
)
def test_what_is_no_image_is_refused(image, words):
    with pytest.raises(InputError, match=f"Image 1 .*{words}"):
        small_model().eval()([torch.zeros(1, 32, 32), image])


def test_a_list_of_images_is_needed():
    with pytest.raises(InputError, match="A list of images is needed"):
        small_model().eval()(None)


@pytest.mark.parametrize(
    ("num_classes", "settings", "words"),
    [
        (-1, {}, "num_classes is -1, but"), (2.5, {}, "num_classes is 2.5, but"),
        (None, {}, "num_classes is None, but"),
        (10**9, {}, "num_classes is 1000000000, but"), (1, {}, "the background counts, too"),
        (2, {"bogus": 1}, "settings → bogus is unknown"), (2, {"min_size": -5}, "min_size is -5, but"),
        (2, {"image_std": [0, 0, 0]}, "image_std → 0 is 0, but"), (2, {"image_mean": [0, 0]}, "one number for each"),
        (2, {"box_score_thresh": 2}, "box_score_thresh is 2, but"),
        (2, {"box_nms_thresh": math.nan}, "box_nms_thresh is nan, but"),
        (2, {"box_detections_per_img": 10.5}, "box_detections_per_img is 10.5, but"),
        (2, {"channels": 0}, "channels is 0, but"),
    ],
)  # fmt: skip
def test_a_network_that_cannot_be_is_refused_before_it_is_built(num_classes, settings, words):
    for build in (mask_rcnn_resnet50_fpn, mask_rcnn_resnet101_fpn):
        with pytest.raises(ParameterError, match=f"{build.__name__}.*{words}"):
            build(num_classes, **settings)


@pytest.mark.parametrize("channels", [1, 2, 7])
def test_any_number_of_channels(channels):
    model = small_model(channels).eval()
    [first, second] = model([torch.rand(channels, 40, 33), torch.rand(channels, 64, 64)])
    assert first["masks"].shape[1:] == (1, 40, 33)
    assert second["masks"].shape[1:] == (1, 64, 64)


def test_an_image_is_detected_alike_alone_and_beside_another():
    model = small_model().eval()
    image = torch.rand(1, 64, 64)
    [alone], [_, beside] = model.detect([image]), model.detect([torch.rand(1, 32, 64), image])
    torch.testing.assert_close(alone.boxes, beside.boxes, atol=1e-3, rtol=1e-3)


def test_the_light_model_fits_into_25_megabytes():
    model = MaskRCNN(light_architecture(2, channels=5))
    assert 2 * sum(each.numel() for each in model.state_dict().values()) < 25e6  # saved in half precision


def test_an_architecture_is_read_back_from_its_header():
    light = replace(light_architecture(3, channels=2, diameter_px=20), **SMALL)
    again = MaskRCNNArchitecture.from_json(json.loads(json.dumps(light.as_json())))
    model = MaskRCNN(again).eval()
    model.load_state_dict(MaskRCNN(light).state_dict())
    assert len(model.detect([torch.rand(2, 32, 32)])) == 1


@pytest.mark.parametrize("backbone", ["light", "resnet50", "resnet101"])
def test_folded_model_gives_the_same_features(backbone):
    torch.manual_seed(0)
    model = MaskRCNN(replace(light_architecture(2, channels=1), backbone=backbone, **SMALL)).eval()
    for name, value in model.backbone.named_buffers():
        if "running" in name:
            value.uniform_(0.5, 1.5)
    image = torch.rand(1, 1, 64, 64)
    quick = fold_normalisation(model)
    assert not any(isinstance(each, FrozenBatchNorm | torch.nn.BatchNorm2d) for each in quick.modules())
    for found, wanted in zip(quick.backbone(image), model.backbone(image), strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)

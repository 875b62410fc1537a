"""Model files of Mask R-CNN: written, read back, and refused where they cannot be."""

from dataclasses import replace

import pytest
import torch

from napari_tessera.core.errors import ModelError
from napari_tessera.models.header import check_architecture
from napari_tessera.models.mask_rcnn.model import (
    MaskRCNN,
    light_architecture,
    mask_rcnn_resnet50_fpn,
    mask_rcnn_resnet101_fpn,
)
from napari_tessera.models.registry import entry_of
from napari_tessera.models.weights import empty_network, load_mask_rcnn, load_model, load_unet, save_model
from tests.helpers.tiny_models import small_mask_rcnn


@pytest.fixture
def path(tmp_path):
    """Where a test writes its model file."""
    return tmp_path / "model.safetensors"


def described(net):
    return {"kind": "mask_rcnn", **net.architecture.as_json()}


def test_a_network_is_read_back_as_it_was_saved(path):
    net = small_mask_rcnn()
    save_model(path, net, {"diameter_px": 24.0})
    again, header = load_mask_rcnn(path)
    assert header["architecture"] == described(net)
    assert (header["task"], header["classes"], header["diameter_px"]) == ("objects", ["background", "class 1"], 24)
    image = torch.rand(1, 40, 40)
    [found], [wanted] = again.detect([image]), net.half().float().detect([image])
    torch.testing.assert_close(found.boxes, wanted.boxes)


def test_an_entry_says_kind_and_dimensions(path):
    save_model(path, small_mask_rcnn(), {})
    entry = entry_of(path, is_shipped=False)
    assert (entry.kind, entry.ndim, entry.task, entry.error) == ("mask_rcnn", 2, "objects", None)


@pytest.mark.parametrize(
    "net",
    [
        small_mask_rcnn(),
        MaskRCNN(light_architecture(3, 5, aspect_ratios=(1.0,))),
        MaskRCNN(replace(small_mask_rcnn().architecture, widths=(8, 4, 4, 16), num_classes=4)),
        mask_rcnn_resnet50_fpn(5, channels=2, anchor_sizes=((8, 16),) * 5),
        mask_rcnn_resnet101_fpn(2, channels=1),
    ],
    ids=["small", "light", "other widths", "resnet50", "resnet101"],
)
def test_an_empty_network_has_the_tensors_of_the_network(net):
    architecture = described(net)
    check_architecture(architecture)
    empty = empty_network(architecture)
    assert empty.state_dict().keys() == net.state_dict().keys()
    assert all(each.shape == net.state_dict()[name].shape for name, each in empty.state_dict().items())
    assert all(each.is_meta for each in (*empty.parameters(), *empty.buffers()))


def test_a_tiny_variance_keeps_its_digits(path):
    net = small_mask_rcnn()
    net.backbone.body.bn1.running_var[:] = 1e-9
    save_model(path, net, {})
    assert load_mask_rcnn(path)[0].backbone.body.bn1.running_var[0] == pytest.approx(1e-9)


def test_a_mask_rcnn_is_no_unet(path):
    save_model(path, small_mask_rcnn(), {})
    assert isinstance(load_model(path)[0], MaskRCNN)
    with pytest.raises(ModelError, match="holds a Mask R-CNN, but a U-Net is needed"):
        load_unet(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": "classes"}, "task is 'classes', but it should be 'objects'"),
        ({"classes": ["background", "a", "b"]}, "names 3 classes, but its network has 2"),
    ],
)
def test_a_header_that_does_not_suit_the_network_is_refused(path, changes, words):
    with pytest.raises(ModelError, match=words):
        save_model(path, small_mask_rcnn(), changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"backbone": "vgg"}, "backbone is 'vgg', but it should be 'resnet50', 'resnet101' or 'light'"),
        ({"backbone": []}, r"backbone is \[\], but it should be"),
        ({"widths": [8, 8]}, r"widths is \[8, 8\], but it should have at least 4 items"),
        ({"num_classes": 0}, "num_classes is 0, but it should be"),
        ({"box_width": 1e9}, "box_width is 1000000000.0, but it should be a valid integer"),
        ({"width": True}, "width is True, but it should be a valid integer"),
        ({"epsilon": float("nan")}, "epsilon is nan, but it should be"),
        ({"settings": []}, r"settings is \[\], but it should be a dictionary"),
        ({"settings": {"colour": 1}}, "settings → colour is unknown"),
        ({"settings": {"min_size": -3}}, "settings → min_size is -3, but it should be"),
        ({"settings": {"anchor_sizes": [[8]]}}, "settings → anchor_sizes is .*, but it should have at least 5 items"),
        (
            {"settings": {"box_nms_thresh": 2}},
            "settings → box_nms_thresh is 2, but it should be less than",
        ),
        ({"settings": {"image_mean": [0.0, 0.0]}}, "one number for each of the 1 channels"),
        ({"depth": 3}, "in its architecture, depth is unknown"),
    ],
)
def test_a_description_that_no_network_can_have_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        check_architecture(described(small_mask_rcnn()) | changes)


def test_a_network_of_too_many_weights_is_refused():
    with pytest.raises(ValueError, match=r"the network would have [\d,]+ weights"):
        empty_network(described(small_mask_rcnn()) | {"width": 8192, "box_width": 8192})


def test_what_a_description_lacks_is_named():
    architecture = described(small_mask_rcnn())
    del architecture["settings"]
    with pytest.raises(ValueError, match="settings is missing"):
        check_architecture(architecture)

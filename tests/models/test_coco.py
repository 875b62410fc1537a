"""The published Mask R-CNN: its names, shapes and detections, and the file of its weights."""

import hashlib
import math

import pytest
import torch

from napari_tessera.core.errors import FileError
from napari_tessera.models.mask_rcnn import coco as coco_weights
from napari_tessera.models.mask_rcnn.coco import read_coco_weights, with_current_names
from napari_tessera.models.mask_rcnn.model import mask_rcnn_resnet50_fpn, mask_rcnn_resnet101_fpn
from tests.helpers.coco_model import DEEPER, DEPTHS, coco_shapes, drawn_weights
from tests.helpers.small_mask_rcnn import waves


@pytest.fixture(scope="module")
def published():
    return mask_rcnn_resnet50_fpn(3, min_size=96, max_size=160)


def test_names_and_shapes_are_the_published_ones(published):
    assert {name: tuple(each.shape) for name, each in published.state_dict().items()} == coco_shapes(3)


@pytest.mark.parametrize(("depths", "count"), [(DEPTHS, 44_401_393), (DEEPER, 63_341_297)])
def test_as_many_numbers_are_learned_as_the_publisher_says(depths, count):
    """With ResNet-101, there are 17 blocks of 1,114,112 numbers more."""
    shapes = coco_shapes(depths=depths)
    learned = [shape for name, shape in shapes.items() if ".bn" not in name and ".downsample.1" not in name]
    assert sum(map(math.prod, learned)) == count


def test_names_and_shapes_with_resnet101_are_those_of_the_publisher():
    with torch.device("meta"):
        deeper = mask_rcnn_resnet101_fpn()
    assert {name: tuple(each.shape) for name, each in deeper.state_dict().items()} == coco_shapes(depths=DEEPER)
    assert sum(each.numel() for each in deeper.parameters()) == 63_341_297


def test_resnet101_takes_weights_of_any_classes_from_a_file(tmp_path):
    weights = {name: torch.zeros(shape) for name, shape in coco_shapes(3, DEEPER).items()}
    weights["roi_heads.box_predictor.cls_score.bias"] = torch.tensor([0.0, 5.0, 0.0])
    torch.save(weights, tmp_path / "deeper.pth")
    model = mask_rcnn_resnet101_fpn(3, min_size=64, weights=tmp_path / "deeper.pth")
    [found] = model([torch.zeros(3, 48, 64)])
    assert found["labels"].tolist() == [1] * len(found["labels"]) != []


def test_weights_of_another_network_are_refused_by_the_name_of_a_tensor(tmp_path):
    deeper = {"backbone.body.layer3.22.conv1.weight": torch.zeros(1)}
    torch.save(deeper | {"roi_heads.box_predictor.cls_score.weight": torch.zeros(3, 4)}, tmp_path / "deeper.pth")
    with pytest.raises(FileError, match=r"no tensor backbone.body.conv1.weight of the shape \(64, 3, 7, 7\)"):
        mask_rcnn_resnet101_fpn(3, weights=tmp_path / "deeper.pth")


def test_detections_are_those_of_the_published_implementation(published):
    """The numbers come from torchvision 0.29 with the same weights, settings and image."""
    published.load_state_dict(drawn_weights(3))
    [found] = published([waves()])
    assert {name: tuple(each.shape) for name, each in found.items()} == {
        "boxes": (100, 4),
        "labels": (100,),
        "scores": (100,),
        "masks": (100, 1, 60, 80),
    }
    wanted = [
        (0.69484, [60.857, 0.0, 76.391, 55.663], 492.61),
        (0.68631, [52.382, 31.326, 75.784, 59.087], 413.88),
        (0.67044, [38.549, 13.635, 68.949, 33.536], 402.05),
    ]
    scores, boxes, mask_sums = (torch.tensor(each) for each in zip(*wanted, strict=True))
    assert found["labels"][:3].tolist() == [1, 1, 1]
    torch.testing.assert_close(found["scores"][:3], scores, atol=1e-3, rtol=0)
    torch.testing.assert_close(found["boxes"][:3], boxes, atol=0.05, rtol=0)
    torch.testing.assert_close(found["masks"][:3].sum((1, 2, 3)), mask_sums, atol=0.5, rtol=0)


def named_as_in_2019(name):
    """Turn a name of today into the one in the published file."""
    if "mask_head" in name:
        _, _, number, _, part = name.split(".")
        return f"roi_heads.mask_head.mask_fcn{int(number) + 1}.{part}"
    return name.replace("head.conv.0.0", "head.conv").replace(".0.weight", ".weight").replace(".0.bias", ".bias")


def test_names_of_2019_become_those_of_today():
    names = [each for each in coco_shapes() if "body" not in each]
    old = [named_as_in_2019(each) for each in names]
    assert sum(a != b for a, b in zip(old, names, strict=True)) == 2 + 16 + 8
    assert list(with_current_names(dict.fromkeys(old, torch.zeros(1)))) == names


def test_counters_of_batch_normalisation_are_dropped():
    assert with_current_names({"backbone.body.bn1.num_batches_tracked": torch.zeros(1)}) == {}


def test_weights_file_is_read_if_its_hash_is_right(tmp_path, monkeypatch):
    path = tmp_path / "weights.pth"
    torch.save({"rpn.head.conv.bias": torch.ones(2)}, path)
    monkeypatch.setattr(coco_weights, "HASH", hashlib.sha256(path.read_bytes()).hexdigest()[:8])
    assert read_coco_weights(path)["rpn.head.conv.0.0.bias"].tolist() == [1, 1]


def test_another_file_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({}, path)
    with pytest.raises(FileError, match="not the published file"):
        read_coco_weights(path)


def test_missing_weights_file_says_where_to_get_it(tmp_path):
    with pytest.raises(FileError, match="Download https"):
        read_coco_weights(tmp_path / "nothing.pth")

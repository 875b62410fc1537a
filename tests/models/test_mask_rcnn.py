"""Mask R-CNN: the published model's tensors and detections; crowded images; learning."""

import hashlib
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_tessera.core.errors import FileError, InputError, ParameterError
from napari_tessera.models.mask_rcnn import coco as coco_weights
from napari_tessera.models.mask_rcnn.backbone import FrozenBatchNorm
from napari_tessera.models.mask_rcnn.boxes import decode, encode
from napari_tessera.models.mask_rcnn.coco import read_coco_weights, with_current_names
from napari_tessera.models.mask_rcnn.config import MaskRCNNArchitecture, Settings
from napari_tessera.models.mask_rcnn.detections import DroppedProposals, detect
from napari_tessera.models.mask_rcnn.losses import Criteria
from napari_tessera.models.mask_rcnn.masks import paint_labels
from napari_tessera.models.mask_rcnn.matcher import truth_of
from napari_tessera.models.mask_rcnn.model import MaskRCNN, light_architecture, mask_rcnn_resnet50_fpn
from napari_tessera.models.mask_rcnn.rpn import cell_anchors, grid_anchors, limits, propose
from napari_tessera.models.unet import fold_normalisation
from napari_tessera.training.losses import dice, focal, weighted_cross_entropy
from tests.helpers.coco_model import coco_shapes, drawn_weights

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


# The published model


@pytest.fixture(scope="module")
def published():
    return mask_rcnn_resnet50_fpn(3, min_size=96, max_size=160)


def test_names_and_shapes_are_the_published_ones(published):
    assert {name: tuple(each.shape) for name, each in published.state_dict().items()} == coco_shapes(3)


def test_as_many_numbers_are_learned_as_the_publisher_says():
    learned = [shape for name, shape in coco_shapes().items() if ".bn" not in name and ".downsample.1" not in name]
    assert sum(map(math.prod, learned)) == 44_401_393


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
    with pytest.raises(ParameterError, match=words):
        mask_rcnn_resnet50_fpn(num_classes, **settings)


# Anchors and boxes


def test_anchors_have_the_area_and_shape_asked_for():
    assert cell_anchors([32], [0.5, 1, 2]).tolist() == [[-23, -11, 23, 11], [-16, -16, 16, 16], [-11, -23, 11, 23]]


def test_anchors_lie_row_by_row():
    [anchors] = grid_anchors([(2, 2)], (16, 24), [(4,)], [1.0])
    assert anchors.tolist() == [[-2, -2, 2, 2], [10, -2, 14, 2], [-2, 6, 2, 10], [10, 6, 14, 10]]


def test_decoding_undoes_encoding():
    boxes = torch.tensor([[0.0, 0, 10, 20], [5, 5, 9, 7]])
    wanted = torch.tensor([[2.0, 1, 9, 30], [4, 5, 10, 9]])
    weights = (10, 10, 5, 5)
    torch.testing.assert_close(decode(encode(wanted, boxes, weights), boxes, weights), wanted)


# Crowded images: no silent limit


def test_limits_are_those_set_or_grow_with_the_image():
    fixed, growing = Settings(), Settings(rpn_pre_nms_top_n_test=None, rpn_post_nms_top_n_test=None)
    assert limits(fixed, (4096, 4096), is_training=False).proposals == 1000
    assert limits(growing, (256, 256), is_training=False).proposals == 1000
    assert limits(growing, (4096, 4096), is_training=False).proposals > 2 * (4096 / 32) ** 2


def test_likely_proposals_cut_by_a_limit_are_counted():
    anchors = grid_anchors([(10, 10)], (200, 200), [(10,)], [1.0])
    scores, codes = [torch.linspace(3, -3, 100)], [torch.zeros(100, 4)]
    settings = Settings(anchor_sizes=((10,),), rpn_pre_nms_top_n_test=40, rpn_post_nms_top_n_test=30)
    found = propose(scores, codes, anchors, (200, 200), limits(settings, (200, 200), False), settings)
    assert len(found.boxes) == 30
    assert found.cut == 50 - 30


def far_apart(count):
    starts = 20.0 * torch.arange(count)
    return torch.stack([starts, torch.zeros(count), starts + 10, torch.full((count,), 10.0)], dim=1)


def detected(count=150, lowest_score=None, **settings):
    scores = torch.stack([torch.zeros(count), torch.linspace(3, 1, count)], dim=1)
    codes = torch.zeros(count, 2, 4)
    return detect(scores, codes, far_apart(count), (10, 20 * count), Settings(**settings), lowest_score)


def test_as_many_detections_as_there_are_objects():
    assert len(detected(box_detections_per_img=None).boxes) == 150


def test_detections_above_the_number_allowed_are_counted():
    found = detected()
    assert len(found.boxes) == 100
    assert found.left == DroppedProposals(detections=50)


def test_detections_below_the_score_asked_for_are_counted():
    found = detected(lowest_score=0.8, box_detections_per_img=None)
    assert found.scores.min() >= 0.8
    assert len(found.scores) + found.left.faint == 150


def test_boxes_in_an_image_that_is_scaled_are_in_pixels_of_the_image_as_given():
    model = small_model(min_size=96, max_size=None).eval()
    [found] = model.detect([torch.rand(1, 32, 48)])
    assert found.boxes[:, 2].max() <= 48
    assert found.boxes[:, 3].max() <= 32


def test_a_score_below_the_model_s_own_threshold_finds_more():
    assert len(detected(box_score_thresh=0.9, box_detections_per_img=None).boxes) < 150
    assert len(detected(box_score_thresh=0.9, lowest_score=0.1, box_detections_per_img=None).boxes) == 150


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
    again = MaskRCNNArchitecture(**json.loads(json.dumps(light.as_json())))
    model = MaskRCNN(again).eval()
    model.load_state_dict(MaskRCNN(light).state_dict())
    assert len(model.detect([torch.rand(2, 32, 32)])) == 1


@pytest.mark.parametrize("backbone", ["light", "resnet50"])
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


# Learning


def learn(model, image, truth, criteria, steps):
    rng = torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    model.train()
    for _ in range(steps):
        parts = model.losses([image], [truth], criteria, rng)
        optimiser.zero_grad()
        sum(parts.values()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5)
        optimiser.step()
    return {name: float(each.detach()) for name, each in parts.items()}


def test_learns_one_disc():
    labels, model = disc(), small_model(rpn_post_nms_top_n_train=100)
    truth = truth_of(labels, torch.tensor([0, 1]), is_aligned=True)
    learn(model, labels[None].float(), truth, Criteria(weighted_cross_entropy, dice), steps=50)
    [found] = model.eval().detect([labels[None].float()], lowest_score=0.9)
    painted = paint_labels(found.masks, found.boxes, labels.shape, is_aligned=True).labels == 1
    both, either = (painted & (labels == 1)).sum(), (painted | (labels == 1)).sum()
    assert both / either > 0.75


@pytest.mark.parametrize("loss", [weighted_cross_entropy, dice, focal])
def test_any_loss_of_classes_and_masks_can_be_used(loss):
    labels = disc()
    truth = truth_of(labels, torch.tensor([0, 1]), is_aligned=True)
    parts = learn(small_model(), labels[None].float(), truth, Criteria(loss, loss), steps=1)
    assert set(parts) == {"objectness", "proposal_box", "class", "box", "mask"}
    assert all(0 < parts[name] < 10 for name in ("objectness", "class", "mask"))


def test_the_same_seed_gives_the_same_losses():
    labels = disc()
    truth = truth_of(labels, torch.tensor([0, 1]))
    criteria = Criteria(weighted_cross_entropy, dice)
    first, second = (learn(small_model(), labels[None].float(), truth, criteria, steps=2) for _ in range(2))
    assert first == second


def test_an_image_without_objects_can_be_learned_from():
    nothing = torch.zeros(64, 64, dtype=torch.long)
    truth = truth_of(nothing, torch.tensor([0]))
    parts = learn(small_model(), nothing[None].float(), truth, Criteria(weighted_cross_entropy, dice), steps=1)
    assert parts["box"] == parts["mask"] == 0


def test_what_was_not_painted_gives_no_gradient():
    nothing = torch.zeros(64, 64, dtype=torch.long)
    truth = truth_of(nothing, torch.tensor([0]), ignore=torch.ones(64, 64, dtype=torch.bool))
    model, rng = small_model(), torch.Generator().manual_seed(0)
    parts = model.train().losses([torch.rand(1, 64, 64)], [truth], Criteria(weighted_cross_entropy, dice), rng)
    sum(parts.values()).backward()
    assert all(each.grad is None or not each.grad.any() for each in model.parameters())


def test_losses_in_low_precision_are_nearly_the_same():
    labels = disc()
    truth = truth_of(labels, torch.tensor([0, 1]), is_aligned=True)
    criteria, parts = Criteria(weighted_cross_entropy, dice), []
    for is_low in (False, True):
        model, rng = small_model().train(), torch.Generator().manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=is_low):
            parts.append(model.losses([labels[None].float()], [truth], criteria, rng))
    assert all(abs(parts[0][name] - parts[1][name]) < 0.1 for name in parts[0])


def test_a_backbone_in_low_precision_detects_nearly_the_same():
    model, image = small_model().eval(), disc()[None].float()
    [exact] = model.detect([image])
    model.backbone.to(torch.bfloat16)
    [low] = model.detect([image])
    torch.testing.assert_close(low.scores[:1], exact.scores[:1], atol=0.05, rtol=0)

"""A Mask R-CNN learns: losses, annotation that leaves pixels out, low precision."""

import pytest
import torch

from napari_tessera.models.mask_rcnn.losses import Criteria
from napari_tessera.models.mask_rcnn.masks import paint_labels
from napari_tessera.models.mask_rcnn.matcher import truth_of
from napari_tessera.training.losses import dice, focal, weighted_cross_entropy
from tests.helpers.small_mask_rcnn import disc, small_model


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

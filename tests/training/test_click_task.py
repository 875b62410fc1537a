"""A click network learns what a simulated user points at."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import napari_tessera as tessera
from napari_tessera.core.errors import ModelError, ParameterError
from napari_tessera.core.jobs import run_job
from napari_tessera.inference.click import BOX, NEGATIVE, POSITIVE, WINDOW_PX
from napari_tessera.models.registry import find
from napari_tessera.models.weights import load_unet
from napari_tessera.training.click_task import OBJECT, click_loss, corrected, draw_clicks
from napari_tessera.training.data.example import as_paint, object_example
from napari_tessera.training.losses import class_loss
from napari_tessera.training.simulated_user import clicked, next_click, objects_to_click, score_clicks, use
from tests.helpers.click_network import BrightPieces
from tests.helpers.disc_folder import discs, write_discs


@pytest.fixture(scope="module")
def example():
    image, labels = discs(0)
    return object_example(image, as_paint(labels, "objects"))


def drawn(example, count=6, seed=0):
    return draw_clicks([example], count, 0.5, torch.device("cpu"))(np.random.default_rng(seed))


def test_each_window_has_one_object_and_the_click_lies_on_it(example):
    for seed in range(5):
        batch = drawn(example, seed=seed)
        assert batch.images.shape == (6, 3, WINDOW_PX, WINDOW_PX)
        assert ((batch.images >= -0.5) & (batch.images <= 1.5)).all()
        for classes, maps in zip(batch.classes, batch.guidance, strict=True):
            assert (classes == OBJECT).any()
            assert maps[POSITIVE].any() or maps[BOX].any()
            assert not maps[NEGATIVE].any()
            middle = np.argwhere(maps[POSITIVE].numpy()).mean(0).round().astype(int) if maps[POSITIVE].any() else None
            assert middle is None or classes[tuple(middle)] == OBJECT


def test_the_same_seed_draws_the_same_batch(example):
    one, other = drawn(example, seed=3), drawn(example, seed=3)
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.guidance, other.guidance)
    assert (one.rounds, one.seed) == (other.rounds, other.seed)


def test_objects_appear_at_many_scales(example):
    sizes = [int((classes == OBJECT).sum()) for seed in range(20) for classes in drawn(example, seed=seed).classes]
    assert max(sizes) > 8 * min(sizes)


def test_the_next_click_lies_in_the_largest_error():
    truth = np.zeros((40, 40), bool)
    truth[10:30, 10:30] = True
    known = np.ones_like(truth)
    assert next_click(truth, truth, known) is None
    place, adds = next_click(truth & (np.indices(truth.shape)[0] < 15), truth, known)
    assert adds
    assert 15 <= place[0] < 30
    wrong = truth.copy()
    wrong[:, 32:] = True
    place, adds = next_click(wrong, truth, known)
    assert not adds
    assert place[1] >= 32
    assert next_click(wrong, truth, np.indices(truth.shape)[1] < 32) is None


def test_a_correction_adds_a_click_and_the_mask_so_far(example):
    batch = drawn(example)
    masks = np.zeros(batch.classes.shape, bool)
    after = corrected(batch.guidance, masks, batch.classes.numpy(), np.random.default_rng(0))
    grown = after[:, POSITIVE].sum((1, 2)) - batch.guidance[:, POSITIVE].sum((1, 2))
    assert (grown > 0).any()
    assert torch.equal(after[:, NEGATIVE], batch.guidance[:, NEGATIVE])


@pytest.mark.parametrize("rounds", [0, 2])
def test_the_loss_falls_for_a_network_that_is_right(example, rounds):
    class Right(torch.nn.Module):
        certainty = 0.0

        def forward(self, images):
            truth = (batch.classes == OBJECT).float()
            return {"classes": self.certainty * torch.stack([1 - truth, truth], 1)}

    batch, net = replace(drawn(example), rounds=rounds), Right()
    unsure = sum(click_loss(net, batch, class_loss("combined")).values())
    net.certainty = 20.0
    assert sum(click_loss(net, batch, class_loss("combined")).values()) < 0.01 * unsure


def test_the_simulated_user_is_content_with_a_network_that_is_right(example):
    objects = objects_to_click(example, 3)
    assert len(objects) == 3
    for number, box in objects:
        assert min(use(BrightPieces(), example, number, box, 3)) > 0.7
        assert use(BrightPieces(), example, number, box, by_box=True)[0] > 0.7


def test_scores_of_clicks_are_means_over_objects(example):
    scores = run_job(score_clicks(BrightPieces(), [example]))
    assert scores.keys() == {"score", "click", "three", "box", "click_50"}
    assert all(0.7 < value <= 1 for value in scores.values())
    labels = run_job(clicked(BrightPieces(), example))
    assert labels.shape == example.labels.shape
    assert len(np.unique(labels)) > 3


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = write_discs(tmp_path_factory.mktemp("clicks"))
    settings = {"network": "click", "steps": 6, "validations": 1, "batch": 4, "widths": "4,8,16"}
    return tessera.train(folder / "index.csv", None, folder / "few.safetensors", **settings)


def test_a_training_writes_a_click_network(trained):
    entry = find(trained.path)
    assert entry.kind == "click"
    assert entry.header["architecture"]["channels"] == 7
    assert trained.header["normalisation"] == {"kind": "window", "count": 3}
    assert trained.header["training"]["scores"].keys() == {"score", "click", "three", "box", "click_50"}
    assert load_file(trained.path)
    image, _ = discs(0)
    mask = tessera.point(image, [[40, 40]], model=str(trained.path))
    assert mask.shape == image.shape[:2]
    assert mask.dtype == bool


def test_a_click_network_is_no_unet(trained):
    image, _ = discs(0)
    with pytest.raises(ParameterError, match="is a click network, but it must be a U-Net"):
        tessera.unet(image, model=str(trained.path))
    with pytest.raises(ModelError, match="holds a click network, but a U-Net is needed"):
        load_unet(trained.path)
    with pytest.raises(ParameterError, match="a click network is needed"):
        tessera.point(image, [[4, 4]], model="cells")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"task": "classes"}, "a click network finds objects"),
        ({"ndim": 3}, "a click network segments planes"),
        ({"diameter": 30}, "`diameter` has no effect on a click network"),
        ({"patch": 64}, "`patch` has no effect"),
        ({"mask_loss": "dice"}, "`mask_loss` is the loss of a Mask R-CNN"),
    ],
)
def test_settings_that_it_does_not_take_are_refused(settings, said, tmp_path):
    with pytest.raises(ParameterError, match=said):
        tessera.train(tmp_path, tmp_path, tmp_path / "no.safetensors", network="click", **settings)

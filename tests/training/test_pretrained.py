"""Starting from a model: what is taken from it, what begins anew, and which models do not suit."""

import pytest
import torch

from napari_tessera.core.errors import InputError, ParameterError
from napari_tessera.core.jobs import run_job
from napari_tessera.models.unet import UNet, UNetArchitecture
from napari_tessera.models.weights import save_model
from napari_tessera.training.config import HEADS, TrainingConfig
from napari_tessera.training.data.dataset import Dataset
from napari_tessera.training.loop import keep_statistics
from napari_tessera.training.pretrained import Row, adapted, check_images, load_pretrained, read_start, rows_for
from napari_tessera.training.resolve import resolve_config
from napari_tessera.training.settings import checked_settings
from napari_tessera.training.unet_task import learn, new_network
from tests.helpers.tiny_models import small_mask_rcnn
from tests.training.test_tasks import scene

OBJECTS = {"classes": ["background", "nucleus"], "task": "objects", "diameter_px": 20.0}
COLOURS = {"kind": "colours", "count": 3}


@pytest.fixture
def saved(tmp_path):
    """Save a small network; the path to start from."""

    def save(heads=HEADS, channels=5, ndim=2, net=None, **header):
        torch.manual_seed(0)
        net = net or UNet(UNetArchitecture(channels, heads, (4, 8), ndim))
        path = tmp_path / "start.safetensors"
        save_model(path, net, {"normalisation": COLOURS} | header)
        return str(path)

    return save


def started(path, **settings):
    return read_start(checked_settings({"start_from": path} | settings))


def plan_from(path, n_classes=2, **settings):
    checked = checked_settings({"start_from": path, "patch": 32, "precision": "full"} | settings)
    start = read_start(checked)
    return resolve_config(checked, Dataset([scene()], [], "colours", 3, n_classes, ""), "cpu", start), start


def test_widths_and_diameter_are_those_of_the_model(saved):
    plan, start = plan_from(saved(**OBJECTS))
    assert (plan.widths, plan.diameter_px) == ((4, 8), 20.0)
    assert plan.start["sha256"] == start.sha256


def test_the_rate_is_lower_and_statistics_are_kept(saved):
    plan, _ = plan_from(saved(**OBJECTS))
    assert plan.schedule().peak_rate < 2e-3
    assert plan.schedule().keeps_statistics


@pytest.mark.parametrize(("steps", "share"), [(12, 1), (600, 0.5), (6000, 0.05), (None, 0.05)])
def test_the_rate_is_the_lower_the_longer_the_model_has_learnt(saved, steps, share):
    training = {} if steps is None else {"training": {"best_step": steps}}
    plan, _ = plan_from(saved(**OBJECTS, **training))
    assert plan.schedule().peak_rate == pytest.approx(share * 2e-3)
    assert plan.schedule().keeps_statistics == (share < 1)


@pytest.mark.parametrize(("rate", "keeps"), [(2e-3, False), (1e-4, True)])
def test_a_rate_that_is_given_goes_before_that_of_the_model(saved, rate, keeps):
    plan, _ = plan_from(saved(**OBJECTS, training={"best_step": 6000}), learning_rate=rate)
    assert plan.schedule().peak_rate == rate
    assert plan.schedule().keeps_statistics == keeps


def test_a_low_rate_from_nothing_learns_statistics_all_the_same():
    assert not TrainingConfig(learning_rate=1e-4).schedule().keeps_statistics


def test_steps_of_the_model_before_count_too(saved):
    before = {"best_step": 40, "settings": {"start": {"steps": 6000}}}
    assert plan_from(saved(**OBJECTS, training=before))[1].steps == 6040


def test_a_network_begins_with_all_weights_of_a_model_for_the_same(saved):
    plan, start = plan_from(saved(**OBJECTS))
    net = new_network(plan)
    load_pretrained(net, start, "objects", (), seed=0)
    assert all(torch.equal(value, start.weights[name]) for name, value in net.state_dict().items())


def test_new_classes_begin_as_objects_and_differ_a_little(saved):
    plan, start = plan_from(saved(**OBJECTS), n_classes=3, task="classes")
    net = new_network(plan)
    load_pretrained(net, start, "classes", (), seed=0)
    old, new = start.weights["heads.classes.weight"], net.state_dict()["heads.classes.weight"]
    assert torch.equal(new[0], old[0])
    assert (new[1:] - old[1]).abs().max() < 0.5 * old.std()
    assert not torch.equal(new[1], new[2])


def test_the_same_seed_begins_alike(saved):
    plan, start = plan_from(saved(**OBJECTS), n_classes=3, task="classes")
    nets = [new_network(plan), new_network(plan)]
    for net in nets:
        load_pretrained(net, start, "classes", (), seed=5)
    assert torch.equal(*(net.state_dict()["heads.classes.weight"] for net in nets))


def test_classes_that_stay_keep_their_weights_by_their_names(saved):
    names = ["background", "gland", "vessel"]
    start = started(saved({"classes": 3}, task="classes", classes=names), task="classes")
    rows = rows_for(start, "classes", ("background", "vessel", "tumour"), 3)
    assert rows == [Row(0, False), Row(2, False), Row(1, True)]


def test_as_many_classes_without_names_stay_as_they_are(saved):
    start = started(saved({"classes": 3}, task="classes", classes=["background", "a", "b"]), task="classes")
    assert rows_for(start, "classes", (), 3) == [Row(0, False), Row(1, False), Row(2, False)]


def test_rows_of_a_class_move_together():
    old = torch.arange(8.0).reshape(8, 1)
    assert adapted(old, [Row(1, False)], 4, torch.Generator()).flatten().tolist() == [4, 5, 6, 7]


def test_a_mask_rcnn_of_other_classes_gets_a_head_for_objects(saved):
    net = small_mask_rcnn(channels=5, num_classes=4)
    path = saved(net=net, classes=["background", "a", "b", "c"], diameter_px=20.0)
    plan, start = plan_from(path, network="mask-rcnn", patch=64)
    own = new_network(plan)
    load_pretrained(own, start, "objects", (), seed=0)
    scores = "roi_heads.box_predictor.cls_score.weight"
    assert own.state_dict()[scores].shape[0] == 2
    assert torch.equal(own.state_dict()[scores][0], start.weights[scores][0])


def test_learning_from_a_model_changes_it_little(saved):
    plan, start = plan_from(saved(**OBJECTS), steps=2, batch=1)
    state = run_job(learn([scene()], plan, begin=lambda net: load_pretrained(net, start, "objects", (), 0)))
    before, after = start.weights["down.0.0.weight"], state.net.state_dict()["down.0.0.weight"]
    assert 0 < (before - after).abs().max() < 0.01


def test_means_and_variances_are_kept():
    net = UNet(UNetArchitecture(1, {"classes": 2}, (4, 8))).train()
    before = net.down[0][1].running_mean.clone()
    keep_statistics(net)
    net(torch.rand(2, 1, 16, 16))
    assert torch.equal(net.down[0][1].running_mean, before)


@pytest.mark.parametrize(
    ("model", "settings", "named", "said"),
    [
        (OBJECTS, {"network": "mask-rcnn"}, "start_from", "is a U-Net"),
        (OBJECTS, {"ndim": 3}, "start_from", "is for planes"),
        ({"heads": {"classes": 2}, "task": "classes", "classes": ["background", "a"]}, {}, "start_from", "not objects"),
        (OBJECTS, {"widths": "4,8"}, "widths", "Leave it out"),
        (OBJECTS, {"diameter": 30}, "diameter", "Leave it out"),
    ],
)
def test_a_model_that_does_not_suit_is_refused(saved, model, settings, named, said):
    with pytest.raises(ParameterError, match=said) as refused:
        started(saved(**model), **settings)
    assert refused.value.parameter == named


def test_a_model_that_is_not_there_is_refused():
    with pytest.raises(ParameterError, match="no model 'nuclei-unt'"):
        started("nuclei-unt")


def test_images_with_other_channels_are_refused(saved):
    with pytest.raises(InputError, match=r"takes grey or RGB images, but these have 2 channels"):
        check_images(started(saved(**OBJECTS)), "channels", 2)

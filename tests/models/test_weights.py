"""Model files: what was saved is loaded, and anything else gets an error that says what it is, cheaply and safely."""

from __future__ import annotations

import os
import re
import stat
import sys

import numpy as np
import pytest
import torch

from napari_tessera.core.errors import FileError, ModelError
from napari_tessera.models.header import check_architecture, read_header
from napari_tessera.models.safetensors import LONGEST_HEADER
from napari_tessera.models.unet import UNet, UNetArchitecture
from napari_tessera.models.weights import (
    MOST_WEIGHTS,
    as_stored,
    empty_network,
    load_model,
    load_unet,
    read_tensors,
    save_model,
    tensors_of,
    write_tensors,
)
from tests.helpers.model_bytes import FEW_WIDTHS, HEADS, complaint, rewritten, small_net, with_fields
from tests.helpers.tiny_models import small_mask_rcnn


@pytest.fixture
def path(tmp_path):
    """Where a test writes its model file."""
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize("ndim", [2, 3])
def test_network_is_loaded_as_it_was_saved(path, ndim):
    net = small_net(ndim)
    save_model(path, net, {"diameter_px": 24.0, "title": "Small"})
    again, header = load_unet(path)
    assert (header["diameter_px"], header["title"], header["format"]) == (24.0, "Small", 1)
    assert not again.training
    for name, each in tensors_of(net).items():
        torch.testing.assert_close(again.state_dict()[name], each.half().to(each.dtype))


@pytest.mark.parametrize("net", [small_net(), small_net(3), small_mask_rcnn()], ids=["planes", "volumes", "boxes"])
def test_a_network_in_memory_is_what_its_file_would_hold(path, net):
    header = {"diameter_px": 24.0, "decoding": {"mask_level": 0.4}, "training": {"scores": (0.5, float("nan"))}}
    save_model(path, net, header)
    (saved, said), (kept, full) = load_model(path), as_stored(net, header, path)
    assert full == said
    assert not kept.training
    assert all(torch.equal(each, kept.state_dict()[name]) for name, each in saved.state_dict().items())


def test_header_is_read_without_torch(path, sound):
    path.write_bytes(sound)
    assert read_header(path)["architecture"] == {
        "kind": "unet", "channels": 2, "heads": HEADS, "widths": list(FEW_WIDTHS), "ndim": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    "architecture",
    [
        UNetArchitecture(1, {"classes": 2}, (3,)),
        UNetArchitecture(5, {"classes": 3, "distance": 1, "size": 1}, (2, 4, 6, 8, 8)),
        UNetArchitecture(2, {"classes": 4}, (2, 3), ndim=3),
    ],
)
def test_an_empty_network_has_the_tensors_of_the_network_and_takes_no_memory(architecture):
    empty = empty_network(architecture.as_json()).state_dict()
    assert {name: (each.shape, each.dtype) for name, each in empty.items()} == {
        name: (each.shape, each.dtype) for name, each in UNet(architecture).state_dict().items()
    }
    assert all(each.is_meta for each in empty.values())


def test_weights_too_large_for_half_precision_are_kept(path):
    net = small_net()
    net.down[0][1].running_var[0] = 1e6
    save_model(path, net, {})
    assert load_unet(path)[0].down[0][1].running_var[0] == 1e6


def test_diverged_network_is_not_saved(path):
    net = small_net()
    net.down[0][0].weight.data[0, 0, 0, 0] = torch.nan
    with pytest.raises(ModelError, match=r"was not written: 'down\.0\.0\.weight' holds NaN or infinity"):
        save_model(path, net, {})
    assert not path.exists()


def test_header_that_could_not_be_read_is_not_saved(path):
    with pytest.raises(ModelError, match="in its header, task is 'magic', but it should be 'objects' or 'classes'"):
        save_model(path, small_net(), {"task": "magic"})


def test_architecture_in_the_header_is_that_of_the_network(path):
    save_model(path, small_net(), {"architecture": {"widths": [8, 8]}, "format": 7})
    assert read_header(path)["architecture"]["widths"] == list(FEW_WIDTHS)


def test_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileError, match="nowhere"):
        save_model(tmp_path / "nowhere" / "net.safetensors", small_net(), {})


def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(path, sound, monkeypatch):
    path.write_bytes(sound)

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(FileError, match="is full"):
        save_model(path, small_net(), {})
    assert path.read_bytes() == sound
    assert os.listdir(path.parent) == [path.name]


def test_score_that_is_no_number_is_saved_as_unknown(path):
    save_model(path, small_net(), {"training": {"scores": [0.5, float("nan"), float("inf")]}})
    assert read_header(path)["training"] == {"scores": [0.5, None, None]}


def test_header_that_is_too_long_is_not_saved(path):
    with pytest.raises(ModelError, match="its header would be longer than"):
        save_model(path, small_net(), {"card": "a" * LONGEST_HEADER})
    assert not path.exists()


def test_any_script_and_thin_spaces_are_text(path):
    card = "30\u202f\u00b5m \u2014 \u7d30\u80de \U0001f52c"
    save_model(path, small_net(), {"card": card})
    assert read_header(path)["card"] == card


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_file_has_the_permissions_of_any_new_file(path):
    (path.parent / "other").write_bytes(b"")
    save_model(path, small_net(), {})
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((path.parent / "other").stat().st_mode)


def test_tensors_of_other_kinds_are_read_back(path):
    tensors = {"empty": torch.zeros(0, 3), "one": torch.tensor(7), "truth": torch.tensor([True, False])}
    write_tensors(path, tensors, {"step": 3})
    again, header = read_tensors(path)
    assert header == {"step": 3}
    assert {name: each.tolist() for name, each in again.items()} == {"empty": [], "one": 7, "truth": [True, False]}


@pytest.mark.parametrize(
    "name", ["name", "title", "summary", "card", "task", "architecture", "classes", "channels", "normalisation",
             "diameter_px", "decoding", "training", "licence", "cite"],
)  # fmt: skip
def test_missing_field_is_named(path, sound, name):
    assert f"in its header, {name} is missing" in complaint(path, with_fields(sound, **{name: ...}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", "1"), ("format", True), ("format", 0), ("name", 3), ("name", ""), ("title", "two\nlines"),
        ("title", "\x1b[2Jcleared"), ("card", None), ("task", "magic"), ("task", []),
        ("architecture", []), ("classes", "nucleus"), ("classes", []), ("classes", [1]), ("channels", {}),
        ("normalisation", None), ("diameter_px", 0), ("diameter_px", -3), ("diameter_px", True), ("diameter_px", "32"),
        ("diameter_px", 1e9), ("decoding", []), ("training", "long"), ("licence", 0), ("cite", None),
        ("diameter_px", 1e-9), ("decoding", {"object_level": 1.1}), ("decoding", {"most_hidden": -0.1}),
        ("decoding", {"mask_level": "high"}), ("decoding", {"smoothing_px": 1e6}), ("decoding", {"prominence": 1e300}),
        ("decoding", {"prominence": 2}), ("decoding", {"border_cost": -1}), ("normalisation", {"kind": "x"}),
        ("normalisation", {"low_percent": 1}), ("normalisation", {"count": 0}), ("normalisation", {"gamma": 2}),
        ("scoring", []), ("scoring", {"least": 0.5}),
    ],
)  # fmt: skip
def test_wrong_field_is_named(path, sound, name, value):
    said = complaint(path, with_fields(sound, **{name: value}))
    assert re.search(f"in its header, {name} .*(but it should .|is missing|is unknown)", said)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "transformer"}, "a network of kind 'transformer', but this Tessera knows unet, mask_rcnn"),
        ({"channels": 0}, "in its architecture, channels is 0, but it should be greater than or equal to 1"),
        ({"channels": 2.0}, "channels is 2.0, but it should be a valid integer"),
        ({"heads": {}}, "heads is {}, but it should have at least 1 item"),
        ({"heads": {"classes.0": 1}}, "but it should be a name of letters and digits"),
        ({"heads": {"classes": 10**6}}, "heads → classes is 1000000, but it should be less than or equal to 1024"),
        ({"heads": {"distance": 1}}, "needs the output `classes`"),
        ({"widths": [10**9, 10**9]}, "widths → 0 is 1000000000, but it should be less than or equal to 8192"),
        ({"widths": []}, "widths is [], but it should have at least 1 item"),
        ({"widths": [1] * 40}, "but it should have at most 8 items"),
        ({"widths": [8192] * 8}, f"but at most {MOST_WEIGHTS:,} are allowed"),
        ({"widths": "many"}, "widths is 'many', but it should be a valid list"),
        ({"ndim": 4}, "ndim is 4, but it should be less than or equal to 3"),
        ({"depth": 3}, "in its architecture, depth is unknown"),
    ],
)
def test_impossible_architecture_is_named(path, sound, changes, words):
    architecture = {"kind": "unet", "channels": 2, "heads": HEADS, "widths": [2, 3], "ndim": 2} | changes
    assert words in complaint(path, with_fields(sound, architecture=architecture))


def test_architecture_without_a_part_is_named():
    with pytest.raises(ValueError, match="in its architecture, ndim is missing"):
        check_architecture({"channels": 1, "heads": {"classes": 2}, "widths": [4]})


def test_every_class_has_an_output(path, sound):
    said = complaint(path, with_fields(sound, task="classes", classes=["background", "cell"]))
    assert "it names 2 classes, but its network has 3" in said


def test_architecture_must_fit_the_tensors(path, sound):
    architecture = {"kind": "unet", "channels": 2, "heads": HEADS, "widths": [2, 4], "ndim": 2}
    assert "but its network needs (4, 2, 3, 3)" in complaint(path, with_fields(sound, architecture=architecture))
    architecture["widths"] = [2, 3, 4]
    assert "needs tensor 'down.2.0.weight', which is not there" in complaint(
        path, with_fields(sound, architecture=architecture)
    )


def test_file_laid_out_by_hand_is_loaded(path, sound):
    path.write_bytes(rewritten(sound, lambda arrays: None))
    assert torch.equal(load_unet(path)[0].down[0][0].weight, small_net().down[0][0].weight.half().float())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weight_that_is_no_number_is_found(path, sound, value):
    content = rewritten(sound, lambda arrays: arrays["rise.0.bias"].fill(value))
    assert "tensor 'rise.0.bias' holds values that are NaN or infinite" in complaint(path, content)


def test_negative_variance_is_found(path, sound):
    content = rewritten(sound, lambda arrays: arrays["up.0.1.running_var"].fill(-1))
    assert "holds negative variances" in complaint(path, content)


def test_additional_tensor_is_named(path, sound):
    content = rewritten(sound, lambda arrays: arrays.update(stowaway=np.zeros(3, "<f2")))
    assert "tensor 'stowaway' does not belong to its network" in complaint(path, content)


def test_tensor_of_a_wrong_type_is_named(path, sound):
    content = rewritten(sound, lambda arrays: arrays.update({"rise.0.bias": np.zeros(2, "<i4")}))
    assert "tensor 'rise.0.bias' is of type 'I32'" in complaint(path, content)

"""Model files: what was saved is loaded, and anything else gets an error that says what it is, cheaply and safely."""

from __future__ import annotations

import json
import os
import pickle
import stat
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from napari_tessera.errors import FileError, ModelError
from napari_tessera.io.architecture import MOST_WEIGHTS, check_architecture, tensor_shapes
from napari_tessera.io.model_file import read_header, read_weights
from napari_tessera.nn.unet import Architecture, UNet
from napari_tessera.nn.weights import load_unet, read_tensors, save_unet, tensors_of, write_tensors

MOST_BYTES = 200 * 2**20
HEADS = {"classes": 3, "distance": 1}
FEW_WIDTHS = (2, 3)


def small_net(ndim=2):
    torch.manual_seed(0)
    return UNet(Architecture(2, HEADS, FEW_WIDTHS, ndim)).eval()


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """The bytes of a sound model file."""
    path = tmp_path_factory.mktemp("sound") / "small.safetensors"
    save_unet(path, small_net(), {"title": "Small", "summary": "Finds small things.", "card": "Für **alle**."})
    return path.read_bytes()


@pytest.fixture
def path(tmp_path):
    """Where a test writes its model file."""
    return tmp_path / "model.safetensors"


def parts(content):
    """Split a file into its header, as a dict, and the bytes of its tensors."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header, weights=b""):
    """Make a file of a header (a dict, or text as it is) and the bytes of its tensors."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + weights


def with_fields(content, **changes):
    """Change fields of the model's header; an ellipsis takes a field away. The checksum goes."""
    header, weights = parts(content)
    fields = json.loads(header["__metadata__"]["tessera"]) | changes
    kept = {name: value for name, value in fields.items() if value is not Ellipsis}
    header["__metadata__"] = {"tessera": json.dumps(kept)}
    return joined(header, weights)


def complaint(path, content):
    """Return what is said of a file with this content."""
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        read_weights(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("ndim", [2, 3])
def test_network_is_loaded_as_it_was_saved(path, ndim):
    net = small_net(ndim)
    save_unet(path, net, {"diameter_px": 24.0, "title": "Small"})
    again, header = load_unet(path)
    assert (header["diameter_px"], header["title"], header["format"]) == (24.0, "Small", 1)
    assert not again.training
    for name, each in tensors_of(net).items():
        torch.testing.assert_close(again.state_dict()[name], each.half().to(each.dtype))


def test_header_is_read_without_torch(path, sound):
    path.write_bytes(sound)
    assert read_header(path)["architecture"] == {
        "kind": "unet", "channels": 2, "heads": HEADS, "widths": list(FEW_WIDTHS), "ndim": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    "architecture",
    [
        Architecture(1, {"classes": 2}, (3,)),
        Architecture(5, {"classes": 3, "distance": 1, "size": 1}, (2, 4, 6, 8, 8)),
        Architecture(2, {"classes": 4}, (2, 3), ndim=3),
    ],
)
def test_names_and_shapes_are_those_of_the_network(architecture):
    state = UNet(architecture).state_dict()
    assert tensor_shapes(architecture.as_json()) == {name: tuple(each.shape) for name, each in state.items()}


def test_weights_too_large_for_half_precision_are_kept(path):
    net = small_net()
    net.down[0][1].running_var[0] = 1e6
    save_unet(path, net, {})
    assert load_unet(path)[0].down[0][1].running_var[0] == 1e6


def test_diverged_network_is_not_saved(path):
    net = small_net()
    net.down[0][0].weight.data[0, 0, 0, 0] = torch.nan
    with pytest.raises(ModelError, match=r"was not written: 'down\.0\.0\.weight' holds NaN or infinity"):
        save_unet(path, net, {})
    assert not path.exists()


def test_header_that_could_not_be_read_is_not_saved(path):
    with pytest.raises(ModelError, match="`task` in its header must be objects or classes, not 'magic'"):
        save_unet(path, small_net(), {"task": "magic"})


def test_architecture_in_the_header_is_that_of_the_network(path):
    save_unet(path, small_net(), {"architecture": {"widths": [8, 8]}, "format": 7})
    assert read_header(path)["architecture"]["widths"] == list(FEW_WIDTHS)


def test_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileError, match="nowhere"):
        save_unet(tmp_path / "nowhere" / "net.safetensors", small_net(), {})


def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(path, sound, monkeypatch):
    path.write_bytes(sound)

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(FileError, match="is full"):
        save_unet(path, small_net(), {})
    assert path.read_bytes() == sound
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_file_has_the_permissions_of_any_new_file(path):
    (path.parent / "other").write_bytes(b"")
    save_unet(path, small_net(), {})
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((path.parent / "other").stat().st_mode)


def test_tensors_of_other_kinds_are_read_back(path):
    tensors = {"empty": torch.zeros(0, 3), "one": torch.tensor(7), "truth": torch.tensor([True, False])}
    write_tensors(path, tensors, {"step": 3})
    again, header = read_tensors(path)
    assert header == {"step": 3}
    assert {name: each.tolist() for name, each in again.items()} == {"empty": [], "one": 7, "truth": [True, False]}


def test_missing_file_gets_the_nearest_name(path, sound):
    path.write_bytes(sound)
    with pytest.raises(ModelError, match=r"There is no file .*modle.*Did you mean model\.safetensors\?"):
        load_unet(path.with_name("modle.safetensors"))


def test_folder_is_no_file(tmp_path):
    with pytest.raises(ModelError, match="is a folder, but a model file"):
        read_header(tmp_path)


def test_empty_file_is_called_empty(path):
    assert "is empty" in complaint(path, b"")


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, touched):
        self.touched = touched

    def __reduce__(self):
        return os.mkdir, (str(self.touched),)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickle_is_named_and_never_run(path, protocol):
    touched = path.parent / "touched"
    said = complaint(path, pickle.dumps(Payload(touched), protocol))
    assert "is a PyTorch pickle; Tessera never opens these, since they can run programs" in said
    assert not touched.exists()


@pytest.mark.parametrize("as_zip", [True, False])
def test_torch_save_is_named_and_never_run(path, as_zip):
    touched = path.parent / "touched"
    torch.save({"model": Payload(touched)}, path, _use_new_zipfile_serialization=as_zip)
    with pytest.raises(ModelError, match="is a PyTorch pickle"):
        load_unet(path)
    assert not touched.exists()


def test_zip_is_not_opened(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "b")
    assert "or another zip archive" in complaint(path, path.read_bytes())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "is a Git LFS pointer"),
        (b"<!DOCTYPE html><title>Sign in</title>", "is a web page"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "is an HDF5 file"),
        (b"just some text, long enough", "is no model file"),
        (bytes(100), "is no model file"),
        (b"\x05\x00\x00", "is no model file"),
    ],
)
def test_other_file_is_told_what_it_is(path, content, words):
    assert words in complaint(path, content)


def test_file_whose_length_looks_like_a_pickle_is_read(path, sound):
    header, weights = parts(sound)
    text = json.dumps(header).encode()
    path.write_bytes(joined(text.ljust(0x80 + 0x100 * (len(text) // 0x100 + 1)), weights))
    assert path.read_bytes()[:1] == b"\x80"
    assert read_header(path)["title"] == "Small"


def test_tensors_of_another_program_are_foreign(path):
    assert "of another program" in complaint(path, joined({"__metadata__": {"format": "pt"}}))


def test_checkpoint_is_no_model(path):
    write_tensors(path, {"net/a": torch.ones(2)}, {"step": 3})
    assert "If it is the checkpoint of a training run" in complaint(path, path.read_bytes())


def test_newer_format_asks_for_an_update(path, sound):
    said = complaint(path, with_fields(sound, format=2))
    assert "was made by a newer Tessera (format 2; this one reads 1). Update it: python -m pip install" in said


@pytest.mark.parametrize(
    "name", ["name", "title", "summary", "card", "task", "architecture", "classes", "channels", "normalisation",
             "diameter_px", "decoding", "training", "licence", "cite"],
)  # fmt: skip
def test_missing_field_is_named(path, sound, name):
    assert f"its header has no `{name}`" in complaint(path, with_fields(sound, **{name: ...}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", "1"), ("format", True), ("format", 0), ("name", 3), ("name", ""), ("title", "two\nlines"),
        ("title", "\x1b[2Jcleared"), ("card", "\ud800"), ("card", None), ("task", "magic"), ("task", []),
        ("architecture", []), ("classes", "nucleus"), ("classes", []), ("classes", [1]), ("channels", {}),
        ("normalisation", None), ("diameter_px", 0), ("diameter_px", -3), ("diameter_px", True), ("diameter_px", "32"),
        ("diameter_px", 1e9), ("decoding", []), ("training", "long"), ("licence", 0), ("cite", None),
    ],
)  # fmt: skip
def test_wrong_field_is_named(path, sound, name, value):
    assert f"`{name}` in its header must be" in complaint(path, with_fields(sound, **{name: value}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "transformer"}, "a network of kind 'transformer', but this Tessera knows unet"),
        ({"channels": 0}, "`channels` must be"),
        ({"channels": 2.0}, "`channels` must be"),
        ({"heads": {}}, "`heads` must be"),
        ({"heads": {"classes.0": 1}}, "`heads` must be"),
        ({"heads": {"classes": 10**6}}, "each of `heads` must have"),
        ({"heads": {"distance": 1}}, "needs the output `classes`"),
        ({"widths": [10**9, 10**9]}, "`widths` must be"),
        ({"widths": []}, "`widths` has 0 levels"),
        ({"widths": [1] * 40}, "`widths` has 40 levels"),
        ({"widths": [8192] * 8}, f"but at most {MOST_WEIGHTS:,} are allowed"),
        ({"widths": "many"}, "`widths` must be"),
        ({"ndim": 4}, "`ndim` must be 2 or 3"),
        ({"depth": 3}, "'depth' is unknown"),
    ],
)
def test_impossible_architecture_is_named(path, sound, changes, words):
    architecture = {"kind": "unet", "channels": 2, "heads": HEADS, "widths": [2, 3], "ndim": 2} | changes
    assert words in complaint(path, with_fields(sound, architecture=architecture))


def test_architecture_without_a_part_is_named():
    with pytest.raises(ValueError, match="`architecture` has no 'ndim'"):
        check_architecture({"channels": 1, "heads": {"classes": 2}, "widths": [4]})


def test_every_class_has_an_output(path, sound):
    said = complaint(path, with_fields(sound, task="classes", classes=["background", "cell"]))
    assert "it names 2 classes, but its network tells 3 apart" in said


def test_architecture_must_fit_the_tensors(path, sound):
    architecture = {"kind": "unet", "channels": 2, "heads": HEADS, "widths": [2, 4], "ndim": 2}
    assert "but its network needs (4, 2, 3, 3)" in complaint(path, with_fields(sound, architecture=architecture))
    architecture["widths"] = [2, 3, 4]
    assert "needs tensor 'down.2.0.weight', which is not there" in complaint(
        path, with_fields(sound, architecture=architecture)
    )


def rewritten(sound, change):
    """Change the stored arrays of a file, and lay them out anew without a checksum."""
    header, weights = parts(sound)
    texts = {"tessera": header.pop("__metadata__")["tessera"]}
    dtypes = {"F16": "<f2", "I64": "<i8"}
    arrays = {
        name: np.frombuffer(weights[slice(*each["data_offsets"])], dtypes[each["dtype"]]).reshape(each["shape"]).copy()
        for name, each in header.items()
    }
    change(arrays)
    table, content = {}, b""
    for name, array in arrays.items():
        place = [len(content), len(content) + array.nbytes]
        code = {"f": "F", "i": "I"}[array.dtype.kind] + str(8 * array.itemsize)
        table[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": place}
        content += array.tobytes()
    return joined({"__metadata__": texts, **table}, content)


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
    assert "tensor 'rise.0.bias' is of type int32" in complaint(path, content)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{"a": 1, "a": 2}', "it says something twice"),
        (b'{"a": ' + b"9" * 5000 + b"}", "it holds a number of 5000 digits"),
        (b'{"a": 1e999}', "it holds the number 1e999"),
        (b'{"a": NaN}', "it holds the number NaN"),
        (b'{"a": ' + b"[" * 50 + b"]" * 50 + b"}", "it is nested too deeply"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "its header cannot be read"),
        (b'{"a": "\xff\xfe"}', "its header cannot be read"),
        (b'{"a"', "delimiter"),
        (b'{"__metadata__": []}', "the texts in its header"),
        (b'{"__metadata__": {"tessera": 1}}', "the texts in its header"),
        (b'{"a": 1}', "what its header says of tensor 'a' is incomplete"),
        (b'{"a": {"dtype": "F16", "shape": [1]}}', "incomplete"),
        (b'{"a": {"dtype": ["F16"], "shape": [1], "data_offsets": [0, 2]}}', "has the unknown type"),
        (b'{"a": {"dtype": "X9", "shape": [1], "data_offsets": [0, 2]}}', "has the unknown type 'X9'"),
        (b'{"a": {"dtype": "F16", "shape": [-1], "data_offsets": [0, 2]}}', "impossible shape or place"),
        (b'{"a": {"dtype": "F16", "shape": [1.0], "data_offsets": [0, 2]}}', "impossible shape or place"),
        (b'{"a": {"dtype": "F16", "shape": [1], "data_offsets": [2]}}', "impossible shape or place"),
        (b'{"a": {"dtype": "F16", "shape": [1], "data_offsets": [2, 0]}}', "does not fill its -2 bytes"),
        (b'{"a": {"dtype": "F16", "shape": [1000000000, 1000000000], "data_offsets": [0, 2]}}', "does not fill"),
        (b'{"a": {"dtype": "F16", "shape": [1], "data_offsets": [2, 4]}}', "begins at byte 2 instead of 0"),
        (b'{"a": {"dtype": "I8", "shape": [1], "data_offsets": [0, 1]}}', "something was added to it"),
        (b'{"a": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]}}', "it was cut short"),
    ],
)  # fmt: skip
def test_impossible_header_is_refused(path, text, words):
    assert words in complaint(path, joined(text, b"\0\0"))


@pytest.mark.parametrize("length", [0, 1, 2**21 + 1, 2**40, 2**63, 2**64 - 1])
def test_impossible_header_length_is_refused(path, length):
    assert "its header says to have" in complaint(path, length.to_bytes(8, "little") + b'{"a": 1}')


def test_header_within_the_header_is_checked_as_strictly(path):
    assert "it says something twice" in complaint(path, joined({"__metadata__": {"tessera": '{"a": 1, "a": 2}'}}))


@pytest.mark.parametrize("filling", [b"{},", b"1,"])
def test_longest_header_takes_little_memory(path, filling):
    text = b'{"a": [' + filling * (2**21 // len(filling) - 8) + b"1]}"
    content = joined(text)
    tracemalloc.start()
    complaint(path, content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MOST_BYTES


@pytest.mark.skipif(sys.platform == "win32", reason="a file of zeros would fill the disk")
def test_enormous_tensor_is_refused_unread(path):
    n_bytes = 2**34
    table = {"a": {"dtype": "I8", "shape": [n_bytes], "data_offsets": [0, n_bytes]}}
    content = joined({"__metadata__": {"tessera": '{"format": 1}'}, **table})
    path.write_bytes(content)
    os.truncate(path, len(content) + n_bytes)
    tracemalloc.start()
    with pytest.raises(ModelError):
        load_unet(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MOST_BYTES


def outcome(path, content):
    """Return the arrays and header of a file, or None where it gets a `ModelError`; anything else is raised."""
    path.write_bytes(content)
    try:
        arrays, header = read_weights(path)
    except ModelError:
        return None
    return {name: array.tolist() for name, array in arrays.items()}, header


THOROUGH = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@THOROUGH
@given(length=st.integers(0, 10**6))
@example(length=-1)
def test_file_cut_at_any_byte_is_refused(path, sound, length):
    assert outcome(path, sound[: length % len(sound)]) is None


@THOROUGH
@given(place=st.integers(0, 10**6), mask=st.integers(1, 255))
@example(place=9, mask=1)
def test_changed_byte_gives_an_error_or_the_same_network(path, sound, place, mask):
    place %= len(sound)
    changed = sound[:place] + bytes([sound[place] ^ mask]) + sound[place + 1 :]
    assert outcome(path, changed) in (None, outcome(path, sound))


@THOROUGH
@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_flipped_bit_in_the_header_gives_an_error_or_the_same_network(path, sound, place, bit):
    place %= 8 + int.from_bytes(sound[:8], "little")
    changed = sound[:place] + bytes([sound[place] ^ (1 << bit)]) + sound[place + 1 :]
    assert outcome(path, changed) in (None, outcome(path, sound))


@THOROUGH
@given(content=st.binary(max_size=300))
def test_random_bytes_are_refused(path, content):
    assert outcome(path, content) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@THOROUGH
@given(header=st.dictionaries(st.sampled_from(["__metadata__", "a", "down.0.0.weight"]), JSON, max_size=3))
def test_any_json_is_refused(path, header):
    assert outcome(path, joined(header)) is None


@THOROUGH
@given(
    name=st.sampled_from(["name", "task", "architecture", "classes", "diameter_px", "format", "training"]), value=JSON
)
def test_any_field_is_accepted_or_refused_kindly(path, sound, name, value):
    outcome(path, with_fields(sound, **{name: value}))

"""Damaged and hostile model files: an error that says so, or the very same network; never much memory."""

from __future__ import annotations

import os
import sys
import tracemalloc

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from napari_tessera.core.errors import ModelError
from napari_tessera.core.file_checks import parse_json
from napari_tessera.models.safetensors import LONGEST_HEADER
from napari_tessera.models.weights import load_model, load_unet, read_tensors
from tests.helpers.model_bytes import complaint, joined, with_fields

MOST_BYTES = 200 * 2**20


@pytest.fixture
def path(tmp_path):
    """Where a test writes its model file."""
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{"a": 1, "a": 2}', "it has a key twice"),
        (b'{"a": ' + b"9" * 5000 + b"}", "it holds a number of 5000 digits"),
        (b'{"a": 1e999}', "it holds the number 1e999"),
        (b'{"a": NaN}', "it holds the number NaN"),
        (b'{"a": ' + b"[" * 50 + b"]" * 50 + b"}", "it is nested too deeply"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "it is nested too deeply"),
        (b'{"a": "\\ud800"}', "it holds half of a character"),
        (b'{"a": "\xff\xfe"}', "its header cannot be read"),
        (b'{"a"', "delimiter"),
        (b'{"__metadata__": []}', "the texts in its header"),
        (b'{"__metadata__": {"tessera": 1}}', "the texts in its header"),
        (b'{"a": 1}', "what its header says of its tensors is incomplete"),
        (b'{"a": {"dtype": "F16", "shape": [1]}}', "incomplete"),
        (b'{"a": {"dtype": "F16", "shape": [1], "data_offsets": [2]}}', "incomplete"),
        (b'{"a": {"dtype": "F16", "shape": [1], "data_offsets": [0, {}]}}', "something was added to it"),
        (b'{"a": {"dtype": "F16", "shape": [1], "data_offsets": [2, 4]}}', "says 4: it was cut short"),
        (b'{"a": {"dtype": "I8", "shape": [1], "data_offsets": [0, 1]}}', "something was added to it"),
        (b'{"a": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]}}', "it was cut short"),
    ],
)  # fmt: skip
def test_impossible_header_is_refused(path, text, words):
    assert words in complaint(path, joined(text, b"\0\0"))


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": ["F16"]}, {"dtype": "X9"}, {"dtype": "BF16"}, {"dtype": "F8_E4M3", "shape": [2]}, {"shape": [-1]},
        {"shape": [1.0]}, {"shape": [10**9, 10**9]}, {"shape": [2**62, 4]}, {"shape": [0]}, {"data_offsets": [1, 2]},
        {"data_offsets": [2, 2]}, {"data_offsets": [True, 2]}, {"data_offsets": [0, 2.0]}, {"data_offsets": "02"},
    ],
)  # fmt: skip
def test_tensor_that_cannot_be_is_refused(path, entry):
    path.write_bytes(joined({"a": {"dtype": "F16", "shape": [1], "data_offsets": [0, 2]} | entry}, b"\0\0"))
    with pytest.raises(ModelError, match="is damaged, or was not written by Tessera"):
        read_tensors(path)


@pytest.mark.parametrize("length", [0, 1, LONGEST_HEADER + 1, 2**40, 2**63, 2**64 - 1])
def test_impossible_header_length_is_refused(path, length):
    assert "its header says to have" in complaint(path, length.to_bytes(8, "little") + b'{"a": 1}')


def test_header_within_the_header_is_checked_as_strictly(path):
    assert "it has a key twice" in complaint(path, joined({"__metadata__": {"tessera": '{"a": 1, "a": 2}'}}))


@pytest.mark.parametrize("filling", ["{},", "1,", "[[]],", '{"a":{"b":{}}},'])
def test_longest_header_takes_little_memory(filling):
    text = '{"a": [' + filling * (LONGEST_HEADER // 8 // len(filling)) + "1]}"  # an eighth may take an eighth
    tracemalloc.start()
    parse_json(text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MOST_BYTES / 8


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
    """Return the weights and header of a file, or None where it gets a `ModelError`; anything else is raised."""
    path.write_bytes(content)
    try:
        net, header = load_model(path)
    except ModelError:
        return None
    return {name: tensor.tolist() for name, tensor in net.state_dict().items()}, header


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

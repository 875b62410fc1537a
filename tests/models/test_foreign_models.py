"""Files that are no models, or another program's: each is told what it is, and nothing in it is run."""

from __future__ import annotations

import json
import os
import pickle
import zipfile

import pytest
import torch

from napari_tessera.core.errors import ModelError
from napari_tessera.models.header import read_header
from napari_tessera.models.weights import load_unet, write_tensors
from tests.helpers.model_bytes import complaint, joined, parts, with_fields


@pytest.fixture
def path(tmp_path):
    """Where a test writes its model file."""
    return tmp_path / "model.safetensors"


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

"""Importing and removing models: whole or not at all, and never one that comes with Tessera."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from napari_tessera.core.errors import FileError, ModelError, ParameterError
from napari_tessera.models.registry import find, import_model, list_models, remove_model
from tests.helpers.model_bytes import joined, rewritten, sound_model, with_fields

pytestmark = pytest.mark.usefixtures("shipped_cells")


def test_imported_model_is_the_same_file_under_its_own_name(yeast_file, own_models):
    entry = import_model(yeast_file)
    assert entry.path == own_models / "yeast.safetensors"
    assert entry.path.read_bytes() == yeast_file.read_bytes()
    assert find("yeast").title == "Yeast"


def test_import_leaves_nothing_else(yeast_file, own_models):
    import_model(yeast_file)
    assert os.listdir(own_models) == ["yeast.safetensors"]


def test_imported_model_takes_another_name(yeast_file):
    assert import_model(yeast_file, "beer").name == "beer"


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "..", " a", "a ", "x" * 65, "a\n", "con", "LPT1.old"])
def test_name_that_no_file_can_have_is_refused(yeast_file, name, own_models):
    with pytest.raises(ParameterError, match="cannot be the name of a model"):
        import_model(yeast_file, name)
    assert not own_models.exists()


def test_name_in_the_file_cannot_lead_out_of_the_folder(yeast_file, own_models):
    yeast_file.write_bytes(with_fields(sound_model(), name="../outside"))
    with pytest.raises(ModelError, match=r"name is '\.\./outside', but it should be a line of text without slashes"):
        import_model(yeast_file)
    assert not own_models.exists()


def test_taken_name_is_refused_unless_asked(yeast_file):
    import_model(yeast_file)
    yeast_file.write_bytes(with_fields(sound_model(), name="yeast", title="Newer"))
    with pytest.raises(ModelError, match="There is a model 'yeast' already"):
        import_model(yeast_file)
    assert find("yeast").title == "Yeast"
    assert import_model(yeast_file, overwrite=True).title == "Newer"


@pytest.mark.parametrize("name", ["cells", "CELLS"])
def test_shipped_model_is_never_replaced(yeast_file, name, shipped_cells):
    with pytest.raises(ModelError, match="comes with Tessera"):
        import_model(yeast_file, name, overwrite=True)
    assert os.listdir(shipped_cells) == ["cells.safetensors"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        sound_model()[:-1],
        joined({"__metadata__": {"format": "pt"}}),
        rewritten(sound_model(), lambda arrays: arrays["rise.0.bias"].fill(float("nan"))),
        sound_model()[:-1] + bytes([sound_model()[-1] ^ 1]),
    ],
    ids=["empty", "cut", "foreign", "nan", "flipped"],
)
def test_file_that_could_not_be_loaded_is_not_imported(yeast_file, content, own_models):
    yeast_file.write_bytes(content)
    with pytest.raises(ModelError):
        import_model(yeast_file, "yeast", overwrite=True)
    assert not own_models.exists()


def test_import_that_fails_half_way_leaves_the_old_model_and_nothing_else(yeast_file, own_models, monkeypatch):
    import_model(yeast_file)
    before = find("yeast").sha256()

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(FileError, match="is full"):
        import_model(yeast_file, overwrite=True)
    assert os.listdir(own_models) == ["yeast.safetensors"]
    assert find("yeast").sha256() == before


def test_removed_model_is_gone(yeast_file):
    path = import_model(yeast_file).path
    assert remove_model("yeast") == path
    assert [entry.name for entry in list_models()] == ["cells"]


def test_damaged_model_can_be_removed(own_models):
    own_models.mkdir()
    (own_models / "bad.safetensors").write_bytes(b"")
    remove_model("bad")
    assert os.listdir(own_models) == []


def test_shipped_model_is_never_removed(shipped_cells):
    with pytest.raises(ParameterError, match="cannot be removed"):
        remove_model("cells")
    assert os.listdir(shipped_cells) == ["cells.safetensors"]


def test_model_is_removed_by_name_and_never_by_path(yeast_file):
    with pytest.raises(ParameterError, match="There is no model"):
        remove_model(str(yeast_file))
    assert yeast_file.exists()


@pytest.mark.parametrize("name", ["Zellkern-ü", "細胞_2", "u\u0308"])
def test_letters_of_any_language_make_a_name(yeast_file, name):
    entry = import_model(yeast_file, name)
    assert find(name).path == entry.path


def test_taken_name_says_how_to_replace_the_model(yeast_file):
    import_model(yeast_file)
    with pytest.raises(ModelError, match="--overwrite"):
        import_model(yeast_file)


def test_model_is_not_imported_over_itself(yeast_file):
    entry = import_model(yeast_file)
    with pytest.raises(FileError, match="was read as input"):
        import_model(entry.path, overwrite=True)

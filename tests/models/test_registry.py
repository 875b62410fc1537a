"""The models there are: shipped and own, listed, and found by name or path."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

import napari_tessera as tessera
from napari_tessera.core.errors import ModelError, ParameterError
from napari_tessera.models import registry as catalogue
from napari_tessera.models.header import read_header
from napari_tessera.models.registry import find, list_models
from tests.helpers.model_bytes import sound_model

pytestmark = pytest.mark.usefixtures("shipped_cells")


def put(folder, name, content):
    """Write a file without the catalogue."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)


def listed():
    return [(entry.name, entry.is_shipped) for entry in list_models()]


def test_shipped_models_come_first_then_own_by_name(own_models):
    put(own_models, "b.safetensors", sound_model())
    put(own_models, "a.safetensors", sound_model())
    assert listed() == [("cells", True), ("a", False), ("b", False)]


def test_models_are_public():
    assert [entry.name for entry in tessera.list_models()] == ["cells"]


def test_entry_says_what_the_header_says(yeast_file):
    entry = find(yeast_file)
    assert (entry.title, entry.task, entry.classes, entry.diameter_px, entry.ndim) == (
        "Yeast", "objects", ("background", "class 1"), 20.5, 2,
    )  # fmt: skip
    assert entry.n_bytes == yeast_file.stat().st_size


def test_damaged_own_file_is_listed_with_its_error(own_models):
    put(own_models, "bad.safetensors", sound_model()[:-1])
    entry = list_models()[1]
    assert entry.name == "bad"
    assert "it was cut short" in entry.error
    assert (entry.title, entry.classes, entry.ndim) == ("bad", (), 0)


def test_folder_named_like_a_model_is_listed_with_its_error(own_models):
    (own_models / "folder.safetensors").mkdir(parents=True)
    assert "is a folder" in list_models()[1].error


def test_other_files_are_left_out(own_models):
    put(own_models, "notes.txt", b"")
    put(own_models, ".cells.safetensors.abc.part", b"")
    put(own_models, ".hidden.safetensors", b"")
    assert listed() == [("cells", True)]


def test_own_file_with_the_name_of_a_shipped_one_is_not_used(own_models, shipped_cells):
    put(own_models, "Cells.safetensors", sound_model())
    assert "Rename the file" in list_models()[1].error
    assert find("cells").path.parent == shipped_cells


def test_folder_that_cannot_be_read_is_named(own_models):
    own_models.write_bytes(b"a file where a folder should be")
    with pytest.raises(ModelError, match="TESSERA_MODELS name another"):
        list_models()


def test_own_folder_lies_with_the_data_of_other_programs(monkeypatch):
    monkeypatch.delenv("TESSERA_MODELS")
    assert catalogue.user_folder().parts[-2:] == ("napari-tessera", "models")


def test_own_folder_can_be_named_from_the_home_folder(monkeypatch):
    monkeypatch.setenv("TESSERA_MODELS", "~/models")
    assert catalogue.user_folder() == Path.home() / "models"


def test_model_is_found_by_name():
    assert find("cells").is_shipped


def test_model_is_found_by_path_in_words(yeast_file):
    assert find(str(yeast_file)).name == "download"


def test_file_in_the_current_folder_is_found(yeast_file, monkeypatch):
    monkeypatch.chdir(yeast_file.parent)
    assert find("download.safetensors").title == "Yeast"


def test_shipped_file_is_shipped_when_found_by_path(shipped_cells):
    assert find(shipped_cells / "cells.safetensors").is_shipped


def test_unknown_name_gets_the_nearest():
    with pytest.raises(ParameterError, match=r"There is no model 'cels'\. Did you mean 'cells'\?") as caught:
        find("cels")
    assert caught.value.parameter == "model"


def test_quite_unknown_name_gets_all_names():
    with pytest.raises(ParameterError, match="There are: cells"):
        find("quite another")


def test_file_that_cannot_be_used_is_not_found(tmp_path):
    with pytest.raises(ModelError, match="There is no file"):
        find(tmp_path / "none.safetensors")


def test_damaged_own_model_is_not_found(own_models):
    put(own_models, "bad.safetensors", b"")
    with pytest.raises(ModelError, match="is empty"):
        find("bad")


def test_digest_is_that_of_the_file_as_it_is_now(yeast_file):
    entry = find(yeast_file)
    first = entry.sha256()
    assert first == hashlib.sha256(yeast_file.read_bytes()).hexdigest()
    yeast_file.write_bytes(sound_model())
    assert entry.sha256() == hashlib.sha256(sound_model()).hexdigest() != first


def test_digest_of_a_file_that_is_gone_is_a_kind_error(yeast_file):
    entry = find(yeast_file)
    yeast_file.unlink()
    with pytest.raises(ModelError, match="cannot be read any more"):
        entry.sha256()


def test_listing_loads_no_torch(yeast_file, own_models):
    own_models.mkdir()
    yeast_file.rename(own_models / "yeast.safetensors")
    code = (
        "import sys; from napari_tessera.models import registry as catalogue; "
        "assert 'Yeast' in [entry.title for entry in catalogue.list_models()]; assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_models_that_come_with_tessera_can_be_used():
    files = list((Path(tessera.__file__).parent / "models" / "shipped").iterdir())
    assert "nuclei-unet.safetensors" in [path.name for path in files]
    assert [read_header(path)["name"] for path in files] == [path.stem for path in files]
    most = {"unet": 8e6, "click": 8e6, "mask_rcnn": 25e6}
    assert all(path.stat().st_size <= most[read_header(path)["architecture"]["kind"]] for path in files)


def test_file_with_another_ending_in_the_current_folder_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("w.pt").write_bytes(b"PK\x03\x04" + bytes(60))
    with pytest.raises(ModelError, match=r"w\.pt"):
        find("w.pt")


def test_model_goes_before_a_file_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("cells").write_bytes(b"")
    assert find("cells").is_shipped


def test_shipped_model_is_found_where_the_own_folder_cannot_be_read(own_models):
    own_models.write_bytes(b"a file where a folder should be")
    assert find("cells").is_shipped


@pytest.mark.parametrize("name", ["x.safetensors", "X.SafeTensors", "auto", "coco", "Nothing"])
def test_a_name_that_means_something_else_is_refused(name):
    with pytest.raises(ParameterError, match="cannot be the name of a model"):
        catalogue.checked_name(name)

"""`tessera models`: what it prints, what it does, how it ends."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from tifffile import imwrite

from napari_tessera.cli.main import main
from napari_tessera.models import registry as catalogue
from tests.helpers.model_bytes import sound_model, with_fields
from tests.helpers.scenes import many_boxes
from tests.helpers.tiny_models import save_bright

CARD = "# Yeast\n\n" + "Trained on pictures of many beers. " * 8 + "\n\n| seen | " + "far too wide " * 20 + "|\n"


pytestmark = pytest.mark.usefixtures("shipped_cells")


@pytest.fixture
def file(yeast_file, monkeypatch):
    """A model file in the current folder."""
    monkeypatch.chdir(yeast_file.parent)
    yeast_file.write_bytes(with_fields(yeast_file.read_bytes(), card=CARD, cite="doi:10.1000/1"))
    return yeast_file.name


def printed(capsys, *words):
    assert main(["models", *words]) == 0
    return capsys.readouterr().out


def refused(capsys, code, *words):
    assert main(["models", *words]) == code
    return capsys.readouterr().err


def test_list_says_name_dimensions_size_origin_and_what_it_finds(capsys, own_models):
    lines = printed(capsys).splitlines()
    assert lines[0].split() == ["model", "images", "size", "from", "finds"]
    size = f"{(catalogue.shipped_folder() / 'cells.safetensors').stat().st_size / 1e3:.1f}"
    assert lines[1].split() == ["cells", "2-D", size, "kB", "Tessera", "Finds", "cells."]
    assert lines[-1] == f"Your own models: {own_models}"


def test_list_holds_own_models(capsys, file):
    main(["models", "import", file])
    assert "yeast  2-D" in printed(capsys)


def test_list_says_why_a_file_cannot_be_used(capsys, own_models):
    own_models.mkdir()
    (own_models / "bad.safetensors").write_bytes(b"")
    assert "cannot be used:" in printed(capsys)


@pytest.mark.parametrize("model", ["yeast", "download.safetensors"])
def test_card_is_shown_by_name_and_by_path(capsys, file, model):
    main(["models", "import", file])
    shown = printed(capsys, "show", model)
    assert "Yeast\n=====" in shown
    assert "20.5 px" in shown
    assert "CC0-1.0" in shown
    assert "doi:10.1000/1" in shown
    assert catalogue.find(model).sha256() in shown


def test_text_of_a_card_is_wrapped_and_its_tables_are_not(capsys, file, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    lines = printed(capsys, "show", file).splitlines()
    text = [line for line in lines if "beers" in line]
    assert len(text) > 1
    assert max(map(len, text)) <= 60
    assert [line for line in lines if line.startswith("| seen")] == [CARD.splitlines()[-1]]


def test_unknown_model_ends_with_2_and_the_nearest_name(capsys):
    assert "Did you mean 'cells'?" in refused(capsys, 2, "show", "cell")


def test_missing_file_ends_with_1(capsys):
    assert "There is no file" in refused(capsys, 1, "show", "none.safetensors")


def test_import_says_where_the_model_lies(capsys, file, own_models):
    assert printed(capsys, "import", file, "--name", "beer") == f"Imported beer: {own_models / 'beer.safetensors'}\n"


def test_import_of_a_damaged_file_ends_with_1_and_leaves_nothing(capsys, tmp_path, own_models):
    (tmp_path / "cut.safetensors").write_bytes(sound_model()[:-1])
    assert "it was cut short" in refused(capsys, 1, "import", str(tmp_path / "cut.safetensors"))
    assert not own_models.exists()


def test_import_under_an_impossible_name_ends_with_2(capsys, file):
    assert "cannot be the name" in refused(capsys, 2, "import", file, "--name", "a/b")


def test_import_under_a_taken_name_ends_with_1_unless_it_may_replace(capsys, file):
    main(["models", "import", file])
    assert "already" in refused(capsys, 1, "import", file)
    assert "Imported yeast" in printed(capsys, "import", file, "--overwrite")


def test_removed_model_is_gone(capsys, file, own_models):
    main(["models", "import", file])
    assert "Removed" in printed(capsys, "remove", "yeast")
    assert os.listdir(own_models) == []


def test_removing_a_shipped_model_ends_with_2(capsys):
    assert "cannot be removed" in refused(capsys, 2, "remove", "cells")


@pytest.mark.parametrize(
    "words", [["shw"], ["show"], ["suggest"], ["import"], ["remove"], ["--al"], ["show", "cells", "--al"]]
)
def test_bad_arguments_end_with_2(words):
    assert main(["models", *words]) == 2


@pytest.mark.parametrize("words", [[], ["show"], ["suggest"], ["import"], ["remove"]])
def test_help_is_printed(capsys, words):
    assert "usage: tessera models" in printed(capsys, *words, "--help")


@pytest.mark.parametrize("words", [["models"], ["models", "show", "download.safetensors"]])
def test_neither_torch_nor_napari_is_loaded(file, words):
    code = (
        f"import sys; from napari_tessera.cli.main import main; assert main({words}) == 0; "
        "assert not {'torch', 'napari', 'qtpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_channels_are_told_apart_even_if_a_name_has_a_comma(capsys, tmp_path):
    path = tmp_path / "comma.safetensors"
    path.write_bytes(with_fields(sound_model(), channels=["blue", "mean, compressed", "turned"]))
    assert "blue; mean, compressed; turned" in " ".join(printed(capsys, "show", str(path)).split())


@pytest.fixture
def image(tmp_path, own_models):
    """The file of an image with twelve bright boxes, and a model of one's own that finds them."""
    own_models.mkdir()
    save_bright(own_models / "bright.safetensors", diameter_px=None)
    imwrite(tmp_path / "boxes.tif", many_boxes())
    return tmp_path / "boxes.tif"


def test_suggestions_are_a_table_with_the_best_model_first(capsys, image):
    lines = printed(capsys, "suggest", str(image)).splitlines()
    assert lines[0].split("  ")[0] == "model"
    name, network, share, count, diameter = lines[1].split()
    assert (name, network, count, diameter) == ("bright", "unet", "12", "any")
    assert share.endswith("%")
    assert lines[-1].startswith("Bright things (bright) fits best")


def test_where_no_model_fits_the_last_line_says_so(capsys, image):
    imwrite(image, np.full((64, 64), 9, np.uint8))
    assert printed(capsys, "suggest", str(image)).splitlines()[-1].startswith("None of the models fits")


def test_without_a_model_of_that_network_the_list_is_empty(capsys, image):
    lines = printed(capsys, "suggest", str(image), "--network", "mask-rcnn").splitlines()
    assert lines[-1] == "None of the models takes such images."


def test_missing_image_ends_with_1(capsys):
    assert "missing.png" in refused(capsys, 1, "suggest", "missing.png")

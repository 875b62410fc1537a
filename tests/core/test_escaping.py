"""What a stranger's file names does nothing in terminals, tables, pages and labels of the window but be shown."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

import napari_tessera as tessera
from napari_tessera import io
from napari_tessera.cli.evaluate import read_table
from napari_tessera.cli.main import main
from napari_tessera.core.errors import cell, from_cell, visible
from napari_tessera.io.write import _write_table
from napari_tessera.models.registry import find
from napari_tessera.training.report import chart
from tests.helpers.model_bytes import with_fields

TURNED = "cells\u202efit.exe"
NAMES = ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\tx", "'=1", "''=1", "'quoted'", "＝1", "nucleus", "a=b", ""]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_comes_back_from_a_table(name):
    assert from_cell(cell(name)) == name
    assert not cell(name).startswith(("=", "+", "-", "@", "\t", "＝"))


@pytest.mark.parametrize("character", ["\x1b", "\x07", "\r", "\x9b", "\u200e", "\u202a", "\u202e", "\u2066", "\u2069"])
def test_control_and_direction_characters_are_written_out(character):
    shown = visible(f"a{character}b")
    assert character not in shown
    assert shown.isprintable()


@pytest.mark.parametrize("text", ["größe", "細胞", "خلية", "µm", "🔬", "two\nlines", "a\tb"])
def test_any_script_is_shown_as_it_is(text):
    assert visible(text) == text


def test_a_table_holds_no_formula_and_numbers_stay_numbers(tmp_path):
    names = np.array(["=1+1", "cells", TURNED])
    _write_table(tmp_path / "a.csv", {"label": np.arange(1, 4), "class": names, "x (=µm)": np.array([-1.5, 0, 2])})
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["label", "class", "x (=µm)"]
    assert [row[1:] for row in rows[1:]] == [["'=1+1", "-1.5"], ["cells", "0.0"], ["cells\\u202efit.exe", "2.0"]]
    assert read_table(tmp_path / "a.csv")["class"].tolist() == ["=1+1", "cells", "cells\\u202efit.exe"]


@pytest.fixture
def turned(own_models, sound):
    """A model whose texts turn the direction of what stands behind them."""
    own_models.mkdir(exist_ok=True)
    texts = dict.fromkeys(("title", "summary", "card", "licence", "cite"), TURNED)
    content = with_fields(sound, **texts, classes=["background", TURNED], channels=[TURNED, TURNED])
    (own_models / "turned.safetensors").write_bytes(content)
    return "turned"


@pytest.mark.parametrize("words", [["models"], ["models", "show", "turned"]])
def test_a_model_does_nothing_to_a_terminal(turned, capsys, words):
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "cells\\u202efit.exe" in said
    assert "\u202e" not in said


def test_the_texts_of_a_model_are_shown_everywhere_as_they_are_in_a_terminal(turned):
    entry = find(turned)
    texts = [entry.title, entry.summary, entry.card, entry.licence, entry.header["cite"], *entry.classes]
    assert texts == [*["cells\\u202efit.exe"] * 5, "background", "cells\\u202efit.exe"]


def test_the_name_of_a_file_does_nothing_to_a_terminal(tmp_path, capsys):
    name = tmp_path / f"\x1b[2J{TURNED}.npy"
    np.save(name, np.eye(9))
    assert main(["threshold", str(name), "-o", str(tmp_path / "out.npy")]) == 0
    assert main(["threshold", str(tmp_path / TURNED), "-o", str(tmp_path / "out.npy")]) == 1
    said = "".join(capsys.readouterr())
    assert "\\x1b[2Jcells\\u202efit.exe.npy" in said
    assert not {"\x1b", "\u202e"} & set(said)


def test_a_chart_shows_tags_and_directions_as_text():
    drawn = chart(f"<script>{TURNED}", {"<b>": [(0, 1.0), (1, 2.0)]})
    assert "&lt;script&gt;cells\\u202efit.exe" in drawn
    assert "&lt;b&gt;" in drawn


def test_half_a_character_in_a_name_is_shown_in_a_record(tmp_path):
    result = tessera.segment("threshold", np.eye(9), name="a\udcff")
    io.write_result(result, tmp_path / "out.npy")
    record = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert record["inputs"]["image"]["name"] == "a\\udcff"

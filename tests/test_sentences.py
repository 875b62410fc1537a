"""What an error quotes from a stranger's file can be printed anywhere."""

from pathlib import Path

import pytest

from napari_tessera.cli.batch import naming
from napari_tessera.cli.evaluate import read_table
from napari_tessera.core.errors import FileError, InputError, ParameterError, RunError
from napari_tessera.io import read_points

KINDS = [lambda text: ParameterError(text, "name"), FileError, InputError, RunError]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("character", ["\x1b", "\u202e", "\udcff", "\0", "\n"])
def test_characters_that_steer_a_terminal_are_escaped(kind, character):
    assert str(kind(f"There is no {character}.")) == f"There is no {ascii(character)[1:-1]}."


def test_letters_of_any_language_stay():
    assert str(InputError("größe µm 細胞 é 🔬")) == "größe µm 細胞 é 🔬"


def test_no_address_in_memory_is_told():
    assert str(FileError("It holds <ast.Name object at 0x7f3e2cb2bac0>.")) == "It holds <ast.Name>."


def test_of_a_very_long_text_begin_and_end_are_shown():
    text = str(InputError("It begins " + "x" * 100_000 + " and ends."))
    assert text.startswith("It begins x")
    assert text.endswith("x and ends.")
    assert len(text) < 2100


def test_a_table_cannot_colour_the_terminal(tmp_path):
    (tmp_path / "a.csv").write_text("y,x\n1,\x1b[31m\n")
    with pytest.raises(FileError) as caught:
        read_points(tmp_path / "a.csv")
    assert str(caught.value).isprintable()


def test_a_tab_in_the_name_of_an_image_is_written_out():
    assert naming(Path("a\tb.tif"), InputError("Give an image.")) == "a\\tb.tif: Give an image."


@pytest.mark.parametrize("row", ["1,nuclei,thing,more", "1,nuclei"])
def test_a_row_with_another_number_of_cells_is_refused(tmp_path, row):
    (tmp_path / "a.csv").write_text(f"label,class,kind\n{row}\n")
    with pytest.raises(FileError, match="more or fewer cells"):
        read_table(tmp_path / "a.csv")

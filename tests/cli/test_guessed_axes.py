"""The command line says it where the axes of a file were guessed, once, and where it matters."""

import numpy as np
import pytest
import tifffile

from napari_tessera.cli.main import main
from napari_tessera.io import read_image
from napari_tessera.io.image_file import with_axes

FILM = np.tile(np.eye(6, dtype=np.uint16), (3, 1, 1))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def told(capsys, *images, more=(), out="labels/"):
    """Run a method, and return what was printed about axes."""
    assert main(["threshold", *images, "-o", out, *more]) == 0
    return [line for line in capsys.readouterr().err.splitlines() if "axes" in line]


def unnamed(path, data=FILM):
    tifffile.imwrite(path, data, photometric="minisblack")
    return path


def test_a_film_whose_file_names_no_axes_is_said_to_be_taken_for_a_volume(capsys):
    assert told(capsys, unnamed("film.tif")) == [
        "film.tif: the file does not name its axes; they were guessed as ZYX, a volume. If this is wrong, give --axes, "
        "for example --axes TYX for a time series."
    ]


@pytest.mark.parametrize(
    ("shape", "meaning", "example"),
    [
        ((9, 8, 2), "ZYX, a volume", "YXC for a plane with channels"),
        ((3, 4, 6, 6), "TZYX, a time series of volumes", "TCYX for a time series with channels"),
        ((4, 5, 6, 2), "TZYX, a time series of volumes", "ZYXC for a volume with channels"),
        ((4, 6, 6, 3), "ZYXC, a volume in colour", "TYXC for a time series in colour"),
    ],
)
def test_the_example_is_what_such_a_shape_may_be(capsys, shape, meaning, example):
    np.save("a.npy", np.random.default_rng(0).integers(0, 99, shape).astype(np.uint8))
    (line,) = told(capsys, "a.npy")
    assert f"guessed as {meaning}. If" in line
    assert line.endswith(f"for example --axes {example}.")


def test_of_several_files_the_first_is_named_and_the_others_are_counted(capsys):
    files = [unnamed(f"{name}.tif") for name in "abc"]
    np.save("plane.npy", FILM[0])
    first, last = told(capsys, "plane.npy", *files)
    assert first.startswith("a.tif: the file does not name its axes")
    assert last == "tessera: the axes of 2 more images were guessed too."


def test_nothing_is_said_of_pictures_in_grey_or_in_colour(capsys):
    np.save("grey.npy", FILM[0])
    np.save("colour.npy", np.random.default_rng(0).integers(0, 99, (9, 9, 3)).astype(np.uint8))
    assert told(capsys, "grey.npy", "colour.npy") == []


def test_nothing_is_said_of_a_file_that_names_its_axes(capsys):
    tifffile.imwrite("film.tif", FILM, imagej=True, metadata={"axes": "TYX"})
    assert told(capsys, "film.tif") == []


@pytest.mark.parametrize("more", [["--axes", "ZYX"], ["--axes", "TYX"], ["--quiet"]])
def test_nothing_is_said_if_axes_are_given_or_nothing_is_to_be_said(capsys, more):
    assert told(capsys, unnamed("a.tif"), unnamed("b.tif"), more=more) == []


def test_a_recipe_that_names_the_axes_is_no_guess(capsys):
    told(capsys, unnamed("film.tif"), out="out.tif")
    assert main(["run", "out.json", "film.tif", "-o", "again.tif"]) == 0
    assert capsys.readouterr().err == ""


def test_a_picture_knows_whether_its_axes_were_guessed():
    assert read_image(unnamed("film.tif")).has_guessed_axes
    assert not read_image("film.tif", axes="ZYX").has_guessed_axes
    assert not with_axes(read_image("film.tif"), "ZYX").has_guessed_axes
    assert not with_axes(read_image("film.tif"), "TYX").has_guessed_axes

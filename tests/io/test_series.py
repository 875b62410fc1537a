"""Files with several images: the largest or the chosen one is read, and the others are listed."""

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_tessera.cli.main import main
from napari_tessera.core.errors import FileError
from napari_tessera.core.spatial import Spatial
from napari_tessera.io import read_image, read_labels
from napari_tessera.io.ome_zarr import write_ome_zarr


def in_micrometres(size):
    return {f"PhysicalSize{axis}": size for axis in "XY"} | {f"PhysicalSize{axis}Unit": "µm" for axis in "XY"}


@pytest.fixture
def two_series(tmp_path):
    """A small image of ones, 1 µm a pixel, and a larger one of twos, 0.5 µm a pixel."""
    path = tmp_path / "two.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(
            np.full((16, 16), 1, np.uint8), metadata={"axes": "YX", "Name": "overview of all", **in_micrometres(1)}
        )
        file.write(np.full((48, 64), 2, np.uint8), metadata={"axes": "YX", "Name": "detail", **in_micrometres(0.5)})
    return path


def test_the_largest_image_is_read_with_its_own_pixel_size_and_all_are_listed(two_series):
    picture = read_image(two_series)
    assert (picture.data.shape, picture.data.max()) == ((48, 64), 2)
    assert picture.spatial.scale == (0.5, 0.5)
    assert picture.notes == (
        "It holds 2 images: 0 (overview of all, 16 × 16), 1 (detail, 48 × 64). Image 1, the largest, was read; choose "
        "another with `series` (--series on the command line).",
    )


def test_the_chosen_image_is_read_without_a_note(two_series):
    picture = read_image(two_series, series=0)
    assert (picture.data.max(), picture.spatial.scale, picture.notes) == (1, (1.0, 1.0), ())
    assert read_labels(two_series, series=0).data.max() == 1


def test_a_large_image_of_several_is_read_piece_by_piece(two_series, monkeypatch):
    monkeypatch.setattr("napari_tessera.io.tiff.LAZY_FROM_BYTES", 100)
    picture = read_image(two_series)
    assert not isinstance(picture.data, np.ndarray)
    assert np.asarray(picture.data).tolist() == np.full((48, 64), 2).tolist()


@pytest.mark.parametrize("series", ["overview of all", "overview of all, 16 × 16"])
def test_an_image_is_chosen_by_a_name_that_the_list_shows(two_series, tmp_path, series):
    assert read_image(two_series, series=series).data.shape == (16, 16)
    assert main(["threshold", str(two_series), "-o", str(tmp_path / "out.tif"), "--series", series]) == 0
    assert tifffile.imread(tmp_path / "out.tif").shape == (16, 16)


def test_a_name_that_no_image_has_is_refused_with_the_names(two_series):
    with pytest.raises(FileError, match="no image named 'nuclei'; there are 'overview of all', 'detail'"):
        read_image(two_series, series="nuclei")


def test_a_name_that_several_images_have_is_refused_with_their_numbers(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        for side in (16, 32):
            file.write(np.ones((side, side), np.uint8), metadata={"axes": "YX", "Name": "well"})
    with pytest.raises(FileError, match=r"The images 0, 1 are named 'well'\. Give the number"):
        read_image(tmp_path / "a.ome.tif", series="well")


@pytest.mark.parametrize("series", [2, -1])
def test_an_image_that_is_not_there_is_refused(two_series, series):
    with pytest.raises(FileError, match=f"images 0 to 1, but series {series}"):
        read_image(two_series, series=series)


def test_of_equal_images_the_first_is_read(tmp_path):
    frames = [Image.fromarray(np.full((8, 8), value, np.uint8)) for value in (10, 20, 30)]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    picture = read_image(tmp_path / "film.gif")
    assert "Image 0, the first, was read" in picture.notes[0]
    assert read_image(tmp_path / "film.gif", series=2).data.max() == 30


def test_scenes_of_a_zarr_group_are_its_images(tmp_path):
    zarr.open_group(tmp_path / "scenes.zarr", mode="w", zarr_format=2).attrs["bioformats2raw.layout"] = 3
    for number, side in enumerate((8, 16)):
        labels = np.full((side, side), number + 1, np.int32)
        write_ome_zarr(tmp_path / "scenes.zarr" / str(number), labels, Spatial.plain("YX"), f"scene {number}")
    picture = read_image(tmp_path / "scenes.zarr")
    assert np.asarray(picture.data).shape == (16, 16)
    assert "0 (scene 0, 8 × 8), 1 (scene 1, 16 × 16)" in picture.notes[0]
    assert np.asarray(read_image(tmp_path / "scenes.zarr", series=0).data).max() == 1


def test_an_array_of_an_npz_is_chosen_by_its_number(tmp_path):
    np.savez(tmp_path / "two.npz", image=np.zeros((4, 4)), labels=np.ones((4, 4), int))
    assert read_labels(tmp_path / "two.npz", series=1).data.max() == 1
    assert read_labels(tmp_path / "two.npz", series="labels").data.max() == 1
    with pytest.raises(FileError, match=r"holds 2 arrays.*--series"):
        read_labels(tmp_path / "two.npz")


def test_the_command_line_takes_a_series_and_names_what_it_left_out(two_series, tmp_path, capsys):
    out = tmp_path / "labels.tif"
    assert main(["threshold", str(two_series), "-o", str(out)]) == 0
    assert "Image 1, the largest, was read" in capsys.readouterr().err
    assert main(["threshold", str(two_series), "-o", str(out), "--series", "0", "--overwrite"]) == 0
    assert tifffile.imread(out).shape == (16, 16)
    assert main(["evaluate", str(two_series), str(two_series), "--series", "0"]) == 0

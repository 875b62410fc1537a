"""Whatever is wrong with a file, the user gets a sentence that names it."""

import errno
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_tessera.core.errors import FileError
from napari_tessera.core.result import LabelImage, Result
from napari_tessera.core.spatial import Spatial
from napari_tessera.io import read_image, read_labels, read_points, write_result
from napari_tessera.io.npy import write_npy
from napari_tessera.io.read import load

ENDINGS = [".tif", ".ome.tif", ".png", ".jpg", ".npy", ".npz", ".gif"]


def a_result(shape=(4, 5), largest=2):
    labels = np.zeros(shape, np.int64)
    labels[..., 1] = largest
    spatial = Spatial.plain("ZYX"[-len(shape) :])
    return Result((LabelImage("threshold", labels, spatial, "objects", {"label": np.array([1])}),), {"tessera": 1})


@pytest.mark.skipif(os.name == "nt", reason="Windows lets not every user make links")
def test_a_link_to_nowhere_is_called_one(tmp_path):
    (tmp_path / "cells.tif").symlink_to(tmp_path / "gone.tif")
    with pytest.raises(FileError, match=r"cells\.tif is a link to .*gone\.tif, which does not exist"):
        read_image(tmp_path / "cells.tif")


def test_missing_file_names_the_nearest(tmp_path):
    (tmp_path / "cells.tif").touch()
    with pytest.raises(FileError, match=r"There is no file .*cels\.tif\. Did you mean cells\.tif\?"):
        read_image(tmp_path / "cels.tif")


def test_missing_folder_is_said(tmp_path):
    with pytest.raises(FileError, match="There is no folder"):
        read_image(tmp_path / "nowhere" / "a.tif")


def test_folder_is_no_image(tmp_path):
    with pytest.raises(FileError, match="is a folder"):
        read_image(tmp_path)


def test_empty_file_is_said(tmp_path):
    (tmp_path / "a.tif").touch()
    with pytest.raises(FileError, match=r"a\.tif is empty \(0 bytes\)"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("ending", ENDINGS)
def test_text_under_an_image_name_is_said_to_be_damaged(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    path.write_text("this is no image at all")
    with pytest.raises(FileError, match=rf"a{re.escape(ending)} cannot be read as an image"):
        read_image(path)


def whole_file(path):
    values = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, values, compression="zlib")
    else:
        Image.fromarray(values).save(path)
    return path.read_bytes()


@pytest.mark.parametrize("ending", [".tif", ".png", ".jpg", ".npy"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_file_cut_off_raises_a_kind_error(tmp_path, ending, share):
    path = tmp_path / f"a{ending}"
    content = whole_file(path)
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(FileError, match=re.escape(path.name)):
        read_image(path)


@pytest.mark.parametrize("kind", [{"imagej": True}, {"ome": True}, {"metadata": None}, {"compression": "zlib"}])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.95])
def test_stack_cut_off_is_never_taken_for_one_plane(tmp_path, kind, share):
    path = tmp_path / "a.tif"
    stack = np.random.default_rng(0).integers(0, 255, (5, 64, 64), np.uint8)
    tifffile.imwrite(path, stack, photometric="minisblack", **kind)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(FileError, match="damaged or cut off"):
        read_image(path)


def test_unknown_format_says_what_is_read_and_how_to_add_more(tmp_path):
    path = tmp_path / "a.nobodyknows"
    path.write_bytes(b"x")
    with pytest.raises(FileError, match=r"Tessera reads TIFF.*reader plugin"):
        read_image(path)


def test_pickled_array_is_never_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(FileError, match="cannot be read"):
        read_image(tmp_path / "a.npy")


def test_npz_with_two_arrays_names_them(tmp_path):
    np.savez(tmp_path / "a.npz", one=np.eye(2), two=np.eye(2))
    with pytest.raises(FileError, match="2 arrays \\(one, two\\)"):
        read_image(tmp_path / "a.npz")


def test_five_axes_without_names_ask_for_axes(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 2, 2, 2, 2)))
    with pytest.raises(FileError, match="name them with `axes`"):
        read_image(tmp_path / "a.npy")


def test_axes_of_the_wrong_number_are_said(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 2)))
    with pytest.raises(FileError, match="names 3 axes, but the image has 2"):
        read_image(tmp_path / "a.npy", axes="ZYX")


def test_level_that_does_not_exist_is_said(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 6), np.uint8))
    with pytest.raises(FileError, match="levels 0 to 0, but level 2"):
        read_image(tmp_path / "a.tif", level=2)


def test_zarr_group_without_image_lists_its_members(tmp_path):
    zarr.open_group(tmp_path / "a.zarr", mode="w").create_array("stuff", shape=(2, 2), dtype="u1")
    with pytest.raises(FileError, match="it holds stuff"):
        read_image(tmp_path / "a.zarr")


def test_zarr_plate_asks_for_a_field(tmp_path):
    zarr.open_group(tmp_path / "a.zarr", mode="w").attrs["plate"] = {}
    with pytest.raises(FileError, match="Add one field to the path"):
        read_image(tmp_path / "a.zarr")


@pytest.mark.parametrize("content", ["", "{", '{"zarr_format": 9}', "[]"])
def test_zarr_with_broken_metadata_is_said_to_be_damaged(tmp_path, content):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "zarr.json").write_text(content)
    with pytest.raises(FileError, match=r"a\.zarr"):
        read_image(tmp_path / "a.zarr")


@pytest.mark.parametrize("said", [[], [{}], [{"datasets": []}], [{"datasets": [{"path": "nowhere"}]}], "text"])
def test_ome_zarr_with_odd_metadata_is_said_to_be_damaged(tmp_path, said):
    zarr.open_group(tmp_path / "a.zarr", mode="w").attrs["multiscales"] = said
    with pytest.raises(FileError, match=r"a\.zarr"):
        read_image(tmp_path / "a.zarr")


def test_damaged_zarr_chunk_is_said_when_it_is_loaded(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", data=np.arange(64, dtype=np.uint16).reshape(8, 8))
    (chunk,) = (tmp_path / "a.zarr" / "c").rglob("0/0")
    chunk.write_bytes(b"broken")
    with pytest.raises(FileError, match=r"a\.zarr cannot be read"):
        load(read_image(tmp_path / "a.zarr"))


def test_labels_must_be_whole_numbers(tmp_path):
    np.save(tmp_path / "a.npy", np.full((2, 2), 0.5, np.float32))
    with pytest.raises(FileError, match=r"a\.npy holds 0\.5, but labels are whole numbers"):
        read_labels(tmp_path / "a.npy")


def test_labels_have_no_channels(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 6, 2), np.uint8), metadata={"axes": "YXC"})
    with pytest.raises(FileError, match="has channels"):
        read_labels(tmp_path / "a.tif", axes="YXC")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n\n", "It is empty"),
        ("a,b\n1,2\n", "It has the columns a, b"),
        ("y,x\n1,2\n3,here\n", r"Row 3 \(3, here\) does not hold 2 numbers"),
        ("y,x\n1\n", "does not hold 2 numbers"),
        ("1,2\n3\n", r"Row 2 \(3\)"),
    ],
)
def test_points_that_are_none_say_why(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(FileError, match=message):
        read_points(tmp_path / "a.csv")


def test_points_in_another_encoding_are_said_to_be_damaged(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00y")
    with pytest.raises(FileError, match="cannot be read as a table of points"):
        read_points(tmp_path / "a.csv")


def test_result_lies_beside_its_record_and_table(tmp_path):
    write_result(a_result(), tmp_path / "new" / "a.ome.tif")
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"a.ome.tif", "a.json", "a.csv"}
    assert json.loads((tmp_path / "new" / "a.json").read_text())["outputs"][0]["file"] == "a.ome.tif"
    assert (tmp_path / "new" / "a.csv").read_text().split() == ["label", "1"]


def test_unknown_output_format_lists_the_known(tmp_path):
    with pytest.raises(FileError, match=r"End its name in one of \.ome\.tif"):
        write_result(a_result(), tmp_path / "a.bmp")


def test_png_refuses_a_stack_and_leaves_nothing(tmp_path):
    with pytest.raises(FileError, match="PNG holds one plane"):
        write_result(a_result((2, 3, 4)), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_png_refuses_numbers_past_16_bits(tmp_path):
    with pytest.raises(FileError, match="up to 65535"):
        write_result(a_result(largest=65536), tmp_path / "a.png")


def test_tiff_refuses_numbers_past_32_bits(tmp_path):
    with pytest.raises(FileError, match="TIFF holds 32 bits"):
        write_result(a_result(largest=2**32), tmp_path / "a.tif")


@pytest.mark.parametrize("ending", [".tif", ".zarr"])
def test_existing_output_is_replaced_only_when_asked(tmp_path, ending):
    path, *_ = write_result(a_result(), tmp_path / f"a{ending}")
    with pytest.raises(FileError, match="exists already"):
        write_result(a_result(), path)
    write_result(a_result(largest=9), path, overwrite=True)
    assert np.asarray(read_labels(path).data).max() == 9


def test_input_is_never_overwritten(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 5)))
    picture = read_image(tmp_path / "a.npy")
    with pytest.raises(FileError, match="never overwritten"):
        write_result(a_result(), tmp_path / "a.npy", picture, overwrite=True)


def test_nothing_is_written_into_an_input_zarr(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", data=np.zeros((4, 5)))
    picture = read_image(tmp_path / "a.zarr")
    with pytest.raises(FileError, match="never overwritten"):
        write_result(a_result(), tmp_path / "a.zarr" / "labels.tif", picture)


def test_folder_that_is_no_zarr_is_never_replaced(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "notes.txt").touch()
    with pytest.raises(FileError, match="not a Zarr, so it is not replaced"):
        write_result(a_result(), tmp_path / "a.zarr", overwrite=True)


def test_output_below_a_file_is_a_kind_error(tmp_path):
    (tmp_path / "taken").touch()
    with pytest.raises(FileError, match="Nothing could be written"):
        write_result(a_result(), tmp_path / "taken" / "a.tif")


@pytest.mark.parametrize(
    ("number", "message"), [(errno.ENOSPC, "disk .* is full"), (errno.EACCES, "may not be written to")]
)
def test_failure_while_writing_keeps_the_older_file(tmp_path, monkeypatch, number, message):
    path, *_ = write_result(a_result(), tmp_path / "a.npy")

    def fail(*_, **__):
        raise OSError(number, "the system says no")

    monkeypatch.setattr(np, "save", fail)
    with pytest.raises(FileError, match=message):
        write_result(a_result(largest=9), path, overwrite=True)
    assert np.asarray(read_labels(path).data).max() == 2
    assert {entry.name for entry in tmp_path.iterdir()} == {"a.npy", "a.json", "a.csv"}


def test_tiff_that_claims_more_than_it_can_hold_is_damaged(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((32, 32), np.uint8), tile=(32, 32))
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
        file.pages.first.tags["ImageWidth"].overwrite(2**31)
    with pytest.raises(FileError, match="more than the file can hold"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("ending", [".tif", ".png", ".jpg", ".npy"])
def test_any_damage_gives_a_picture_or_a_kind_error(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    content, rng = whole_file(path), np.random.default_rng(0)
    outcomes = set()
    for _ in range(40):
        damaged = bytearray(content)
        for place in rng.integers(0, 400, 3):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            outcomes.add(load(read_image(path)).data.ndim > 1)
        except FileError as error:
            outcomes.add(path.name in str(error))
    assert outcomes == {True}


def test_full_disk_is_named_for_numpy_files_too(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("a device that is always full is needed")
    (tmp_path / "labels.npy").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        write_npy(tmp_path / "labels.npy", np.zeros((64, 64), np.int32))
    assert caught.value.errno == errno.ENOSPC

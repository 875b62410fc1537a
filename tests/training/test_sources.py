"""Images and labels of a training: matched by name or listed in an index, held back, and read."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from napari_tessera.core.errors import FileError, InputError
from napari_tessera.core.jobs import run_job
from napari_tessera.core.spatial import Spatial
from napari_tessera.io.ome_zarr import write_ome_zarr
from napari_tessera.io.tiff import write_tiff
from napari_tessera.training.data.sources import Source, from_index, from_paths, read_frames, with_validation
from napari_tessera.training.validation import compared
from tests.helpers.disc_folder import discs, train, write_discs


@pytest.fixture
def folder(tmp_path):
    return write_discs(tmp_path)


def test_files_of_two_folders_are_matched_by_name(folder):
    sources = from_paths(folder / "images", folder / "labels")
    assert [(each.image.name, each.labels.name) for each in sources] == [(f"im{n}.png",) * 2 for n in range(5)]


def test_an_image_without_labels_is_named(folder):
    (folder / "labels" / "im3.png").unlink()
    with pytest.raises(FileError, match=r"1 of 5 images.*im3"):
        from_paths(folder / "images", folder / "labels")


def test_an_index_leaves_out_other_splits_and_joins_columns_to_groups(folder):
    found = [(each.name, each.split, each.group) for each in from_index(folder / "index.csv", ["split", "kind"])]
    assert found == [
        ("im0", "train", "train even"),
        ("im1", "train", "train odd"),
        ("im2", "train", "train even"),
        ("im3", "val", "val odd"),
    ]


def test_an_index_may_name_files(folder):
    (folder / "files.csv").write_text("image,label\nimages/im1.png,labels/im1.png\n")
    (source,) = from_index(folder / "files.csv")
    assert (source.name, source.labels) == ("im1", folder / "labels" / "im1.png")


def test_an_index_may_give_names_with_their_endings(folder):
    (folder / "files.csv").write_text("name\nim1.png\nim2\n")
    found = [(each.name, each.image.name) for each in from_index(folder / "files.csv")]
    assert found == [("im1", "im1.png"), ("im2", "im2.png")]


def test_an_index_may_name_zarr_folders(folder):
    for name in ("image", "label"):
        (folder / f"{name}.zarr").mkdir()
        (folder / f"{name}.zarr" / ".zarray").write_text("{}")
    (folder / "files.csv").write_text("image,label\nimage.zarr,label.zarr\n")
    assert [each.image.name for each in from_index(folder / "files.csv")] == ["image.zarr"]


def test_files_that_are_left_out_of_an_index_need_not_be_there(folder):
    (folder / "images" / "im4.png").unlink()
    assert "im4" not in [each.name for each in from_index(folder / "index.csv")]


def test_a_short_line_of_an_index_is_left_out(folder):
    (folder / "files.csv").write_text("image,label,split\nimages/im1.png,labels/im1.png,val\nimages/im2.png\n")
    assert [each.name for each in from_index(folder / "files.csv")] == ["im1"]


def test_an_index_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "index.csv").write_bytes(b"\xff\xfe\x00n")
    with pytest.raises(FileError, match="cannot be read as a table"):
        from_index(tmp_path / "index.csv")


def test_a_folder_without_images_is_refused(folder):
    (folder / "empty").mkdir()
    with pytest.raises(FileError, match="has no images"):
        from_paths(folder / "empty", folder / "labels")


@pytest.mark.parametrize("missing", ["images", "labels"])
def test_a_folder_that_is_not_there_is_named(folder, missing):
    shutil.rmtree(folder / missing)
    with pytest.raises(FileError, match=f"no file or folder .*{missing}"):
        from_paths(folder / "images", folder / "labels")


def test_a_folder_without_labels_is_refused(folder):
    (folder / "empty").mkdir()
    with pytest.raises(FileError, match="empty has no images"):
        from_paths(folder / "images", folder / "empty")


def test_a_folder_that_is_not_there_to_validate_on_is_named(folder, capsys):
    assert train(folder, "--validate-on", str(folder / "nosuch"), str(folder / "labels")) == 1
    assert "nosuch" in capsys.readouterr().err


def test_a_folder_given_twice_is_refused(folder):
    with pytest.raises(FileError, match="as images and as labels"):
        from_paths(folder / "images", folder / "labels" / ".." / "images")


def test_an_image_that_an_index_gives_twice_is_refused(folder):
    (folder / "files.csv").write_text("image,label\nimages/im1.png,images/im1.png\n")
    with pytest.raises(FileError, match="as image and as label"):
        from_index(folder / "files.csv")


def test_what_a_desktop_puts_into_folders_is_passed_over(folder):
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini", "._im1.png"):
        (folder / "images" / name).write_bytes(b"no image")
    assert len(from_paths(folder / "images", folder / "labels")) == 5


@pytest.mark.parametrize("columns", ["foo,bar", "image"])
def test_an_index_without_the_needed_columns_is_refused(tmp_path, columns):
    (tmp_path / "index.csv").write_text(f"{columns}\n{','.join('a' for _ in columns.split(','))}\n")
    with pytest.raises(FileError, match="needs the column image and label, or name"):
        from_index(tmp_path / "index.csv")


def test_the_same_images_are_held_back_whatever_their_order(folder):
    sources = from_paths(folder / "images", folder / "labels")
    held = [
        {each.name for each in with_validation(some, 0.4) if each.split == "val"} for some in (sources, sources[::-1])
    ]
    assert held[0] == held[1]
    assert len(held[0]) == 2


def test_of_two_images_one_is_held_back_however_small_the_share(folder):
    sources = with_validation(from_paths(folder / "images", folder / "labels")[:2], 0.01)
    assert sorted(each.split for each in sources) == ["train", "val"]


def frames_of(tmp_path, image, labels, axes, ndim, share=0.0, spacing=None):
    write_tiff(tmp_path / "image.tif", image, Spatial.with_spacing(axes.replace("C", ""), spacing, "um"), axes=axes)
    plain = axes.replace("C", "")
    write_tiff(tmp_path / "labels.tif", labels, Spatial.plain(plain), axes=plain)
    return run_job(read_frames(from_paths(tmp_path / "image.tif", tmp_path / "labels.tif"), ndim, share))


def test_of_a_stack_the_last_planes_are_held_back(tmp_path):
    image, labels = discs(0)
    frames = frames_of(tmp_path, np.stack([image] * 5), np.stack([labels] * 5), "ZYX", 2, share=0.4)
    assert [(each.name, each.split) for each in frames] == [
        ("image Z0", "train"), ("image Z1", "train"), ("image Z2", "train"), ("image Z3", "val"), ("image Z4", "val"),
    ]  # fmt: skip


def test_a_volume_keeps_its_planes_and_their_distance(tmp_path):
    image, labels = discs(0)
    stack = np.stack([image] * 4)
    (frame,) = frames_of(tmp_path, stack, np.stack([labels] * 4), "ZYX", 3, spacing=(2.0, 0.5, 0.5))
    assert frame.image.shape == (4, 48, 48)
    assert frame.anisotropy == 4


def test_channels_go_last(tmp_path):
    image, labels = discs(0)
    (frame,) = frames_of(tmp_path, np.stack([image, image]), labels, "CYX", 2)
    assert frame.image.shape == (48, 48, 2)


def test_labels_of_another_shape_are_refused(tmp_path):
    image, labels = discs(0)
    with pytest.raises(InputError, match=r"\(40, 48\)"):
        frames_of(tmp_path, image, labels[:40], "YX", 2)


def test_what_is_not_painted_does_not_count():
    paint = np.array([[1, 1, 2, 2, 0, 0]])
    truth, found = compared(np.array([[0, 0, 1, 1, 2, 2]]), paint, is_classes=False)
    assert truth.tolist() == [[0, 0, 1, 1, 0, 0]]
    assert found.tolist() == [[0, 0, 1, 1, 0, 0]]
    assert compared(np.array([[0, 0, 1, 1, 1, 1]]), paint, is_classes=True)[1].tolist() == [[0, 0, 1, 1, 0, 0]]


@pytest.mark.parametrize(("unit", "distance"), [("micrometer", 2.0), ("nanometer", 2000.0)])
def test_the_distance_of_planes_is_in_the_unit_of_the_pixels(tmp_path, unit, distance):
    units = (unit, "micrometer", "micrometer")
    for name in ("image", "labels"):
        spatial = Spatial("ZYX", (distance, 0.5, 0.5), (0.0,) * 3, units)
        write_ome_zarr(tmp_path / f"{name}.zarr", np.ones((4, 8, 8), np.int32), spatial, name)
    [source] = from_paths(tmp_path / "image.zarr", tmp_path / "labels.zarr")
    [frame] = run_job(read_frames([source], 3, 0.0))
    assert frame.anisotropy == pytest.approx(4)


def test_colours_of_labels_are_numbered_if_wanted(tmp_path):
    colours = np.array([(0, 0, 0), (255, 0, 0), (0, 200, 10)], np.uint8)
    numbers = np.array([[0, 1, 1, 0], [0, 1, 0, 2]])
    Image.fromarray(numbers.astype(np.uint8)).save(tmp_path / "image.png")
    Image.fromarray(colours[numbers]).save(tmp_path / "labels.png")
    source = Source("image", tmp_path / "image.png", tmp_path / "labels.png", number_colors=True)
    [frame] = run_job(read_frames([source], 2, 0.0))
    assert frame.labels.tolist() == numbers.tolist()
    with pytest.raises(FileError, match="--number-colors"):
        run_job(read_frames([replace(source, number_colors=False)], 2, 0.0))

"""Panoptic files on the command line: written by `tessera panoptic`, scored by `tessera evaluate --task panoptic`."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_tessera.cli import batch
from napari_tessera.cli.main import main
from napari_tessera.core.jobs import run_job
from napari_tessera.io import read_coco_panoptic, write_coco_panoptic
from tests.helpers.panoptic_scene import PREDICTION, TRUTH

CELLS = np.array([[7, 7, 0, 0, 0, 4], [7, 7, 0, 0, 0, 4], [0, 0, 0, 0, 0, 0]], np.uint8)
TISSUE = np.array([[0, 0, 0, 2, 2, 2], [0, 0, 0, 2, 2, 2], [0, 0, 0, 2, 2, 2]], np.uint8)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An image, its things and its stuff; and the drawn scene as COCO files."""
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("image.tif", np.zeros((3, 6), np.uint8))
    tifffile.imwrite("cells.tif", CELLS)
    tifffile.imwrite("tissue.tif", TISSUE)
    write_coco_panoptic("truth.json", [("scene.tif", TRUTH)])
    write_coco_panoptic("found.json", [("scene.tif", PREDICTION)])
    return tmp_path


def lines(capsys):
    return {line.split("  ")[0]: line.split() for line in capsys.readouterr().out.splitlines()}


LAYERS = ["--things", "cells.tif", "--stuff", "tissue.tif", "--smallest-stuff", "0"]


def test_layers_are_fused_and_all_files_named(folder, capsys):
    assert main(["panoptic", "image.tif", "-o", "out.tif", *LAYERS]) == 0
    assert "4 segments" in capsys.readouterr().out
    assert tifffile.imread("out.tif").tolist()[0] == [1, 1, 3, 4, 4, 2]
    assert tifffile.imread("out-classes.tif").tolist()[0] == [2, 2, 1, 4, 4, 2]


def test_coco_files_are_written_beside(folder):
    assert main(["panoptic", "image.tif", "-o", "out.tif", "--coco", "coco/scene.json", *LAYERS]) == 0
    (segments,) = read_coco_panoptic("coco/scene.json")
    assert segments.labels.tolist()[0] == [1, 1, 3, 4, 4, 2]
    assert segments.classes.tolist() == ["object", "object", "background", "class 2"]
    assert segments.is_thing.tolist() == [True, True, False, False]


def test_several_images_are_in_one_coco_file(folder):
    tifffile.imwrite("other.tif", np.zeros((3, 6), np.uint8))
    command = ["panoptic", "image.tif", "other.tif", "-o", "out/", "--coco", "scene.json", *LAYERS]
    assert main(command) == 0
    assert read_coco_panoptic("scene.json").names == ["image", "other"]


def test_coco_file_that_exists_is_refused_before_any_work(folder, capsys):
    assert main(["panoptic", "image.tif", "-o", "out.tif", "--coco", "truth.json", *LAYERS]) == 1
    assert "truth.json exists already" in capsys.readouterr().err
    assert not (folder / "out.tif").exists()


def test_coco_file_never_takes_the_name_of_a_record(folder, capsys):
    assert main(["panoptic", "image.tif", "-o", "out.tif", "--coco", "out.json", *LAYERS]) == 2
    assert "out.json would be written twice" in capsys.readouterr().err
    assert not (folder / "out.json").exists()


def test_segments_never_take_the_place_of_labels(folder, capsys):
    assert main(["panoptic", "image.tif", "-o", "out/image.png", "--coco", "out.json", *LAYERS]) == 2
    assert "image.png would be written twice" in capsys.readouterr().err


def test_segments_that_would_replace_an_image_are_refused_before_any_work(folder, capsys):
    (folder / "images").mkdir()
    Image.fromarray(np.zeros((3, 6), np.uint8)).save("images/a.png")
    command = ["panoptic", "images/a.png", "-o", "out.tif", "--coco", "images.json", "--overwrite", *LAYERS]
    assert main(command) == 1
    assert "a.png was read as input" in capsys.readouterr().err
    assert not (folder / "out.tif").exists()


def test_coco_file_describes_what_was_done_before_ctrl_c(folder, monkeypatch):
    def drive_once(job, *rest):
        monkeypatch.setattr(batch, "run_job", interrupted)
        return run_job(job, *rest)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(batch, "run_job", drive_once)
    tifffile.imwrite("other.tif", np.zeros((3, 6), np.uint8))
    assert main(["panoptic", "image.tif", "other.tif", "-o", "out/", "--coco", "scene.json", *LAYERS]) == 130
    assert read_coco_panoptic("scene.json").names == ["image"]


def test_volume_does_not_fit_into_coco_files(folder, capsys):
    for name in ("image", "cells", "tissue"):
        tifffile.imwrite(f"{name}.tif", np.stack([tifffile.imread(f"{name}.tif")] * 2))
    assert main(["panoptic", "image.tif", "-o", "out.tif", "--coco", "scene.json", *LAYERS]) == 1
    assert "image.tif has the axes ZYX, but COCO's panoptic format holds planes" in capsys.readouterr().err
    assert not (folder / "out.tif").exists()


def test_only_panoptic_writes_coco_files(folder, capsys):
    assert main(["threshold", "image.tif", "-o", "out.tif", "--coco", "scene.json"]) == 2
    assert "there is no option '--coco'" in capsys.readouterr().err


def test_coco_files_are_scored_by_class(folder, capsys):
    assert main(["evaluate", "truth.json", "found.json", "--task", "panoptic"]) == 0
    table = lines(capsys)
    assert table["cell"][1:] == ["thing", "0.4889", "0.7333", "0.6667", "2", "1", "1"]
    assert table["mean of stuff (2)"][-3:] == ["0.6786", "0.6786", "1.0000"]
    assert table["mean of all (4)"][-3] == "0.4615"


def test_what_panoptic_writes_is_scored_as_it_is(folder, capsys):
    main(["panoptic", "image.tif", "-o", "out.tif", *LAYERS])
    assert main(["evaluate", "out.tif", "out.tif", "--task", "panoptic", "--json", "scores.json"]) == 0
    assert json.loads((folder / "scores.json").read_text())["pooled"]["all"] == {"pq": 1, "sq": 1, "rq": 1, "n": 3}


def test_objects_with_an_image_of_classes_are_scored(folder, capsys):
    for place in ("true", "predicted"):
        (folder / place).mkdir()
        tifffile.imwrite(f"{place}/a.tif", CELLS)
        tifffile.imwrite(f"{place}/a-classes.tif", np.where(CELLS, 1, 2).astype(np.uint8))
    assert main(["evaluate", "true", "predicted", "--task", "panoptic", "--per-image"]) == 0
    table = lines(capsys)
    assert table["class 1"][2:4] == ["thing", "1.0000"]
    assert table["image a"][-1] == "1.0000"


def test_classes_that_differ_in_name_alone_get_a_word(folder, capsys):
    main(["panoptic", "image.tif", "-o", "out.tif", *LAYERS])
    main(["panoptic", "image.tif", "-o", "same.tif", *LAYERS])
    table = folder / "same.csv"
    table.write_text(table.read_text().replace("object", "cell"))
    capsys.readouterr()
    assert main(["evaluate", "out.tif", "same.tif", "--task", "panoptic"]) == 0
    assert "'object' is only in the truth, 'cell' is only in the prediction" in capsys.readouterr().err


def test_labels_of_which_nothing_is_said_are_refused_with_advice(folder, capsys):
    assert main(["evaluate", "cells.tif", "cells.tif", "--task", "panoptic"]) == 1
    assert "needs beside it either cells.csv" in capsys.readouterr().err


def test_images_of_different_shape_are_refused(folder, capsys):
    main(["panoptic", "image.tif", "-o", "out.tif", *LAYERS])
    assert main(["evaluate", "out.tif", "truth.json", "--task", "panoptic"]) == 1
    assert "must be of the same image" in capsys.readouterr().err


def test_scores_never_take_the_place_of_a_png_that_a_coco_file_names(folder, capsys):
    before = (folder / "truth" / "scene.png").read_bytes()
    words = ["evaluate", "--task", "panoptic", "truth.json", "found.json", "--json", "truth/scene.png", "--overwrite"]
    assert main(words) == 1
    assert "truth/scene.png was read as input" in capsys.readouterr().err
    assert (folder / "truth" / "scene.png").read_bytes() == before


def test_coco_files_of_a_run_that_fails_are_not_there(folder):
    tifffile.imwrite("cells.tif", np.zeros((9, 9), np.uint8))
    assert main(["panoptic", "image.tif", "-o", "out.tif", "--coco", "scene.json", *LAYERS]) == 1
    assert not (folder / "scene.json").exists()
    assert not (folder / "scene").exists()
    assert not list(folder.glob(".tessera*"))

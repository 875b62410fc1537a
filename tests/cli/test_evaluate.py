"""`tessera evaluate`: files or folders, matched by name."""

import json

import numpy as np
import pytest
import tifffile

from napari_tessera.cli.main import main

TRUTH = np.array([[1, 1, 0, 2, 2]], np.uint8)
HALF = np.array([[5, 5, 0, 0, 0]], np.uint8)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Two truths; the first is found whole, the second half."""
    monkeypatch.chdir(tmp_path)
    for name in ("truth", "found"):
        (tmp_path / name).mkdir()
    for image, found in (("a", TRUTH), ("b", HALF)):
        tifffile.imwrite(f"truth/{image}.tif", TRUTH)
        np.save(f"found/{image}.npy", found)
        (tmp_path / "found" / f"{image}.json").write_text("{}")
    return tmp_path


def lines(capsys):
    return {line.split("  ")[0]: line.split() for line in capsys.readouterr().out.splitlines()}


def test_two_files_are_scored(folders, capsys):
    assert main(["evaluate", "truth/a.tif", "found/b.npy"]) == 0
    assert lines(capsys)["AP@0.50"][1:] == ["0.5000", "0.5000"]


def test_folders_are_scored_by_image_and_pooled(folders, capsys):
    assert main(["evaluate", "truth", "found"]) == 0
    table = lines(capsys)
    assert table["AP@0.50"][1:] == ["0.7500", "0.7500"]
    assert table["true objects"][2:] == ["2.0", "4"]


def test_each_image_gets_a_line_when_asked_for(folders, capsys):
    main(["evaluate", "truth", "found", "--per-image"])
    table = lines(capsys)
    assert (table["a"][1], table["b"][1]) == ("1.0000", "0.5000")


def test_scores_are_written_as_json(folders):
    assert main(["evaluate", "truth", "found", "--json", "scores.json", "--quiet"]) == 0
    scores = json.loads((folders / "scores.json").read_text())
    assert [image["name"] for image in scores["images"]] == ["a", "b"]
    assert scores["pooled"]["ap"]["0.50"] == 0.75


def test_classes_are_scored_by_pixels(folders, capsys):
    assert main(["evaluate", "truth/a.tif", "found/a.npy", "--task", "classes"]) == 0
    assert lines(capsys)["mean Dice"][-1] == "1.0000"


def test_truth_without_prediction_is_never_left_out_silently(folders, capsys):
    (folders / "found" / "b.npy").unlink()
    assert main(["evaluate", "truth", "found"]) == 1
    assert "1 of 2 label images in truth have no prediction" in capsys.readouterr().err
    assert main(["evaluate", "truth", "found", "--only-predicted"]) == 0


def test_prediction_without_truth_is_noted(folders, capsys):
    (folders / "truth" / "b.tif").unlink()
    assert main(["evaluate", "truth", "found"]) == 0
    assert "1 predictions have no truth" in capsys.readouterr().err


def test_images_of_different_shape_are_named(folders, capsys):
    np.save("found/a.npy", np.zeros((3, 3), int))
    assert main(["evaluate", "truth/a.tif", "found/a.npy"]) == 1
    assert "truth/a.tif has shape (1, 5), but found/a.npy has (3, 3)" in capsys.readouterr().err


def test_existing_json_is_kept_unless_allowed(folders, capsys):
    (folders / "scores.json").write_text("mine")
    assert main(["evaluate", "truth", "found", "--json", "scores.json"]) == 1
    assert (folders / "scores.json").read_text() == "mine"
    assert main(["evaluate", "truth", "found", "--json", "scores.json", "--overwrite"]) == 0


def test_image_given_for_labels_is_named(folders, capsys):
    np.save("grey.npy", np.random.default_rng(0).integers(0, 250, (30, 40), np.uint8))
    np.save("labels.npy", np.repeat(np.arange(40) // 4, 30).reshape(40, 30).T)
    main(["evaluate", "labels.npy", "grey.npy"])
    assert "grey.npy looks like an image" in (said := capsys.readouterr().err)
    assert "labels.npy" not in said
    main(["evaluate", "labels.npy", "grey.npy", "--quiet"])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("panoptic", [[], ["--task", "panoptic"]])
@pytest.mark.parametrize("name", ["a.tif", "a.csv", "a-classes.tif", "a-classes.csv"])
def test_scores_never_take_the_place_of_what_belongs_to_the_labels(folders, capsys, name, panoptic):
    before = b"label,class,kind\n1,cell,thing\n2,cell,thing\n"
    if not (path := folders / "truth" / name).exists():
        path.write_bytes(before)
    before = path.read_bytes()
    words = ["evaluate", "truth/a.tif", "found/a.npy", *panoptic, "--json", f"truth/{name}", "--overwrite"]
    assert main(words) == 1
    assert "was read as input and is never overwritten" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_scores_never_take_the_place_of_a_record_that_is_read(folders, capsys):
    assert main(["threshold", "truth/a.tif", "-o", "labels.png", "--sigma", "0", "--quiet"]) == 0
    before = (folders / "labels.json").read_bytes()
    assert main(["evaluate", "labels.png", "found/a.npy", "--json", "labels.json", "--overwrite"]) == 1
    assert "labels.json was read as input" in capsys.readouterr().err
    assert (folders / "labels.json").read_bytes() == before


def test_objects_with_one_number_are_said_with_how_many(folders, capsys):
    tifffile.imwrite("truth/c.tif", np.array([[1, 0, 1, 0, 2, 0, 2, 0, 3]], np.uint8))
    np.save("found/c.npy", np.array([[1, 0, 2, 0, 3, 0, 4, 0, 5]], np.uint8))
    main(["evaluate", "truth/c.tif", "found/c.npy"])
    assert capsys.readouterr().err.count("2 labels lie on several separate pieces, which count as one object") == 1

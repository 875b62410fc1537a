"""`tessera train` from files to a model: what comes out, and what is refused."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import napari_tessera as tessera
from napari_tessera.cli.main import main
from napari_tessera.core.spatial import Spatial
from napari_tessera.gui.train.plot import TrainingHistory
from napari_tessera.io.read import read_labels
from napari_tessera.io.tiff import write_tiff
from napari_tessera.models.header import read_header
from tests.helpers.disc_folder import QUICK, discs, same_weights, train, write_discs


@pytest.fixture
def folder(tmp_path):
    return write_discs(tmp_path)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_model_and_its_report_are_written_and_nothing_else(folder):
    assert train(folder) == 0
    names = {path.name for path in folder.iterdir()} - {"images", "labels", "index.csv"}
    assert names == {"model.safetensors", "model.report.html"}


def test_the_model_says_how_it_came_about(folder):
    assert main(["train", "--index", str(folder / "index.csv"), "-o", str(folder / "m.safetensors"), *QUICK,
                 "--classes", "background,disc", "--licence", "CC0-1.0", "--seed", "7"]) == 0  # fmt: skip
    header = read_header(folder / "m.safetensors")
    record = header["training"]
    assert (header["classes"], header["licence"], header["diameter_px"]) == (["background", "disc"], "CC0-1.0", 32)
    assert record["images"] == {"train": ["im0", "im1", "im2"], "val": ["im3"]}
    assert (record["settings"]["seed"], record["steps"]) == (7, 4)
    assert set(record["scores"]) == {"score", "ap", "map"}
    assert len(record["data_sha256"]) == 64


def test_the_report_needs_nothing_beside_it(folder):
    train(folder)
    page = (folder / "model.report.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert "data:image/png;base64," in page
    assert not any(word in page for word in ('src="http', "href=", "<script", "<link"))


def test_the_model_segments(folder):
    train(folder)
    out = folder / "out.tif"
    image, model = str(folder / "images" / "im0.png"), str(folder / "model.safetensors")
    assert main(["unet", image, "-o", str(out), "--model", model, "--quiet"]) == 0
    assert read_labels(out).data.shape == (48, 48)


def test_classes_are_learnt_and_named(folder):
    for path in (folder / "labels").iterdir():
        labels = np.asarray(Image.open(path))
        Image.fromarray(np.minimum(labels, 2).astype(np.uint8)).save(path)
    assert train(folder, "--task", "classes", "--class-weights", "balanced", "--loss", "focal") == 0
    header = read_header(folder / "model.safetensors")
    assert (header["task"], header["classes"]) == ("classes", ["background", "class 1", "class 2"])
    assert header["training"]["settings"]["class_weights"][2] > header["training"]["settings"]["class_weights"][0]


def test_doubts_are_told_on_the_terminal_and_in_the_report(folder, capsys):
    for path in (folder / "labels").iterdir():
        Image.fromarray(np.asarray(Image.open(path)) * 4).save(path)
    assert train(folder, "--task", "classes") == 0
    assert "Warning: The labels have numbers up to 36" in capsys.readouterr().err
    assert "Warning: The labels have numbers up to 36" in (folder / "model.report.html").read_text(encoding="utf-8")


def test_a_training_that_found_nothing_says_so_and_keeps_what_learnt_most(folder, capsys):
    assert train(folder, "--learning-rate", "1e-5") == 0
    said = capsys.readouterr()
    assert "the weights of step 4, score 0.000" in said.out
    assert said.err.count("Warning: The network found nothing right in the validation data") == 1
    assert "Warning: The network found nothing right" in (folder / "model.report.html").read_text(encoding="utf-8")
    assert train(folder, "--learning-rate", "1e-5", "--quiet", out="other.safetensors") == 0
    assert capsys.readouterr().err == ""


def test_the_widget_is_told_in_the_end_what_the_record_says(folder):
    course = TrainingHistory(advice=["This is told as it goes on."])
    quick = {"steps": 2, "widths": "4,8", "patch": 32, "batch": 1, "threads": 1, "learning_rate": 1e-5}
    trained = tessera.train(
        folder / "images", folder / "labels", folder / "a.safetensors", on_progress=course.note, **quick
    )
    assert list(course.advice) == trained.header["training"]["warnings"]
    assert len(course.advice) == 1


def test_volumes_are_learnt(tmp_path):
    image, labels = discs(0, side=32)
    for name in ("a", "b"):
        stack = np.repeat(image[None], 16, axis=0), np.repeat(labels[None], 16, axis=0)
        for kind, data in zip(("images", "labels"), stack, strict=True):
            (tmp_path / kind).mkdir(exist_ok=True)
            write_tiff(tmp_path / kind / f"{name}.tif", data, Spatial.plain("ZYX"), axes="ZYX")
    assert train(tmp_path, "--ndim", "3", "--patch", "16", "--steps", "2", "--validations", "1") == 0
    assert read_header(tmp_path / "model.safetensors")["architecture"]["ndim"] == 3


def test_two_channels_are_learnt(tmp_path):
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    for seed in range(2):
        image, labels = discs(seed)
        both = np.stack([image, 255 - image]).astype(np.uint16)
        write_tiff(tmp_path / "images" / f"{seed}.tif", both, Spatial.plain("YX"), axes="CYX")
        write_tiff(tmp_path / "labels" / f"{seed}.tif", labels, Spatial.plain("YX"), axes="YX")
    assert train(tmp_path) == 0
    header = read_header(tmp_path / "model.safetensors")
    assert header["normalisation"]["kind"] == "channels"
    assert header["architecture"]["channels"] == 2


def two_channels_in_npy(folder, side=48):
    image, labels = discs(0, side)
    np.save(folder / "image.npy", np.stack([image, 255 - image]).astype(np.uint16))
    np.save(folder / "labels.npy", labels)
    return ["train", str(folder / "image.npy"), str(folder / "labels.npy"), "-o", str(folder / "model.safetensors")]


@pytest.mark.parametrize("painted", ["--painted", "--no-painted"])
def test_axes_that_no_file_says_are_asked_for_and_given(tmp_path, capsys, painted):
    command = [*two_channels_in_npy(tmp_path), *QUICK, "--start-from", "nothing", painted]
    assert main(command) == 1
    assert "--axes CYX" in capsys.readouterr().err
    assert main([*command, "--axes", "CYX"]) == 0
    assert read_header(tmp_path / "model.safetensors")["architecture"]["channels"] == 2


def test_python_takes_axes_too(tmp_path):
    _, image, labels, _, out = two_channels_in_npy(tmp_path)
    two = ["channel 1", "channel 2"]
    quick = {"steps": 2, "widths": "4,8", "patch": 32, "batch": 1, "threads": 1}
    assert tessera.train(image, labels, out, axes="CYX", **quick).header["channels"] == two
    tuned = tessera.fine_tune(image, labels, tmp_path / "t.safetensors", axes="CYX", start_from="nothing", **quick)
    assert tuned.header["channels"] == two


def test_paint_without_saying_so_is_doubted(tmp_path, capsys):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    image, labels = discs(0)
    paint = np.where(labels, labels + 1, 0).astype(np.uint16)
    paint[::16] = 1
    Image.fromarray(image).save(tmp_path / "images" / "a.png")
    Image.fromarray(paint).save(tmp_path / "labels" / "a.png")
    assert train(tmp_path) == 0
    assert "add --painted" in capsys.readouterr().err


def test_images_to_validate_on_without_objects_give_no_score(folder, capsys):
    (folder / "blank").mkdir()
    for path in (folder / "labels").iterdir():
        Image.fromarray(np.zeros((48, 48), np.uint8)).save(folder / "blank" / path.name)
    assert train(folder, "--validate-on", str(folder / "images"), str(folder / "blank")) == 0
    said = capsys.readouterr()
    assert "The validation data has only background" in said.err
    assert "no score" in said.out


def test_the_same_seed_gives_the_same_weights_and_another_does_not(folder):
    for out, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert train(folder, "--seed", seed, out=f"{out}.safetensors") == 0
    assert same_weights(folder / "a.safetensors", folder / "b.safetensors")
    assert not same_weights(folder / "a.safetensors", folder / "c.safetensors")


def test_the_python_function_does_the_same_as_the_command(folder):
    train(folder)
    trained = tessera.train(folder / "images", folder / "labels", folder / "other.safetensors",
                            steps=4, widths="4,8", patch=32, batch=1, validations=2, threads=1)  # fmt: skip
    assert trained.is_finished
    assert same_weights(folder / "model.safetensors", trained.path)


def test_a_model_that_exists_is_not_overwritten_unless_allowed(folder, capsys):
    assert train(folder) == 0
    before = sha256(folder / "model.safetensors")
    assert train(folder) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert sha256(folder / "model.safetensors") == before
    assert train(folder, "--overwrite") == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--steps", "0"], "steps"),
        (["--loss", "magic"], "loss"),
        (["--seed", "99999999999999999999"], "0 to 4294967295"),
        (["--threads", "100000"], "processor cores"),
        (["--batch", "1000", "--patch", "2048", "--widths", "500,500"], "GB are free"),
        (["--patch", "33"], "multiple of 2"),
        (["--widths", "4,x"], "widths"),
        (["--widths", "8", "16"], "with commas: --widths 8,16"),
        (["--widths", "8,", "16"], "with commas: --widths 8,16"),
        (["--class-weights", "1,2"], "3 classes"),
        (["--class-weights", "1,2,3", "--loss", "dice"], "class_weights"),
        (["--gamma", "3"], "`gamma` has no effect"),
        (["--alpha", "0.5", "--loss", "dice"], "`alpha` has no effect"),
        (["--minutes", "1"], "`steps` and `minutes` both set the number of steps"),
        (["--axes", "CZ"], "it needs Y and X"),
        (["--classes", "one"], "2 classes"),
        (["--widths", "2,2,2,2,2,2,2,2,2", "--patch", "256"], "it should have at most 8 items"),
        (["--title", "two\nlines"], "but it should be a line of text"),
        (["--balance", "kind"], "index"),
    ],
)
def test_a_bad_setting_is_explained_and_leaves_nothing(folder, capsys, options, said):
    assert train(folder, *options) == 2
    assert said in capsys.readouterr().err
    assert not list(folder.glob("model*"))


def test_a_model_needs_its_ending(folder, capsys):
    assert train(folder, out="model.pt") == 2
    assert "model.safetensors" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_explained(folder, capsys):
    assert train(folder, out="index.csv/model.safetensors") == 1
    assert "Nothing could be written to" in capsys.readouterr().err


def test_help_loads_no_torch():
    code = (
        "import sys; from napari_tessera.cli.main import main; "
        "main(['train', '--help']); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize("option", ["--start-from", "--card"])
def test_a_file_that_a_setting_names_is_not_written_over(folder, capsys, option):
    assert train(folder) == 0
    out = folder / "model.safetensors"
    before = out.read_bytes()
    card = folder / "model.report.html"
    assert train(folder, option, str(out if option == "--start-from" else card), "--overwrite") == 1
    assert "was read as input and is never overwritten" in capsys.readouterr().err
    assert out.read_bytes() == before

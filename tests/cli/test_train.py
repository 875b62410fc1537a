"""`tessera train` from files to a model: what goes in, what comes out, what is refused, and how a run goes on."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import napari_tessera as tessera
from napari_tessera.cli.main import main
from napari_tessera.cli.train import stop_on_ctrl_c
from napari_tessera.core.errors import FileError, InputError
from napari_tessera.core.jobs import run_job
from napari_tessera.core.spatial import Spatial
from napari_tessera.gui.train.plot import TrainingHistory
from napari_tessera.io.read import read_labels
from napari_tessera.io.tiff import write_tiff
from napari_tessera.models.header import read_header
from napari_tessera.training import session as budget
from napari_tessera.training import train as training
from napari_tessera.training.data.sources import from_index, from_paths, read_frames, with_validation
from napari_tessera.training.settings import checked_settings
from napari_tessera.training.validation import compared

QUICK = ["--steps", "4", "--widths", "4,8", "--patch", "32", "--batch", "1", "--validations", "2", "--threads", "1"]


def discs(seed, side=48):
    """Nine discs: uint8 image and uint16 labels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    inside = ((y % 16 - 8) ** 2 + (x % 16 - 8) ** 2) < 30
    labels = np.where(inside, 1 + (y // 16) * 3 + x // 16, 0).astype(np.uint16)
    return np.clip(rng.normal(20, 3, inside.shape) + 150 * inside, 0, 255).astype(np.uint8), labels


@pytest.fixture
def folder(tmp_path):
    """Five images and their labels as PNG, with an index."""
    rows = []
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    for seed in range(5):
        image, labels = discs(seed)
        Image.fromarray(image).save(tmp_path / "images" / f"im{seed}.png")
        Image.fromarray(labels).save(tmp_path / "labels" / f"im{seed}.png")
        split = ("train", "train", "train", "val", "test")[seed]
        rows.append({"name": f"im{seed}", "split": split, "kind": "odd" if seed % 2 else "even"})
    with open(tmp_path / "index.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return tmp_path


def train(folder, *more, out="model.safetensors"):
    return main(["train", str(folder / "images"), str(folder / "labels"), "-o", str(folder / out), *QUICK, *more])


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def weights_of(path):
    from napari_tessera.models.weights import read_tensors

    return {name: value.numpy() for name, value in read_tensors(path)[0].items()}


def same_weights(one, other):
    one, other = weights_of(one), weights_of(other)
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


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
    command = [*two_channels_in_npy(tmp_path), *QUICK, painted]
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


def killed_run(folder, *more):
    """Start a training in another process, and return it once it has reported a step."""
    start = "import sys; from napari_tessera.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", start, "train", str(folder / "images"), str(folder / "labels")]
    command += ["-o", str(folder / "model.safetensors"), *QUICK, "--steps", "2000", "--save-every", "0", *more]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    saved = folder / "model.safetensors.checkpoint"
    until = time.monotonic() + 60
    seen = set()  # the second checkpoint is written after the first step was reported
    while len(seen) < 2 and run.poll() is None and time.monotonic() < until:
        with contextlib.suppress(FileNotFoundError):
            seen.add(saved.stat().st_mtime_ns)
        time.sleep(0.01)
    return run, saved


def test_a_killed_run_leaves_a_checkpoint_and_no_model(folder):
    run, saved = killed_run(folder)
    run.kill()
    run.communicate()
    assert saved.exists()
    assert not (folder / "model.safetensors").exists()


def test_a_second_training_of_the_same_model_is_refused_while_the_first_runs(folder, capsys):
    run, _ = killed_run(folder)
    try:
        assert train(folder) == 1
        assert "Another training is writing" in capsys.readouterr().err
    finally:
        run.kill()
        run.communicate()
    assert train(folder, "--restart") == 0
    assert not list(folder.glob("*.lock"))


def test_a_training_whose_time_is_over_before_its_last_step_is_finished(folder, monkeypatch):
    steps = itertools.count()
    monkeypatch.setattr(budget, "fit_to_time", lambda seconds, of_step, plan, data: replace(plan, steps=10**6))
    monkeypatch.setattr(training, "over_after", lambda minutes: lambda: next(steps) >= 3)
    without_steps = QUICK[QUICK.index("--widths") :]
    out = folder / "model.safetensors"
    words = ["train", str(folder / "images"), str(folder / "labels"), "-o", str(out), *without_steps]
    assert main([*words, "--minutes", "2", "--quiet"]) == 0
    assert read_header(out)["training"]["steps"] == 4
    assert not out.with_name("model.safetensors.checkpoint").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signal for Ctrl-C that a test can send")
def test_ctrl_c_writes_the_best_so_far_and_keeps_the_checkpoint(folder):
    run, saved = killed_run(folder)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "The same command resumes" in said
    assert saved.exists()
    assert read_header(folder / "model.safetensors")["training"]["steps"] < 2000


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signal for Ctrl-C that a test can send")
@pytest.mark.parametrize("is_begun", [False, True])
def test_ctrl_c_before_the_first_step_ends_at_once(is_begun):
    begun = threading.Event()
    if is_begun:
        begun.set()
    with stop_on_ctrl_c(begun) as should_stop:
        with contextlib.nullcontext() if is_begun else pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert should_stop() == is_begun


@pytest.fixture
def stopped(folder):
    """A training of four steps that was given up after two: returns the folder."""
    from napari_tessera.training.session import training
    from napari_tessera.training.train import find_sources

    settings = checked_settings({"steps": 4, "widths": "4,8", "patch": 32, "batch": 1, "validations": 2, "threads": 1})
    steps = iter([False, True])
    sources = find_sources(folder / "images", folder / "labels", settings)
    run_job(training(sources, folder / "model.safetensors", settings, should_stop=lambda: next(steps)))
    return folder


def test_a_stopped_run_goes_on_to_the_same_weights(stopped):
    assert train(stopped) == 0
    assert not (stopped / "model.safetensors.checkpoint").exists()
    assert train(stopped, out="whole.safetensors") == 0
    assert same_weights(stopped / "model.safetensors", stopped / "whole.safetensors")


def test_a_changed_setting_is_named_and_how_to_begin_anew(stopped, capsys):
    assert train(stopped, "--batch", "2") == 1
    said = capsys.readouterr().err
    assert "batch was 1 and is 2" in said
    assert "--restart" in said
    assert train(stopped, "--batch", "2", "--restart", "--overwrite") == 0


def test_changed_labels_are_noticed(stopped, capsys):
    path = stopped / "labels" / "im0.png"
    labels = np.array(Image.open(path))
    labels[0, 0] = 1
    Image.fromarray(labels).save(path)
    assert train(stopped) == 1
    assert "labels or their split have changed" in capsys.readouterr().err


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

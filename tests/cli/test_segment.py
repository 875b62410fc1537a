"""The command line: files in, files out, exit codes, and help that says what the declaration says."""

import ctypes
import errno
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import tifffile

from napari_tessera.cli import batch
from napari_tessera.cli.main import main
from napari_tessera.cli.options import flag, shown
from napari_tessera.cli.segment import method_parser
from napari_tessera.core.jobs import Progress
from napari_tessera.engine import api
from napari_tessera.io import read_labels
from napari_tessera.methods.registry import METHODS, method_named

SETTINGS = ["--output", "objects", "--sigma", "0"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a picture of two bright squares in it, which is the current folder too."""
    image = np.zeros((12, 16), np.uint16)
    image[2:5, 2:5] = 900
    image[7:10, 9:14] = 500
    tifffile.imwrite(
        tmp_path / "squares.tif", image, imagej=True, metadata={"axes": "YX", "unit": "um"}, resolution=(2, 2)
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_method_writes_labels_record_and_table(folder, capsys):
    assert main(["threshold", "squares.tif", "-o", "out.tif", *SETTINGS]) == 0
    labels = read_labels(folder / "out.tif")
    assert np.unique(labels.data).tolist() == [0, 1, 2]
    assert labels.spatial.spacing == (0.5, 0.5)
    assert json.loads((folder / "out.json").read_text())["method"] == "threshold"
    assert len((folder / "out.csv").read_text().splitlines()) == 3
    assert "squares.tif: 2 objects" in capsys.readouterr().out


def test_table_without_points_means_that_markers_are_found(folder, capsys):
    (folder / "markers.csv").write_text("y,x\n")
    command = ["watershed", "squares.tif", "-o", "out.tif", "--markers", "markers.csv", "--foreground", "otsu"]
    assert main([*command, "--min-size", "0", "--sigma", "0"]) == 0
    assert read_labels(folder / "out.tif").data.max() == 2
    assert "`markers` holds no point" in capsys.readouterr().err


def test_quiet_prints_nothing(folder, capsys):
    assert main(["threshold", "squares.tif", "-o", "out.tif", "--quiet", *SETTINGS]) == 0
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


def test_recipe_gives_the_same_labels(folder):
    main(["threshold", "squares.tif", "-o", "out.ome.zarr", *SETTINGS])
    assert main(["run", "out.json", "squares.tif", "-o", "again.npy"]) == 0
    np.testing.assert_array_equal(np.load("again.npy"), np.asarray(read_labels("out.ome.zarr").data))


def test_recipe_keeps_a_pixel_size_that_was_typed(folder):
    main(["threshold", "squares.tif", "-o", "out.tif", "--spacing", "2", "0.25", "--unit", "nm", *SETTINGS])
    assert main(["run", "out.json", "squares.tif", "-o", "again.tif"]) == 0
    assert json.loads((folder / "again.json").read_text())["spacing"] == [2.0, 0.25]
    assert read_labels("again.tif").spatial.units == ("nanometer", "nanometer")


def test_recipe_uses_the_pixel_size_of_another_image(folder):
    main(["threshold", "squares.tif", "-o", "out.tif", *SETTINGS])
    tifffile.imwrite("other.tif", np.eye(9, dtype=np.uint16), imagej=True, metadata={"unit": "um"}, resolution=(4, 4))
    assert main(["run", "out.json", "other.tif", "-o", "again.tif"]) == 0
    assert json.loads((folder / "again.json").read_text())["spacing"] == [0.25, 0.25]


def test_several_images_go_into_a_folder(folder):
    np.save("more.npy", np.eye(5))
    assert main(["threshold", "squares.tif", "more.npy", "-o", "labels", "--format", "png"]) == 0
    assert {path.suffix for path in (folder / "labels").glob("*.png")} == {".png"}
    assert (folder / "labels" / "more.png").exists()


@pytest.mark.parametrize(("out", "chosen"), [("x.png", "npy"), ("x.ome.tif", "tif"), ("x", "npy")])
def test_format_other_than_the_ending_of_the_one_file_is_refused(folder, capsys, out, chosen):
    assert main(["threshold", "squares.tif", "-o", out, "--format", chosen]) == 2
    assert f"--format is {chosen}, but -o {out} has another ending" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["squares.tif"]


@pytest.mark.parametrize(
    ("out", "chosen"), [("x.png", "png"), ("x.tiff", "tif"), ("x.zarr", "ome.zarr"), ("folder/", "npy")]
)
def test_format_that_agrees_with_the_output_is_taken(folder, out, chosen):
    assert main(["threshold", "squares.tif", "-o", out, "--format", chosen, "--quiet"]) == 0
    assert (folder / ("folder/squares.npy" if out == "folder/" else out)).exists()


def test_setting_that_cannot_be_with_the_only_image_ends_with_2(folder, capsys):
    np.save("colours.npy", np.zeros((40, 40, 3), np.uint8))
    command = ["threshold", "--channel", "3", "-o"]
    assert main([*command, "out.tif", "colours.npy"]) == 2
    assert main([*command, "out/", "colours.npy", "squares.tif"]) == 1


def test_channels_count_from_0_and_all_are_taken_together(folder):
    image = np.zeros((40, 40, 2), np.uint8)
    image[2:5, 2:5, 0] = image[20:30, 20:30, 1] = 200
    np.save("two.npy", image)
    sums = []
    for channel in ("0", "1", "all"):
        main(["threshold", "two.npy", "-o", "out.npy", "--axes", "YXC", "--channel", channel, "--overwrite"])
        sums.append(int(np.load("out.npy").sum()))
    assert sums == [9, 100, 109]


def test_one_failing_image_does_not_stop_the_others(folder, capsys):
    (folder / "broken.tif").write_text("no image")
    assert main(["threshold", "broken.tif", "squares.tif", "-o", "labels"]) == 1
    assert (folder / "labels" / "squares.tif").exists()
    assert "1 of 2 images failed: broken.tif" in capsys.readouterr().err


def test_several_images_do_not_fit_into_one_file(folder, capsys):
    assert main(["threshold", "squares.tif", "squares.tif", "-o", "out.tif"]) == 2
    assert "-o must be a folder" in capsys.readouterr().err


def test_two_images_of_one_name_are_refused(folder, capsys):
    assert main(["threshold", "squares.tif", "elsewhere/squares.png", "-o", "labels"]) == 2
    assert "overwrite each other" in capsys.readouterr().err


def test_axes_typed_are_used(folder):
    np.save("stack.npy", np.stack([np.eye(6)] * 3))
    main(["threshold", "stack.npy", "-o", "out.tif", "--axes", "TYX", "--quiet"])
    assert read_labels("out.tif").axes == "TYX"


def test_sizes_in_the_image_s_own_unit(folder):
    main(["threshold", "squares.tif", "-o", "out.tif", "--units", "physical", "--min-size", "3", *SETTINGS])
    assert json.loads((folder / "out.json").read_text())["parameters"]["min_size"] == 12


@pytest.fixture
def plain_file(folder):
    """A command on a file that says no pixel size, so that sizes in its unit mean nothing."""
    np.save(folder / "plain.npy", np.pad(np.ones((3, 3)), 2))
    return ["threshold", "plain.npy", "-o", "out.tif", "--units", "physical", "--output", "objects"]


def test_sizes_in_the_unit_need_a_pixel_size(plain_file, capsys):
    assert main(plain_file) == 2
    assert "its pixel size is not known. Give --spacing" in capsys.readouterr().err


def test_settings_without_a_size_are_checked_before_any_image(folder, capsys):
    words = ["threshold", "nowhere.tif", "squares.tif", "-o", "labels", "--units", "physical", "--method", "otso"]
    assert main(words) == 2
    assert "`method` is 'otso'" in capsys.readouterr().err


def test_a_unit_alone_is_no_pixel_size(plain_file):
    assert main([*plain_file, "--unit", "µm"]) == 2


def test_pixel_size_of_one_may_be_typed(plain_file):
    assert main([*plain_file, "--spacing", "1"]) == 0


def test_sizes_in_the_unit_need_the_distance_of_planes_too(folder, capsys):
    tifffile.imwrite(
        "stack.tif", np.ones((4, 5, 5), np.uint16), metadata={"axes": "ZYX"}, photometric="minisblack",
        resolution=(100, 100), resolutionunit="CENTIMETER",
    )  # fmt: skip
    assert main(["threshold", "stack.tif", "-o", "out.tif", "--units", "physical"]) == 2
    assert "its pixel size is not known" in capsys.readouterr().err


def test_seeds_come_from_a_table(folder):
    (folder / "seeds.csv").write_text("y,x\n3,3\n")
    assert main(["region-growing", "squares.tif", "-o", "out.tif", "--seeds", "seeds.csv", "--sigma", "0"]) == 0
    assert np.count_nonzero(read_labels("out.tif").data) == 9


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["threshold", "squares.tif", "-o", "out.tif", "--sigma", "-1"], 2, "`sigma` is -1, but it must be"),
        (["threshold", "squares.tif", "-o", "out.tif", "--sigma", "much"], 2, "'much' is not a number"),
        (["threshold", "squares.tif", "-o", "out.tif", "--method", "otso"], 2, "`method` is 'otso'"),
        (["threshold", "squares.tif", "-o", "out.tif", "--sigmas", "1"], 2, "Did you mean --sigma?"),
        (["threshold", "squares.tif"], 2, "-o"),
        (["treshold", "squares.tif"], 2, "Did you mean 'threshold'?"),
        (["foo"], 2, "There are: threshold, region_growing, "),
        (["threshold", "square.tif", "-o", "out.tif"], 1, "Did you mean squares.tif?"),
        (["threshold", "squares.tif", "-o", "out.bmp"], 2, "End its name in one of"),
        (["threshold", ".", "-o", "labels"], 1, "is a folder, but a file is needed"),
        (["threshold", "im/*.png", "-o", "labels"], 1, "no file matches it as a pattern"),
        (["threshold", "*.tif", "-o", "labels"], 1, "it matches 1 file. Write it without quotes"),
        (["threshold", "squares.tif", "-o", "squares.tif", "--overwrite"], 1, "never overwritten"),
        (["threshold", "squares.tif", "-o", "out.tif", "--axes", "ZYX"], 1, "names 3 axes"),
        (["threshold", "squares.tif", "-o", "out.tif", "--spacing", "1", "2", "3"], 1, "positive number"),
        (["threshold", "squares.tif", "-o", "out.tif", "--spacing", "0"], 2, "positive number"),
        (["threshold", "squares.tif", "-o", "out.tif", "--spacing", "1", "1", "1", "1"], 2, "at most z, y and x"),
        (["threshold", "squares.tif", "-o", "out.tif", "--axes", "QQ"], 2, "it needs Y and X"),
        (["threshold", "squares.tif", "-o", "out.tif", "--n-workers", "0"], 2, "1 or more"),
        (["threshold", "squares.tif", "-o", "out.tif", "--n-workers", "-1"], 2, "1 or more"),
        (["threshold", "squares.tif", "-o", "out.tif", "--resolution-level", "-1"], 2, "0 or more"),
        (["region-growing", "a.tif", "-o", "o.tif", "--seeds", "s.csv", "--n-workers", "2"], 2, "cannot run in blocks"),
        (["run", "any.json", "squares.tif", "-o", "out.tif", "--axes", "QQ"], 2, "it needs Y and X"),
        (["region-growing", "squares.tif", "-o", "out.tif"], 2, "--seeds"),
        (["run", "squares.tif", "squares.tif", "-o", "out.tif"], 1, "is not a recipe"),
        (["run", "nowhere.json", "squares.tif", "-o", "out.tif"], 1, "There is no file nowhere.json"),
        (["evaluate", "squares.tif", "."], 1, "must both be files or both be folders"),
        ([], 2, ""),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(folder, capsys, words, code, message):
    before = sorted(folder.iterdir())
    assert main(words) == code
    assert message in capsys.readouterr().err
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("others", [[], ["squares.tif"]], ids=["one image", "two images"])
def test_error_of_a_method_names_the_file_once(folder, capsys, others):
    np.save("holes.npy", np.full((4, 4), np.nan))
    out = "labels/" if others else "out.tif"
    assert main(["threshold", "holes.npy", *others, "-o", out, "--quiet"]) == 1
    message = capsys.readouterr().err.splitlines()[0]
    assert message.startswith("tessera: holes.npy: threshold: `image` is NaN or infinite in every pixel.")


def test_message_that_names_the_file_already_is_left_as_it_is(folder, capsys):
    (folder / "broken.tif").write_text("no image")
    main(["threshold", "broken.tif", "-o", "out.tif"])
    assert capsys.readouterr().err.count("broken.tif") == 1


def test_setting_without_effect_is_noted(folder, capsys):
    main(["threshold", "squares.tif", "-o", "out.tif", "--low", "5"])
    assert "--low has no effect: it is used only with --method manual" in capsys.readouterr().err


def test_recipe_is_never_overwritten_by_a_record(folder, capsys):
    main(["threshold", "squares.tif", "-o", "out.tif"])
    assert main(["run", "out.json", "squares.tif", "-o", "out.npy", "--overwrite"]) == 1
    assert "never overwritten" in capsys.readouterr().err


def test_empty_recipe_is_refused(folder, capsys):
    (folder / "recipe.json").write_text("[]")
    assert main(["run", "recipe.json", "squares.tif", "-o", "out.tif"]) == 1
    assert "at least one step" in capsys.readouterr().err


@pytest.fixture
def ctrl_c():
    """Let Ctrl-C interrupt, also where a shell has started the tests in the background, with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_ends_with_130_and_leaves_nothing(folder, monkeypatch):
    closed = []

    def interrupted(request):
        try:
            yield Progress(0, 2, "Starting")
            os.kill(os.getpid(), signal.SIGINT)
            yield Progress(1, 2, "Never shown")
        finally:
            closed.append(True)

    monkeypatch.setattr(api, "job", interrupted)
    before = sorted(folder.iterdir())
    assert main(["threshold", "squares.tif", "-o", "out.tif"]) == 130
    assert sorted(folder.iterdir()) == before
    assert closed == [True]


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.skipif(os.name == "nt", reason="Windows ends a process that gets such a signal")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("is_lost", [False, True])
def test_a_signal_to_stop_ends_a_run_though_c_code_passes_over_it(folder, monkeypatch, capsys, number, code, is_lost):
    def stop():
        os.kill(os.getpid(), number)

    def stopped(request):
        yield Progress(0, 2, "Starting")
        ctypes.CFUNCTYPE(None)(stop)() if is_lost else stop()
        yield Progress(1, 2, "Compiled")
        raise AssertionError("it went on")

    monkeypatch.setattr(api, "job", stopped)
    before, met = sorted(folder.iterdir()), signal.getsignal(number)
    assert main(["threshold", "squares.tif", "-o", "out.tif"]) == code
    assert sorted(folder.iterdir()) == before
    assert capsys.readouterr().err == "tessera: Stopped. No half-written file was left.\n"
    assert signal.getsignal(number) is met


def test_ctrl_c_while_writing_leaves_nothing(folder, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", interrupt)
    before = sorted(folder.iterdir())
    assert main(["threshold", "squares.tif", "-o", "out.npy"]) == 130
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("command", [["methods"], ["--version"], ["nosuch"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_nobody_reads_ends_quietly(command, unbuffered):
    start = "import sys; from napari_tessera.cli.main import main; sys.exit(main())"
    run = subprocess.Popen(
        [sys.executable, "-c", start, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip
    run.stdout.close()
    said = run.stderr.read()
    run.wait()
    assert "Traceback" not in said
    assert "Exception ignored" not in said


def test_a_full_disk_is_no_reader_that_left(monkeypatch, capsys):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("napari_tessera.cli.main.print_methods", full)
    assert main(["methods"]) == 1
    assert capsys.readouterr().err == "tessera: The output cannot be written: No space left on device.\n"


def test_version_is_printed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("tessera 0.")


def test_methods_are_listed(capsys):
    assert main(["methods"]) == 0
    printed = capsys.readouterr().out
    assert all(method.name in printed for method in METHODS)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_help_shows_the_defaults_of_the_declaration(method):
    texts = {
        action.option_strings[0]: action.help for action in method_parser(method)._actions if action.option_strings
    }
    for parameter in method.parameters:
        default = parameter.none if parameter.default is None else shown(parameter.default)
        assert f"default: {default}" in texts[flag(parameter.name)]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_help_is_printed(method, capsys):
    assert main([method.name, "--help"]) == 0
    assert method.summary.split()[0] in capsys.readouterr().out


def test_unit_of_a_range_is_set_apart(capsys):
    texts = {action.dest: action.help for action in method_parser(method_named("threshold"))._actions}
    assert "[any number (intensity); default: auto;" in texts["low"]


def test_condition_is_said_by_the_shorter_list(capsys):
    texts = {action.dest: action.help for action in method_parser(method_named("threshold"))._actions}
    assert "only with --method multi-otsu" in texts["classes"]
    assert "not with --method manual" in texts["polarity"]


def test_command_works_as_a_program_and_loads_nothing_heavy_for_help():
    program = """
import sys
from napari_tessera.cli.main import main
code = main(["--help"])
heavy = set("torch napari qtpy skimage numba dask zarr tifffile PIL".split()) & set(sys.modules)
assert not heavy, heavy
sys.exit(code)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "threshold" in done.stdout


def test_several_seeds_are_matched_by_name(folder):
    np.save("more.npy", np.pad(np.ones((3, 3)), 2))
    (folder / "seeds").mkdir()
    (folder / "seeds" / "squares.csv").write_text("y,x\n3,3\n")
    (folder / "seeds" / "more.csv").write_text("y,x\n3,3\n8,0\n")
    words = ["region-growing", "squares.tif", "more.npy", "-o", "labels", "--seeds", "seeds", "--sigma", "0"]
    assert main(words) == 1
    assert (folder / "labels" / "squares.tif").exists()
    assert not (folder / "labels" / "more.tif").exists()


def test_workers_give_the_same_labels(folder):
    main(["threshold", "squares.tif", "-o", "whole.npy", *SETTINGS])
    assert main(["threshold", "squares.tif", "-o", "blocks.zarr", "--n-workers", "2", *SETTINGS]) == 0
    np.testing.assert_array_equal(np.asarray(read_labels("blocks.zarr").data), np.load("whole.npy"))


def test_zarr_in_blocks_goes_to_zarr_and_leaves_nothing_else(folder):
    main(["threshold", "squares.tif", "-o", "squares.zarr", *SETTINGS])
    words = ["threshold", "squares.zarr", "-o", "out.zarr", "--n-workers", "2", "--axes", "YX", *SETTINGS]
    assert main(words) == 0
    assert np.asarray(read_labels("out.zarr").data).max() == 2
    assert not list(folder.glob(".tessera*"))


def test_recipe_made_in_2d_runs_on_a_time_series(folder):
    main(["threshold", "squares.tif", "-o", "out.tif", *SETTINGS])
    image = tifffile.imread("squares.tif")
    tifffile.imwrite("movie.tif", np.stack([image] * 3), imagej=True, metadata={"axes": "TYX"})
    assert main(["run", "out.json", "movie.tif", "-o", "movie-labels.tif"]) == 0
    assert read_labels("movie-labels.tif").axes == "TYX"


def test_recipe_takes_other_seeds(folder):
    (folder / "seeds.csv").write_text("y,x\n3,3\n")
    (folder / "others.csv").write_text("y,x\n8,10\n")
    main(["region-growing", "squares.tif", "-o", "out.tif", "--seeds", "seeds.csv", "--sigma", "0"])
    assert main(["run", "out.json", "squares.tif", "-o", "again.tif", "--input", "seeds=others.csv"]) == 0
    assert np.count_nonzero(read_labels("again.tif").data) == 15


def test_recipe_names_its_inputs(folder, capsys):
    main(["threshold", "squares.tif", "-o", "out.tif", *SETTINGS])
    assert main(["run", "out.json", "squares.tif", "-o", "again.tif", "--input", "seeds=a.csv"]) == 2
    assert "the recipe's inputs are: none" in capsys.readouterr().err


def test_a_class_of_a_film_is_counted_once(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("film.npy", np.stack([np.pad(np.full((5, 6), 200, np.uint8), 5)] * 3))
    assert main(["threshold", "film.npy", "--axes", "TYX", "-o", "labels.tif"]) == 0
    assert "film.npy: 1 class in" in capsys.readouterr().out


@pytest.mark.parametrize("out", ["out.tif", "out/"])
def test_axes_that_tiff_has_in_another_order_are_moved_and_that_is_said(folder, capsys, out):
    np.save("volume.npy", np.random.default_rng(0).random((12, 16, 3)))
    assert main(["threshold", "volume.npy", "-o", out, "--axes", "YXZ", "--sigma", "0"]) == 0
    assert "The labels have the axes YXZ; they are written as ZYX" in capsys.readouterr().err
    assert read_labels(folder / ("out.tif" if out == "out.tif" else "out/volume.tif")).axes == "ZYX"


def test_recipe_moves_axes_as_the_method_does(folder, capsys):
    np.save("volume.npy", np.random.default_rng(0).random((12, 16, 3)))
    assert main(["threshold", "volume.npy", "-o", "first.npy", "--axes", "YXZ", "--sigma", "0"]) == 0
    assert main(["run", "first.json", "volume.npy", "-o", "out.tif", "--axes", "YXZ"]) == 0
    assert "they are written as ZYX" in capsys.readouterr().err
    np.testing.assert_array_equal(np.load("first.npy").transpose(2, 0, 1), read_labels(folder / "out.tif").data)


@pytest.mark.parametrize(
    ("axes", "out", "message"),
    [
        ("MYX", "out.tif", "TIFF has no axis M"),
        ("QYX", "out.ome.zarr", "does not keep the axes Q"),
        ("ZYX", "out.png", "PNG holds one plane"),
    ],
)
def test_axes_that_a_format_lacks_are_refused_before_the_run(folder, capsys, monkeypatch, axes, out, message):
    np.save("volume.npy", np.zeros((3, 12, 16)))
    monkeypatch.setattr(batch, "run_job", None)  # so that a run would fail
    before = sorted(folder.iterdir())
    assert main(["threshold", "volume.npy", "-o", out, "--axes", axes]) == 1
    assert message in capsys.readouterr().err
    assert sorted(folder.iterdir()) == before


def test_a_record_that_says_where_an_image_lies_is_not_written_over(folder, capsys):
    assert main(["threshold", "squares.tif", "-o", "labels.png", *SETTINGS]) == 0
    before = (folder / "labels.json").read_bytes()
    assert main(["refine", "labels.png", "-o", "labels.tif", "--overwrite"]) == 1
    assert "labels.json was read as input" in capsys.readouterr().err
    assert (folder / "labels.json").read_bytes() == before

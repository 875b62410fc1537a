"""Names, links, folders and outputs as systems have them at their oddest."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_tessera import io
from napari_tessera.cli.main import main

POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has no such names, links and outputs")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such names and /dev/full")
START = "from napari_tessera.cli import script; script()"


@pytest.fixture
def image(tmp_path, monkeypatch):
    """A small image in the folder that the test works in."""
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.eye(20))
    return Path("a.npy")


def ended(words, redirection=""):
    """Run the command as a shell does; return the exit code and what was said on stderr."""
    line = f'exec "$0" -c "{START}" {words} {redirection}'
    done = subprocess.run(["sh", "-c", line, sys.executable], capture_output=True, text=True, timeout=120)
    return done.returncode, done.stderr


@POSIX
@pytest.mark.parametrize("redirection", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_without_an_output_the_work_is_done(image, redirection):
    assert ended("threshold a.npy -o out.npy", redirection) == (0, "")
    assert io.read_labels("out.npy").data.any()


@LINUX
@pytest.mark.parametrize(
    ("words", "unbuffered"),
    [("threshold a.npy -o out.npy", ""), ("train --help", ""), ("models show --help", "1"), ("--version", "1")],
)
def test_a_full_output_is_an_error_with_a_sentence(image, words, unbuffered, monkeypatch):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    code, said = ended(words, "> /dev/full")
    assert (code, said) == (1, "tessera: The output cannot be written: No space left on device.\n")


@LINUX
def test_a_name_that_is_not_utf_8_is_read_written_and_printed(image, capsys):
    name, out = os.fsdecode(b"a\xff.npy"), os.fsdecode(b"out\xff.npy")
    image.rename(name)
    assert main(["threshold", name, "-o", out, "--spacing", "0.5", "--unit", "µm"]) == 0
    assert "a\\udcff.npy: 1 object" in capsys.readouterr().out.replace("class", "object")
    assert io.read_labels(out).spatial.spacing == (0.5, 0.5)


@pytest.mark.parametrize("ending", ["tif", "ome.tif", "ome.zarr", "npy"])
def test_any_unit_of_a_file_is_written_and_read(image, ending):
    metadata = {"axes": "YX", "unit": r"gr\u00f6\u00dfe"}
    tifffile.imwrite("a.tif", np.eye(20, dtype=np.uint8), imagej=True, resolution=(0.5, 0.5), metadata=metadata)
    assert main(["threshold", "a.tif", "-o", f"out.{ending}"]) == 0
    assert io.read_labels(f"out.{ending}").spatial.spacing == (2.0, 2.0)


@pytest.mark.parametrize("unit", ["\x1b[31m", "\udcff", "a" * 200, "a\u202eb"])
def test_a_unit_that_cannot_be_shown_is_refused(image, capsys, unit):
    assert main(["threshold", "a.npy", "-o", "out.tif", "--spacing", "2", "--unit", unit]) == 2
    assert "is not a unit; it must be a short text" in capsys.readouterr().err


@pytest.mark.parametrize("unit", ["s", "kg", "größe"])
def test_a_unit_that_is_no_length_is_refused(image, capsys, unit):
    assert main(["threshold", "a.npy", "-o", "out.tif", "--spacing", "2", "--unit", unit]) == 2
    assert f"--unit: '{unit}' is no unit of length that is known" in " ".join(capsys.readouterr().err.split())


@POSIX
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["threshold", "loop.npy", "-o", "out.npy"], "loop.npy is a link that leads back to itself"),
        (["threshold", "a.npy", "-o", "loop.npy"], "loop.npy exists already"),
        (["run", "loop.npy", "a.npy", "-o", "out.npy"], "loop.npy is a link that leads back to itself"),
    ],
)
def test_a_link_to_itself_is_called_one(image, capsys, words, sentence):
    Path("loop.npy").symlink_to("loop.npy")
    assert main(words) == 1
    assert sentence in capsys.readouterr().err


LONG = "a" * 300 + ".npy"


@POSIX
@pytest.mark.parametrize(
    "words",
    [
        ["threshold", LONG, "-o", "out.npy"],
        ["threshold", "a.npy", "-o", LONG],
        ["threshold", "a.npy", "-o", f"{'a' * 300}/out.ome.zarr"],
        ["evaluate", "a.npy", "a.npy", "--json", LONG],
        ["run", LONG, "a.npy", "-o", "out.npy"],
        ["models", "import", LONG],
        ["region-growing", "a.npy", "-o", "out.npy", "--seeds", LONG],
    ],
)
def test_a_name_that_is_too_long_is_called_so(image, capsys, words):
    assert main(words) == 1
    assert f"The name {'a' * 40}… is longer than this system allows. Give a shorter one." in capsys.readouterr().err


@POSIX
def test_the_longest_name_can_be_written(image):
    longest = "a" * 250 + ".npy"
    assert main(["threshold", "a.npy", "-o", longest]) == 0
    assert io.read_labels(longest).data.any()


def code_of_nobody(words):
    """Run the command in a child without rights; return its exit code."""
    child = os.fork()
    if not child:
        os.setuid(65534)
        os._exit(main(words))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(os.name == "nt" or os.getuid() != 0, reason="only root can give up rights")
@pytest.mark.parametrize(
    "words",
    [
        ["threshold", "shut/a.npy", "-o", "out.npy"],
        ["threshold", "a.npy", "-o", "shut/out.npy"],
        ["run", "shut/a.json", "a.npy", "-o", "out.npy"],
    ],
)
def test_a_folder_that_may_not_be_entered_gets_a_sentence(image, capfd, words):
    Path("shut").mkdir()
    Path("shut/a.npy").write_bytes(image.read_bytes())
    for folder in Path.cwd().parents:
        if folder.is_relative_to("/tmp"):
            folder.chmod(0o755)
    Path.cwd().chmod(0o777)
    Path("shut").chmod(0o666)
    assert main(["threshold", "a.npy", "-o", "first.npy"]) == 0  # all that is needed is loaded
    importlib.import_module("napari_tessera.cli.replay")
    capfd.readouterr()
    assert code_of_nobody(words) == 1
    said = capfd.readouterr().err
    assert "ermission" in said or "may not be written to" in said
    assert "Traceback" not in said


SLOWLY = """
import builtins, os, signal, sys, threading, time
from napari_tessera.cli import script
load = builtins.__import__
def slowly(name, *rest):
    time.sleep(0.02)
    return load(name, *rest)
builtins.__import__ = slowly
signal.signal(signal.SIGINT, signal.default_int_handler)
threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
script()
"""


@POSIX
def test_ctrl_c_while_python_loads_leaves_no_traceback():
    words = [sys.executable, "-c", SLOWLY, "methods"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")

"""Kernels run wherever Tessera is installed: what cannot be kept is only compiled again."""

import importlib.util
import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import napari_tessera
from napari_tessera.algorithms import jit
from napari_tessera.core.errors import say_once

KERNEL = """
from napari_tessera.algorithms.jit import njit

@njit
def half(number):
    return number / 2
"""
PACKAGE = Path(napari_tessera.__file__).parent
OF_USERS = pytest.mark.skipif(not hasattr(os, "getuid"), reason="Windows does not tell by numbers whose a folder is")


@pytest.fixture
def folder(tmp_path, monkeypatch, caplog):
    """A folder with a kernel, and nothing said yet."""
    (tmp_path / "kernel.py").write_text(KERNEL)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    say_once.cache_clear()
    caplog.set_level(logging.INFO, "napari_tessera")
    return tmp_path


@pytest.fixture
def half(folder, caplog):
    """Call the kernel as a new process does: return its result and what was said."""

    def called(number):
        spec = importlib.util.spec_from_file_location("kernel", folder / "kernel.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        say_once.cache_clear()
        caplog.clear()
        return module.half(number), [record.getMessage() for record in caplog.records]

    return called


def shut(folder, monkeypatch):
    """Let there be files where numba's folders would be, so that even an administrator can write to neither."""
    file = folder / "file"
    file.touch()
    (folder / "__pycache__").touch()
    for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(file / "home"))


def test_the_first_process_compiles_and_says_so(half):
    assert half(3) == (1.5, [jit.COMPILING])


def test_the_next_process_compiles_nothing(half):
    half(3)
    assert half(3) == (1.5, [])


def test_another_type_is_compiled_too(half):
    half(3)
    assert half(3.0) == (1.5, [jit.COMPILING])


@OF_USERS
def test_where_numba_can_write_nowhere_code_is_kept_in_a_private_folder(half, folder, monkeypatch):
    shut(folder, monkeypatch)
    kept = folder / "temporary" / f"napari-tessera-{os.getuid()}"
    assert half(3) == (1.5, [jit.FOR_A_WHILE.format(folder=kept)])
    assert half(3) == (1.5, [])
    assert kept.stat().st_mode & 0o777 == 0o700


def test_where_nothing_at_all_can_be_written_every_run_compiles(half, folder, monkeypatch):
    shut(folder, monkeypatch)
    monkeypatch.setattr("tempfile.tempdir", str(folder / "file"))
    assert half(3) == half(3) == (1.5, [jit.IN_EVERY_RUN])


@OF_USERS
def test_folder_that_others_can_write_to_is_not_used(folder):
    (folder / "temporary" / f"napari-tessera-{os.getuid()}").mkdir()
    (folder / "temporary" / f"napari-tessera-{os.getuid()}").chmod(0o770)
    assert jit.private_folder() is None


@OF_USERS
def test_link_to_another_folder_is_not_used(folder):
    (folder / "elsewhere").mkdir(mode=0o700)
    (folder / "temporary" / f"napari-tessera-{os.getuid()}").symlink_to(folder / "elsewhere")
    assert jit.private_folder() is None


@pytest.mark.parametrize("size", [0, 10, 60])
@pytest.mark.parametrize("ending", [".nbi", ".nbc"])
def test_damaged_file_is_compiled_anew_and_written_over(half, folder, ending, size):
    half(3)
    [file] = (folder / "__pycache__").glob(f"*{ending}")
    file.write_bytes(file.read_bytes()[:size])
    assert half(3) == (1.5, [jit.COMPILING])
    assert half(3) == (1.5, [])


def test_what_cannot_be_written_is_said_and_does_not_stop_the_run(half, folder):
    half(3)
    [index] = (folder / "__pycache__").glob("*.nbi")
    index.unlink()
    index.mkdir()
    number, [compiling, why] = half(3)
    assert (number, compiling) == (1.5, jit.COMPILING)
    assert why.startswith("Compiled code cannot be kept (Is a directory), so the next run compiles again.")


def test_code_for_another_type_under_the_same_name_is_not_run(half, folder):
    half(3)
    half(3.0)
    of_integers, of_floats = sorted((folder / "__pycache__").glob("*.nbc"))
    of_floats.write_bytes(of_integers.read_bytes())  # as two processes leave it that compile at the same time
    assert half(3.0) == (1.5, [jit.COMPILING])


def test_all_of_tessera_can_be_imported_where_nothing_can_be_written(tmp_path, monkeypatch):
    package = tmp_path / "napari_tessera"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__", "shipped"))
    for below in ("algorithms", "inference"):
        (package / below / "__pycache__").touch()
    shut(tmp_path, monkeypatch)
    files = [*package.glob("algorithms/*.py"), *package.glob("inference/*.py")]
    names = [f"napari_tessera.{file.parent.name}.{file.stem}" for file in files if "@njit" in file.read_text("utf-8")]
    program = f"import tempfile; tempfile.tempdir = 'nowhere'\nfor name in {names}: __import__(name)"
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, cwd=tmp_path, text=True, stderr=-1)
    assert (ended.returncode, ended.stderr.strip()) == (0, jit.IN_EVERY_RUN)


def test_every_kernel_is_compiled_here():
    sources = [path for path in PACKAGE.rglob("*.py") if path.name != "jit.py"]
    assert not [path.name for path in sources if re.search(r"numba\.(njit|jit)\b", path.read_text(encoding="utf-8"))]


def said_to(stderr):
    program = (
        "from napari_tessera.core.errors import *; from napari_tessera.cli.terminal import telling\n"
        "with telling(): say_once('Compiling', INFO), say_once('Not kept', WARNING)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, stderr=stderr)


def test_a_terminal_is_told_that_code_is_compiled():
    pty = pytest.importorskip("pty", reason="Windows has no pseudo-terminals")
    terminal, program_side = pty.openpty()
    said_to(program_side)
    assert os.read(terminal, 1000).decode().split("\r\n")[:2] == ["tessera: Compiling", "tessera: Not kept"]


def test_a_file_is_told_only_what_is_wrong(tmp_path):
    with (tmp_path / "log").open("w") as log:
        said_to(log)
    assert (tmp_path / "log").read_text().splitlines() == ["tessera: Not kept"]

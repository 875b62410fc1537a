"""Compile the passes of a method in a process of its own, once after installing or updating.

Compiling holds Python's interpreter lock for up to a second at a time, in which a window would stand still. A child
process has a lock of its own, and leaves what it compiled in numba's cache. Where no child can be started, nothing is
lost: the run then compiles what it needs itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import platformdirs

from napari_tessera.jobs import Job, Progress
from napari_tessera.registry import Method

TEXT = "Preparing, once after installing or updating"
LONGEST_SECONDS = 180.0
BEAT_SECONDS = 0.05
PRACTICE = "napari_tessera.practice"
"""The module that the child runs."""
CACHE_FOLDER = "NUMBA_CACHE_DIR"

_asked: set[tuple[str, ...]] = set()
"""What this process has had compiled, or tried to."""


def ahead(method: Method, dtype: str, axes: str, settings: Mapping[str, Any]) -> Job[None]:
    """Have a method's passes compiled for images of a dtype, unless that was done before.

    Parameters
    ----------
    method : Method
    dtype : str
    axes : "YX" or "ZYX"
    settings : mapping
        Parameters of the method; of these only its models are used.
    """
    key = (method.name, dtype, axes, stamp())
    note = notes_folder() / "-".join(key[:3])
    if key in _asked or _read(note) == stamp():
        return
    _asked.add(key)
    models = {each.name: settings[each.name] for each in method.parameters if each.model and each.name in settings}
    ended = yield from _in_child([method.name, dtype, axes, json.dumps(models)])
    if ended:
        _write(note, stamp())


def notes_folder() -> Path:
    """Return where it is noted what was compiled."""
    return Path(platformdirs.user_cache_dir("napari-tessera", appauthor=False)) / "compiled"


def stamp() -> str:
    """Say what the compiled code depends on: the sources, Python, numba, the computer, and where numba keeps it."""
    folder = Path(__file__).parent
    sources = sorted((*folder.glob("kernels/*.py"), *folder.glob("methods/*.py")))
    changed = [(path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in sources]
    try:
        numba = version("numba")
    except PackageNotFoundError:
        numba = ""
    where = (str(folder), sys.version, numba, platform.node(), os.environ.get(CACHE_FOLDER, ""))
    return hashlib.sha256(repr((changed, where)).encode()).hexdigest()


def interpreter() -> Path | None:
    """Return the Python to start a child with; None where this process is a program of another kind.

    An application that bundles Python calls itself `sys.executable`; starting it would open a second window.
    """
    root = Path(sys.prefix)
    for path in (Path(sys.executable), root / "bin" / "python", root / "python.exe", root / "Scripts" / "python.exe"):
        if path.stem.lower().startswith("python") and path.is_file():
            return path
    return None


def _silent(command: list[str]) -> subprocess.Popen[bytes]:
    """Start a process that shows no window, reads nothing and says nothing."""
    nothing, windowless = subprocess.DEVNULL, getattr(subprocess, "CREATE_NO_WINDOW", 0)
    return subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=nothing, creationflags=windowless)


def _in_child(arguments: list[str]) -> Job[bool]:
    """Run the child to its end; say whether it came to one. A job that is closed ends it."""
    python = interpreter()
    if python is None:
        return False
    command = [str(python), "-P", "-m", PRACTICE, *arguments]
    try:
        child = _silent(command)
    except OSError:
        return False
    started = time.monotonic()
    try:
        while child.poll() is None:
            yield Progress(0, 1, TEXT)
            if time.monotonic() - started > LONGEST_SECONDS:
                return False
            time.sleep(BEAT_SECONDS)
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()
    return True


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError:
        # Without the note, the next process asks for it again, and finds all compiled.
        return

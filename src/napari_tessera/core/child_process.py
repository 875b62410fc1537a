"""Run a library call that holds Python's lock for long, or may crash, in a process of its own.

Arrays travel in files that NumPy reads and writes without the lock. The child is a plain new process, so a script that
calls a method needs no `if __name__ == "__main__"`.
"""

from __future__ import annotations

import json
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from napari_tessera.core.errors import RunError, TesseraError
from napari_tessera.core.jobs import Job, Progress
from napari_tessera.core.parallel import BEAT_SECONDS, in_background

START = "import json, sys; sys.path[:] = json.loads(sys.argv[2]); from {0} import serve; serve(sys.argv[1])"
CALL, OUTCOME, ERRORS = "call.pickle", "outcome.pickle", "errors.txt"
SHOWN_CHARACTERS = 300


def run_in_child(function: Callable[..., np.ndarray], *arrays: np.ndarray, text: str = "", **settings: Any) -> Job[Any]:
    """Call `function(*arrays, **settings)` in a child process; a job that is closed ends the child at once.

    The child imports the function, and gets the settings by pickle; `text` says what is being done. Raises the
    `TesseraError` of `function`, or a `RunError` if the child ends without an outcome (after a crash of native code) or
    with any other error.
    """
    with tempfile.TemporaryDirectory(prefix="tessera-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        yield from in_background(lambda: _write_call(folder, function, arrays, settings), text)
        with (folder / ERRORS).open("wb") as errors:
            child = subprocess.Popen(
                [sys.executable, "-c", START.format(__name__), name, json.dumps(sys.path)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        try:
            while child.poll() is None:
                yield Progress(0, 1, text)
                time.sleep(BEAT_SECONDS)
        finally:
            child.kill()
            child.wait()
        return (yield from in_background(lambda: _read_outcome(folder, function.__name__, child.returncode), text))


def _write_call(folder: Path, function: Callable[..., Any], arrays: tuple[np.ndarray, ...], settings: Any) -> None:
    for number, array in enumerate(arrays):
        np.save(folder / f"{number}.npy", array)
    (folder / CALL).write_bytes(pickle.dumps((function, len(arrays), settings)))


def _read_outcome(folder: Path, name: str, code: int) -> np.ndarray:
    if not (folder / OUTCOME).exists():
        printed = (folder / ERRORS).read_text(encoding="utf-8", errors="replace").strip()[-SHOWN_CHARACTERS:]
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        raise RunError(
            f"The process that computed {name} {how}; nothing else was harmed. It may have run out of memory: try a "
            f"smaller image or region. {printed}".rstrip()
        )
    error = pickle.loads((folder / OUTCOME).read_bytes())
    if isinstance(error, TesseraError | MemoryError):
        raise error
    if error is not None:
        raise RunError(f"{name} failed in its process: {type(error).__name__}: {error}") from error
    found: np.ndarray = np.load(folder / "found.npy")
    return found


def serve(name: str) -> None:
    """Do what `run_in_child` wrote into a folder, as the child."""
    folder = Path(name)
    function, count, settings = pickle.loads((folder / CALL).read_bytes())
    error: Exception | None = None
    try:
        arrays = [np.load(folder / f"{number}.npy", mmap_mode="r") for number in range(count)]
        np.save(folder / "found.npy", function(*arrays, **settings))
    except Exception as raised:
        error = raised
    (folder / OUTCOME).write_bytes(_pickled(error))


def _pickled(error: Exception | None) -> bytes:
    """Pickle an error; one that cannot be pickled becomes a text."""
    try:
        whole = pickle.dumps(error)
        pickle.loads(whole)
    except Exception:
        return pickle.dumps(RuntimeError(str(error)))
    return whole

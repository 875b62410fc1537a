"""Run a library call that holds Python's lock for long, or may crash, in a process of its own.

Arrays travel in files that NumPy reads and writes without the lock. The child is a plain new process, so a script that
calls a method needs no `if __name__ == "__main__"`.
"""

from __future__ import annotations

import json
import os
import pickle
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from napari_tessera.core.errors import RunError, TesseraError
from napari_tessera.core.jobs import BEAT_SECONDS, Job, Progress, in_background

START = "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); from {0} import {1}; {1}(); "
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
            code = yield from run_python(f"from {__name__} import serve; serve({name!r})", text=text, errors=errors)
        return (yield from in_background(lambda: _read_outcome(folder, function.__name__, code), text))


def run_python(code: str, *words: str, text: str, errors: IO[bytes] | int = subprocess.DEVNULL) -> Job[int]:
    """Run code in a process without a window, and return its exit code; a job that is closed ends it at once.

    It finds modules as this process does, and `words` in `sys.argv`.
    """
    start = START.format(__name__, end_with_parent.__name__)
    child = subprocess.Popen(
        [str(interpreter() or sys.executable), "-c", start + code, json.dumps(sys.path), *words],
        stdin=subprocess.PIPE,  # see `end_with_parent`
        stdout=subprocess.DEVNULL,
        stderr=errors,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )
    with child:
        try:
            while child.poll() is None:
                yield Progress(0, 1, text)
                time.sleep(BEAT_SECONDS)
        finally:
            child.kill()
    return child.returncode


def interpreter() -> Path | None:
    """Return the Python for a child process; None if this process is another program.

    In an application that bundles Python, `sys.executable` is the application; starting it would open a second window.
    """
    root = Path(sys.prefix)
    for path in (Path(sys.executable), root / "bin" / "python", root / "python.exe", root / "Scripts" / "python.exe"):
        if path.stem.lower().startswith("python") and path.is_file():
            return path
    return None


def end_with_parent() -> None:
    """End this child of `run_python` when its parent ends, which closes the other end of stdin.

    On Linux the system ends it by a signal; elsewhere a thread does, as soon as native code releases Python's lock.
    """
    if sys.platform != "linux":
        threading.Thread(target=lambda: os._exit(len(sys.stdin.buffer.read())), daemon=True).start()
        return
    import fcntl

    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([0], [], [], 0)[0]:  # the parent has ended before
        os._exit(0)


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

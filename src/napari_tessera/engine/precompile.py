"""Compile a method's numba code in a separate process, by running the method on a tiny image.

Compiling holds Python's interpreter lock for up to a second at a time, which would block a window. The separate process
writes the compiled code to numba's cache. If no process can be started, the run compiles the code itself.

`python -m napari_tessera.engine.precompile METHOD DTYPE AXES SETTINGS` does this for all variants of the method's
parameters, or for a network in one. SETTINGS is JSON.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from napari_tessera.core.child_process import interpreter, run_python
from napari_tessera.core.errors import TesseraError
from napari_tessera.core.jobs import Job
from napari_tessera.core.method import Method
from napari_tessera.core.result import Result
from napari_tessera.core.spec import Role
from napari_tessera.methods.registry import method_named

TEXT = "Preparing, once after installing or updating"
LONGEST_SECONDS = 180.0
PRACTICE = "napari_tessera.engine.precompile"
"""The module that the child process runs."""
CACHE_FOLDER = "NUMBA_CACHE_DIR"

_asked: set[tuple[str, ...]] = set()
"""What this process has already compiled, or tried to."""


def precompile(method: Method, dtype: str, axes: str, settings: Mapping[str, Any]) -> Job[None]:
    """Compile a method's passes for images of a dtype, unless that was done before; of `settings`, models matter."""
    key = (method.name, dtype, axes, cache_key())
    note = notes_folder() / "-".join(key[:3])
    if key in _asked or _read(note) == cache_key():
        return
    _asked.add(key)
    models = {each.name: settings[each.name] for each in method.parameters if each.model and each.name in settings}
    try:
        ended = yield from _in_child([method.name, dtype, axes, json.dumps(models)])
    except GeneratorExit:
        _asked.discard(key)
        raise
    if ended:
        _write(note, cache_key())


def notes_folder() -> Path:
    """Return the folder with the notes on what was compiled."""
    return Path(platformdirs.user_cache_dir("napari-tessera", appauthor=False)) / "compiled"


def cache_key() -> str:
    """Return what the compiled code depends on: sources, Python, numba, the computer, and numba's cache folder."""
    folder = Path(__file__).parents[1]
    sources = sorted((*folder.glob("algorithms/*.py"), *folder.glob("inference/*.py")))
    changed = [(path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in sources]
    try:
        numba = version("numba")
    except PackageNotFoundError:
        numba = ""
    where = (str(folder), sys.version, numba, platform.node(), os.environ.get(CACHE_FOLDER, ""))
    return hashlib.sha256(repr((changed, where)).encode()).hexdigest()


def _in_child(arguments: list[str]) -> Job[bool]:
    """Run the child to its end, and return whether it succeeded. Closing the job ends the child."""
    if interpreter() is None:
        return False
    compiling = run_python(f"import runpy; runpy.run_module({PRACTICE!r}, run_name='__main__')", *arguments, text=TEXT)
    until = time.monotonic() + LONGEST_SECONDS
    try:
        for step in compiling:
            yield step
            if time.monotonic() > until:
                return False
    except OSError:
        return False
    finally:
        compiling.close()
    return True


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _write(path: Path, text: str) -> None:
    with suppress(OSError):  # without the note, the next process starts a child again, which finds all compiled
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


SMALL = (4, 16, 16)
WIDE = (2, 68, 4000)
"""More pixels than one piece, so that the array is cut: numba compiles again for arrays cut across rows."""
DIAMETER_PX = 24.0
"""Different from the shipped models' diameter, so that images are rescaled."""
SAME_EITHER_WAY = ("device",)
"""Settings that do not change what is compiled."""


def warm_up(
    method: Method, dtype: Any, axes: str, settings: Mapping[str, Any], shape: tuple[int, ...] = SMALL
) -> Result:
    """Run a method once on a tiny image (`shape` is Z, Y, X), with parameters that differ from their defaults."""
    from napari_tessera.engine import api

    labels = np.zeros(shape[-len(axes) :], np.int32)
    labels[..., 2:7, 2:7], labels[..., 9:14, 9:14] = 1, 2
    inputs: dict[str, Any] = {}
    for entry in method.inputs:
        if entry.roles[0] == Role.POINTS:
            inputs[entry.name] = np.array([[1.0, 4.0, 4.0], [1.0, 11.0, 11.0]])[:, -len(axes) :]
        else:
            inputs[entry.name] = _bright(labels, dtype) if entry.roles[0] == Role.IMAGE else labels
    main = inputs.pop(method.inputs[0].name)
    needed = {entry.name: inputs[entry.name] for entry in method.inputs[1:] if not entry.is_optional}
    return api.segment(method.name, main, axes=axes, **needed, **settings)


def _bright(labels: np.ndarray, dtype: Any) -> np.ndarray:
    """Make the objects brighter than the background, with noise: images of few values use other code."""
    return (50 * labels + np.random.default_rng(0).uniform(0, 20, labels.shape)).astype(dtype)


def parameter_variants(method: Method, settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the settings as they are, and then with each choice or switch changed in turn.

    Examples
    --------
    >>> list(parameter_variants(method_named("threshold"), {}))[:3]
    [{}, {'method': 'li'}, {'method': 'yen'}]
    """
    yield dict(settings)
    for parameter in method.parameters:
        if parameter.name in SAME_EITHER_WAY:
            continue
        values = (True, False) if parameter.kind is bool else parameter.choices
        for value in values:
            if value != settings.get(parameter.name, parameter.default):
                yield {**settings, parameter.name: value}


def main(name: str, dtype: str, axes: str, settings: str) -> None:
    """Warm up a method, on a tiny image and a wide one; variants that cannot run on them are skipped."""
    method, given = method_named(name), json.loads(settings)
    is_network = any(parameter.model for parameter in method.parameters)
    # A network is slow, and slowest if it must estimate the object size.
    in_ways = [given | {"diameter": DIAMETER_PX}] if is_network else parameter_variants(method, given)
    runs = [(method, axes, each) for each in in_ways]
    if is_network:
        seconds = (second_network(model) for model in given.values())
        unet = method_named("unet")
        runs += [(unet, "YX", {"model": second, "diameter": DIAMETER_PX}) for second in seconds if second]
    for (chosen, seen_axes, each), shape in itertools.product(runs, (SMALL, WIDE)):
        try:
            warm_up(chosen, dtype, seen_axes, each, shape)
        except TesseraError:
            continue


def second_network(model: str) -> str | None:
    """Return the name of the U-Net that a model uses for rescoring (only if objects are found); None without one."""
    from napari_tessera.models import registry as catalogue

    try:
        second = catalogue.find(model).second
    except TesseraError:
        return None
    return None if second is None else str(second.path)


if __name__ == "__main__":
    main(*sys.argv[1:])

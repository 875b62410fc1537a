"""Compile functions with numba, also if its cache cannot be written.

numba keeps compiled code beside the source, in the user's cache folder or in NUMBA_CACHE_DIR. It fails if it can write
to none of them (a container, a cluster), and on any error with a cache file. Here such code is compiled again.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, overload

from napari_tessera.core.errors import INFO, WARNING, say_once
from napari_tessera.core.memory import check_room

check_room("llvmlite", "The compiler that this method needs")

import numba  # noqa: E402 (it ends the program where there is no room)
from numba.core.caching import FunctionCache, NullCache  # noqa: E402
from numba.core.sigutils import normalize_signature  # noqa: E402

COMPILING = "Compiling, once after installing or updating and for each new kind of image; this may take a minute."
IN_EVERY_RUN = (
    "Compiling, which every run must do again: no folder for compiled code can be written to. Set the "
    "environment variable NUMBA_CACHE_DIR to a folder that can."
)
FOR_A_WHILE = (
    "Compiling. The compiled code is kept in {folder}, which may be deleted, because neither Tessera's folder nor your "
    "cache folder can be written to. Set the environment variable NUMBA_CACHE_DIR to a folder that stays."
)
NOT_KEPT = (
    "Compiled code cannot be kept ({error}), so the next run compiles again. Make room, or set the environment "
    "variable NUMBA_CACHE_DIR to a folder that can be written to."
)


Function = TypeVar("Function", bound=Callable[..., Any])


@overload
def njit(function: Function, /) -> Function: ...


@overload
def njit(*, signature: Any = None, **options: Any) -> Callable[[Function], Function]: ...


def njit(function: Callable[..., Any] | None = None, *, signature: Any = None, **options: Any) -> Any:
    """Compile a function with numba at its first call, to run without Python's lock, and keep the code.

    With a numba `signature` it is compiled now, for these types alone; the options are those of `numba.njit`.
    """
    if function is None:
        return partial(njit, signature=signature, **options)
    kernel = numba.njit(nogil=True, **options)(function)
    if kernel is function:  # NUMBA_DISABLE_JIT is set
        return kernel
    kernel._cache = _cache_of(function)
    if signature is not None:
        kernel.compile(signature)
        kernel.disable_compile()
    return kernel


class Kept(FunctionCache):
    """The compiled code of one function, in files; `message` is logged at `level` before the function is compiled.

    A `RuntimeError` is raised if no folder can be written to.
    """

    def __init__(self, function: Callable[..., Any], message: str = COMPILING, level: int = INFO) -> None:
        super().__init__(function)
        self._message, self._level = message, level

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Load the code for these types; None if it does not exist, or its files are damaged."""
        try:
            found = super().load_overload(sig, target_context)
        except Exception:  # unpickling damaged bytes can raise any exception
            found = None
        # Two processes that compile a function for different types at once may use one file name.
        if found is not None and tuple(found.signature.args) == tuple(normalize_signature(sig)[0]):
            return found
        say_once(self._message, self._level)
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Save the code, in place of damaged files; log an error."""
        try:
            super().save_overload(sig, data)
        except Exception:  # the index, which is read first, may be damaged
            try:
                self.flush()
                super().save_overload(sig, data)
            except OSError as error:
                say_once(NOT_KEPT.format(error=error.strerror or error), WARNING)


class Forgotten(NullCache):
    """The compiled code of a function if no folder can be written to."""

    def load_overload(self, sig: Any, target_context: Any) -> None:
        """Log that the function is compiled in every run."""
        say_once(IN_EVERY_RUN, WARNING)


def private_folder() -> Path | None:
    """Return a folder for temporary compiled code, or None if there is no safe one.

    Compiled code is loaded without a check: if others could write to the folder, they could run their code as this
    user.
    """
    if not hasattr(os, "getuid"):
        return None  # Windows always has a cache folder, and its folders have no numeric owner
    try:
        folder = Path(tempfile.gettempdir()) / f"napari-tessera-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    is_private = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
    return folder if is_private else None


def _cache_of(function: Callable[..., Any]) -> Kept | Forgotten:
    try:
        return Kept(function)
    except (RuntimeError, OSError):  # "cannot cache function"
        folder = private_folder()
    if folder is None:
        return Forgotten()
    try:
        with _keeping_in(folder):
            return Kept(function, FOR_A_WHILE.format(folder=folder), WARNING)
    except (RuntimeError, OSError):
        return Forgotten()


@contextmanager
def _keeping_in(folder: Path) -> Iterator[None]:
    settings = vars(numba.config)
    before, settings["CACHE_DIR"] = settings["CACHE_DIR"], str(folder)
    try:
        yield
    finally:
        settings["CACHE_DIR"] = before

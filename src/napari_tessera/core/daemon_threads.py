"""Daemon threads that are stopped and joined at interpreter exit, and thread pools after a `fork`.

A process made by `fork` (Linux before Python 3.14) has its parent's memory but not its threads. dask would wait forever
for a thread pool that no longer exists, so the pools are removed in the child.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from threading import Lock
from typing import Any

SECONDS_TO_END = 10.0
"""How long the program waits for all threads together."""

_started: list[tuple[threading.Thread, Callable[[], Any]]] = []


def start_thread(
    target: Callable[..., Any], name: str, *args: Any, stop: Callable[[], Any] = lambda: None
) -> threading.Thread:
    """Start a daemon thread that is stopped and joined at interpreter exit.

    Python ends daemon threads at any point; if one is inside torch, the process aborts ("terminate called without an
    active exception"). `stop` asks the thread to end soon; it is called in the main thread, perhaps after that.
    """
    _started[:] = [(thread, how) for thread, how in _started if thread.is_alive()]
    thread = threading.Thread(target=target, args=args, name=name, daemon=True)
    thread.start()
    _started.append((thread, stop))
    return thread


def stop_threads(seconds: float = SECONDS_TO_END) -> list[threading.Thread]:
    """Ask all threads to stop, join them, and return those that still run after so many seconds."""
    for _, stop in _started:
        stop()
    until = time.monotonic() + seconds
    for thread, _ in _started:
        thread.join(max(0.0, until - time.monotonic()))
    return [thread for thread, _ in _started if thread.is_alive()]


weakref.finalize(stop_threads, bool)  # Python calls finalizers, as those of torch, after what is registered later
atexit.register(stop_threads)


def forget_threads() -> None:
    """Let dask, if imported, start new thread pools."""
    threaded = sys.modules.get("dask.threaded")
    if threaded is not None:
        threaded.pools.clear()
        vars(threaded).update(default_pool=None, pools_lock=Lock())


def watch_forks() -> None:
    """Reset thread pools in each child made by `fork`, on systems that have it."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=forget_threads)

"""Folders for files that are needed for a while, in the folder that the system has for such."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "tessera-model-"
LEFT_AFTER_SECONDS = 7 * 24 * 3600.0
"""A folder is used for minutes; whoever made one that is older than this was killed."""


@contextmanager
def short_lived_folder() -> Iterator[Path]:
    """Give a new folder, which is deleted at the end; old ones that killed programs left are deleted, too."""
    _delete_left()
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
        yield Path(folder)


def _delete_left() -> None:
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # another program deletes it, too
            status = path.lstat()
            is_own = not hasattr(os, "getuid") or status.st_uid == os.getuid()
            if is_own and not path.is_symlink() and time.time() - status.st_mtime > LEFT_AFTER_SECONDS:
                shutil.rmtree(path)

"""What is said on the terminal while a job runs: a bar that shows how far it has come, and what it tells of itself."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from napari_tessera.escaping import visible
from napari_tessera.jobs import Progress
from napari_tessera.telling import INFO, LOGGER, WARNING

BAR = "{desc}: {percentage:3.0f}%|{bar:30}| {elapsed} {postfix}"


@contextmanager
def progress_bar(title: str, *, is_quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """Show a bar on stderr, if that is a terminal."""
    from tqdm import tqdm

    hidden = is_quiet or sys.stderr is None or not sys.stderr.isatty()
    with tqdm(total=1.0, desc=visible(title), bar_format=BAR, disable=hidden, leave=False, file=sys.stderr) as bar:

        def show(progress: Progress) -> None:
            bar.set_postfix_str(progress.text, refresh=False)
            bar.update(progress.fraction - bar.n)

        yield show


class Telling(logging.Handler):
    """Prints what Tessera tells of itself; that nothing is wrong and only takes its time, a terminal alone is told."""

    def __init__(self) -> None:
        super().__init__(INFO if sys.stderr is not None and sys.stderr.isatty() else WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        """Print a line above the bar."""
        from tqdm import tqdm

        tqdm.write(visible(f"tessera: {record.getMessage()}"), file=sys.stderr)


@contextmanager
def telling() -> Iterator[None]:
    """Print what Tessera tells of itself meanwhile."""
    handler, before = Telling(), LOGGER.level
    LOGGER.setLevel(handler.level)
    LOGGER.addHandler(handler)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(before)

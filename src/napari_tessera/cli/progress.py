"""A bar that shows how far a job has come."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from napari_tessera.jobs import Progress

BAR = "{desc}: {percentage:3.0f}%|{bar:30}| {elapsed} {postfix}"


@contextmanager
def progress_bar(title: str, *, is_quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """Show a bar on stderr, if that is a terminal."""
    from tqdm import tqdm

    hidden = is_quiet or not sys.stderr.isatty()
    with tqdm(total=1.0, desc=title, bar_format=BAR, disable=hidden, leave=False, file=sys.stderr) as bar:

        def show(progress: Progress) -> None:
            bar.set_postfix_str(progress.text, refresh=False)
            bar.update(progress.fraction - bar.n)

        yield show

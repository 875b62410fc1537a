"""What fails in the window is shown there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def shown_by(show: Callable[[Exception], object]) -> Iterator[None]:
    """Show what goes wrong: raised into Qt, it would leave the widget as it is, or end napari."""
    try:
        yield
    except Exception as error:
        show(error)

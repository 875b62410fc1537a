"""What fails in the window is shown there."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from napari_tessera.errors import in_words


@contextmanager
def shown_by(show: Callable[[Exception], object]) -> Iterator[None]:
    """Show what goes wrong: raised into Qt, it would leave the widget as it is, or end napari."""
    try:
        yield
    except Exception as error:
        show(error)


def showing_errors(method: Callable[..., Any]) -> Callable[..., Any]:
    """Make a method that Qt or napari calls show what goes wrong, by `show_error` of its object."""
    most = len(inspect.signature(method).parameters)

    @wraps(method)
    def guarded(self: Any, *given: Any, **named: Any) -> Any:
        # As Qt does, leave out what a signal tells and the method does not ask for.
        with shown_by(self.show_error):
            return method(self, *given[: most - 1], **named)

    return guarded


def sentence(error: BaseException) -> str:
    """Return what the user is told of an error, whatever it is."""
    return in_words(error) or f"This should not have happened ({type(error).__name__}: {error})."

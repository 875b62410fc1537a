"""Error classes, and how errors and texts from files are shown.

Every error that the user can cause is a `TesseraError`. No `TesseraError` is a `RuntimeError`, because superqt's
generator worker hides those.
"""

from __future__ import annotations

import difflib
import logging
import re
import reprlib
from collections.abc import Iterable
from functools import cache
from html import escape

UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
"""Characters that move the cursor, change the text direction or are invisible, and lone surrogates."""
FORMULA = re.compile("'*[=+\\-@\t\r＝＋－＠]")
"""Texts that a spreadsheet reads as a formula, or that `cell` has escaped."""


def visible(text: str) -> str:
    r"""Escape control and direction characters as Python does; new lines and tabs stay.

    Examples
    --------
    >>> print(visible("\x1b[2Jcells\u202efit"))
    \x1b[2Jcells\u202efit
    """
    return UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def as_html(text: str) -> str:
    """Escape a text for HTML or SVG.

    Examples
    --------
    >>> as_html("<b>")
    '&lt;b&gt;'
    """
    return escape(visible(text))


def cell(text: str) -> str:
    """Escape a text for a table: an apostrophe goes before what a spreadsheet would read as a formula.

    Examples
    --------
    >>> cell("=1+1"), cell("cells")
    ("'=1+1", 'cells')
    """
    shown = visible(text)
    return f"'{shown}" if FORMULA.match(shown) else shown


def from_cell(text: str) -> str:
    """Read what `cell` wrote.

    Examples
    --------
    >>> from_cell(cell("=1+1")), from_cell(cell("'=1+1")), from_cell("'quoted'")
    ('=1+1', "'=1+1", "'quoted'")
    """
    return text[1:] if text.startswith("'") and FORMULA.match(text) else text


LONGEST_SHOWN = 80
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = LONGEST_SHOWN


def short(value: object) -> str:
    """Describe any value, however long or deeply nested, in one line of at most 80 characters for an error message.

    Examples
    --------
    >>> short([[["a" * 1000]]])[:20], short(10**5000)
    ("[[['aaaaaaaaaaaaaaaa", 'a number of about 5000 digits')
    """
    try:
        text = " ".join(_REPR.repr(value).split())
    except ValueError:  # Python does not convert integers of more than 4300 digits
        digits = value.bit_length() * 0.30103 if isinstance(value, int) else 4300
        return f"a number of about {digits:.0f} digits"
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1]}…"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question that names the nearest of the known names; empty if none is near.

    Examples
    --------
    >>> did_you_mean("markrs", ["mask", "markers"]), did_you_mean("sigma", ["markers"])
    ('Did you mean `markers`?', '')
    """
    near = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean `{near[0]}`?" if near else ""


TOO_LITTLE_MEMORY = re.compile(
    r"out of memory|not enough memory|bad.alloc|alloc_failed|can(no|')t allocate memory|unable to allocate"
    r"|could not create a primitive(?! descriptor)|can't start new thread"
    r"|failed to map segment from shared object(?!: operation not permitted)",
    re.IGNORECASE,
)
"""Messages of torch, its libraries, NumPy and Python when memory is insufficient, in any type of error."""
LONGEST_SENTENCE = 2000
ADDRESS = re.compile(r" object at 0x[0-9a-fA-F]+")


def printable(text: str) -> str:
    r"""Return a text in one safe line for any terminal: errors quote texts from files.

    Objects are shown without their memory address; the middle of a very long text is left out.

    Examples
    --------
    >>> printable("no class \x1b[31mred")
    'no class \\x1b[31mred'
    """
    text = ADDRESS.sub("", text)
    if len(text) > LONGEST_SENTENCE:
        text = f"{text[: LONGEST_SENTENCE // 2]} … {text[-LONGEST_SENTENCE // 2 :]}"
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


class TesseraError(Exception):
    """An error that the user can fix; the message says how."""

    def __str__(self) -> str:
        return printable(super().__str__())


class ParameterError(TesseraError, ValueError):
    """A parameter has a value that the method cannot use.

    Attributes
    ----------
    parameter : str
        Name of the parameter, as written in the method's signature.
    """

    def __init__(self, message: str, parameter: str) -> None:
        super().__init__(message)
        self.parameter = parameter

    def __reduce__(self) -> tuple[type[ParameterError], tuple[str, str]]:
        """Pickle the error with its parameter name, for workers."""
        return type(self), (str(self), self.parameter)


class InputError(TesseraError, ValueError):
    """An image, label image or point list cannot be used as it is."""


class FileError(TesseraError, OSError):
    """A file cannot be read or written."""


class RunError(TesseraError):
    """A run failed (out of memory, a worker lost); nothing was changed."""


class OutOfMemory(RunError):
    """A device has too little memory for this request; a smaller one may fit."""


class ModelError(TesseraError):
    """A model file is missing, damaged, unknown, newer than this version or in the way; it was not executed."""


def lacks_memory(error: BaseException) -> bool:
    """Return whether an error, of any type, means that memory is insufficient."""
    if isinstance(error, OutOfMemory | MemoryError):
        return True
    if isinstance(error, TesseraError):
        return False
    cause = error.__cause__ or error.__context__ if isinstance(error, ImportError | OSError) else None
    return any(TOO_LITTLE_MEMORY.search(str(each)) for each in (error, cause))


def in_words(error: BaseException) -> str | None:
    """Return the message for the user, or None for an error that only the developers can fix."""
    if isinstance(error, TesseraError):
        return str(error)
    if lacks_memory(error):
        return (
            f"There is too little memory ({first_line(error)}). Nothing was changed. Close other programs, or work on "
            "a smaller part of the image."
        )
    if isinstance(error, OSError) and error.strerror:
        where = f" {error.filename}" if error.filename else ""
        return f"A file cannot be read or written:{where} ({error.strerror}). Nothing was changed."
    return None


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return (str(error).strip() or type(error).__name__).split("\n")[0]


INFO, WARNING = logging.INFO, logging.WARNING
LOGGER = logging.getLogger("napari_tessera")
"""The command line and the window show its messages; in Python only warnings are printed."""


@cache
def say_once(text: str, level: int) -> None:
    """Log a message, the first time only, as a `WARNING`, or as `INFO` if the user only has to wait."""
    LOGGER.log(level, text)

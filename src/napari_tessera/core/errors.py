"""Error classes, and how errors and texts from files are shown.

Every error that the user can cause is a `TesseraError`. No `TesseraError` is a `RuntimeError`, because superqt's
generator worker hides those.
"""

from __future__ import annotations

import logging
import re
import reprlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from html import escape

UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
"""What moves the cursor, turns the direction of the text, cannot be seen, or is half of a character."""
FORMULA = re.compile("'*[=+\\-@\t\r＝＋－＠]")
"""What a spreadsheet takes for the start of a formula, or a text that was told apart from one by us."""


def visible(text: str) -> str:
    r"""Write control and direction characters as they are written in Python; new lines and tabs stay.

    Examples
    --------
    >>> print(visible("\x1b[2Jcells\u202efit"))
    \x1b[2Jcells\u202efit
    """
    return UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def as_html(text: str) -> str:
    """Write a text into a page of HTML or into SVG.

    Examples
    --------
    >>> as_html("<b>")
    '&lt;b&gt;'
    """
    return escape(visible(text))


def cell(text: str) -> str:
    """Write a text into a cell of a table, with an apostrophe before what a spreadsheet would compute.

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
    """Write any value in one line of at most 80 characters, as errors show it: hostile ones are long, or deep.

    Examples
    --------
    >>> short([[["a" * 1000]]])[:20], short(10**5000)
    ("[[['aaaaaaaaaaaaaaaa", 'a number of about 5000 digits')
    """
    try:
        text = " ".join(_REPR.repr(value).split())
    except ValueError:  # Python writes no whole number of more than 4300 digits
        digits = value.bit_length() * 0.30103 if isinstance(value, int) else 4300
        return f"a number of about {digits:.0f} digits"
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1]}…"


TOO_LITTLE_MEMORY = re.compile(
    r"out of memory|not enough memory|bad.alloc|alloc_failed|can(no|')t allocate memory|unable to allocate"
    r"|could not create a primitive(?! descriptor)|can't start new thread"
    r"|failed to map segment from shared object(?!: operation not permitted)",
    re.IGNORECASE,
)
"""What torch, its libraries, NumPy and Python say when memory does not suffice, in whatever kind of error."""


LONGEST_SENTENCE = 2000
ADDRESS = re.compile(r" object at 0x[0-9a-fA-F]+")


def printable(text: str) -> str:
    r"""Return a text in one line that any terminal can show: errors quote what a stranger's file says of itself.

    Objects stand without their address in memory; of a very long text the middle is left out.

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
    """Something the user can put right; the message says how."""

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
        """Go to another process and back, as from a worker, with the name of the parameter."""
        return type(self), (str(self), self.parameter)


class InputError(TesseraError, ValueError):
    """An image, label image or point list cannot be used as it is."""


class FileError(TesseraError, OSError):
    """A file cannot be read or written."""


class RunError(TesseraError):
    """A run failed on its way (out of memory, a worker lost); nothing was changed."""


class OutOfMemory(RunError):
    """A device has too little memory for what was asked of it; with less at a time it may have enough."""


class ModelError(TesseraError):
    """A model file is missing, damaged, foreign or newer, or is in the way; nothing in it was run."""


def lacks_memory(error: BaseException) -> bool:
    """Return whether an error means that memory does not suffice, of whichever kind it is."""
    if isinstance(error, OutOfMemory | MemoryError):
        return True
    if isinstance(error, TesseraError):
        return False
    cause = error.__cause__ or error.__context__ if isinstance(error, ImportError | OSError) else None
    return any(TOO_LITTLE_MEMORY.search(str(each)) for each in (error, cause))


@contextmanager
def explaining_lack_of_memory(method: str, shape: Sequence[int]) -> Iterator[None]:
    """Turn a lack of memory on an image of a shape into an error that says what to do.

    Raises
    ------
    RunError
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, TesseraError) or not lacks_memory(error):
            raise
        raise RunError(
            f"{method} ran out of memory on an image of shape {tuple(shape)} ({first_line(error)}). Segment a region "
            "or one plane, or close other programs."
        ) from error


def in_words(error: BaseException) -> str | None:
    """Return what the user is told of an error; None where it is none that anyone but us can put right."""
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
    """Return what an error says, without the lines for whoever wrote the library."""
    return (str(error).strip() or type(error).__name__).split("\n")[0]


INFO, WARNING = logging.INFO, logging.WARNING
LOGGER = logging.getLogger("napari_tessera")
"""The command line and the window listen to it; in Python, warnings alone are printed."""


@cache
def say_once(text: str, level: int) -> None:
    """Say something to whoever runs this process, the first time only.

    Parameters
    ----------
    text : str
    level : int
        `WARNING`, or `INFO` where all is well and only takes its time.
    """
    LOGGER.log(level, text)

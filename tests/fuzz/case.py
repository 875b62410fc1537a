"""One try, and what is to be said of how it ended."""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import traceback
import unicodedata
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from napari_tessera.core.errors import TesseraError

RESULT, REFUSAL, FAULT = "result", "refusal", "fault"
CODES = (0, 1, 2, 130)
LONGEST_MESSAGE = 3000
NEVER_PRINTED = re.compile(r"Traceback \(most recent|unexpected \w+(Error|Exception)\b|\bobject at 0x")


@dataclass(frozen=True)
class Try:
    """What is to be done, after its files have been made.

    Attributes
    ----------
    words : str
        The call, for the report.
    call : callable
        Does it.
    check : callable (result) -> str
        Says what is wrong with the result; nothing where it is right.
    outputs : tuple of str
        Beginnings of the names of files that may be new or changed.
    is_command : bool
        The result is an exit code, and what was printed counts.
    """

    words: str
    call: Callable[[], Any]
    check: Callable[[Any], str] = lambda _: ""
    outputs: tuple[str, ...] = ()
    is_command: bool = False


@dataclass(frozen=True)
class Target:
    """What is tried.

    Attributes
    ----------
    name : str
    prepare : callable (folder, rng, number) -> Try
        Makes the files of a case in an empty folder, by a random generator and a number that no other case has.
    share : float
        How often it is tried beside the others.
    """

    name: str
    prepare: Callable[[Path, Random, int], Try]
    share: float = 1.0


@dataclass(frozen=True)
class Outcome:
    """How a try ended: RESULT, REFUSAL or FAULT; `kind` is the same for faults that have one cause."""

    ending: str
    text: str = ""
    kind: str = ""


def fault(kind: str, text: str) -> Outcome:
    return Outcome(FAULT, text, kind)


def judged(attempt: Try, folder: Path) -> Outcome:
    """Do it; anything but a right result or a kind refusal that leaves all files as they were is a fault."""
    before = contents(folder)
    outcome = _outcome_of(attempt)
    if outcome.ending != FAULT and (changed := _changed(before, contents(folder), attempt.outputs)):
        return fault("files", f"these files were changed, added or left behind: {', '.join(changed)}")
    return outcome


def _outcome_of(attempt: Try) -> Outcome:
    printed = io.BytesIO()
    out = io.TextIOWrapper(printed, "utf-8", errors="strict", write_through=True)  # as Python opens a terminal
    told = io.TextIOWrapper(printed, "utf-8", errors="backslashreplace", write_through=True)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(told), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = attempt.call()
            wrong = attempt.check(found)
    except TesseraError as error:
        reason = unkind(str(error))
        return fault(f"unkind: {reason}", str(error)) if reason else Outcome(REFUSAL, str(error))
    except BaseException as error:
        return fault(f"{type(error).__name__} {_place(error)}", "".join(traceback.format_exception(error))[-3000:])
    if wrong:
        return fault(f"wrong: {wrong[:60]}", wrong)
    return _of_command(found, printed.getvalue().decode()) if attempt.is_command else Outcome(RESULT)


def _of_command(code: int, printed: str) -> Outcome:
    if code not in CODES:
        return fault(f"exit code {code}", printed[-2000:])
    is_silent = code != 0 and not printed.strip()
    if reason := "nothing is said" if is_silent else _unprintable(printed.replace("\n", "").replace("\r", "")):
        return fault(f"unkind: {reason}", printed[-2000:])
    return Outcome(REFUSAL if code else RESULT, printed[-2000:])


def unkind(text: str) -> str:
    """Say what makes a message no plain sentence; nothing if it is one.

    Examples
    --------
    >>> unkind("There is no file a.tif."), unkind(""), unkind("no file \\x1b[31m")
    ('', 'it is empty', "it holds the character '\\\\x1b'")
    """
    if not text.strip():
        return "it is empty"
    return "it is too long" if len(text) > LONGEST_MESSAGE else _unprintable(text)


def _unprintable(text: str) -> str:
    if said := NEVER_PRINTED.search(text):
        return f"it says {said[0]!r}"
    joins = "\u200c\u200d"  # which letters of Persian and of Indian languages, and emoji, are written with
    is_clean = not any(unicodedata.category(each) in ("Cc", "Cf", "Cs") and each not in joins for each in text)
    return "" if is_clean else "it holds control characters"


def _place(error: BaseException) -> str:
    """Return where in our own code an error came from."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if "napari_tessera" in frame.filename]
    return f"at {Path(own[-1].filename).name}:{own[-1].lineno} {own[-1].name}" if own else f"({error})"[:80]


def contents(folder: Path) -> dict[str, str]:
    """Return what there is in a folder: each name with a digest of what it holds."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(folder))] = f"link to {path.readlink()}"
        elif path.is_file():
            found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif path.is_dir():
            found[str(path.relative_to(folder))] = "folder"
    return found


def _changed(before: dict[str, str], after: dict[str, str], outputs: tuple[str, ...]) -> list[str]:
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return [name for name in names if not name.startswith(outputs) or is_leftover(name)]


def is_leftover(name: str) -> bool:
    """Return whether a file is one that a writer makes on its way and takes away."""
    return ".tessera" in name or name.endswith(".part")

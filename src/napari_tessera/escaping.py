"""Texts from an unknown source, so that a terminal, a table or a page shows them and does nothing that they say."""

from __future__ import annotations

import re
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

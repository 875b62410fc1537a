"""Text to and from the clipboard."""

from __future__ import annotations

from qtpy.QtGui import QGuiApplication


def copy(text: str) -> None:
    """Put text on the clipboard."""
    if (clipboard := QGuiApplication.clipboard()) is not None:
        clipboard.setText(text)


def paste() -> str:
    """Return the text on the clipboard."""
    clipboard = QGuiApplication.clipboard()
    return "" if clipboard is None else clipboard.text()

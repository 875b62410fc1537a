"""Placeholder until the table is here."""

from __future__ import annotations

from napari_tessera.gui.method_widget import MethodWidget


class CompareWidget(MethodWidget):
    """Compare with truth."""

    method_name = "compare"

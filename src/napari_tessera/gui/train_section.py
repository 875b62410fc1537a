"""A heading that shows and hides what stands under it, as tall as its lines need to be."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QSizePolicy, QToolButton, QVBoxLayout, QWidget

HEADING_STYLE = "QToolButton { text-align: left; padding: 4px 6px; border-radius: 3px; font-weight: bold; }"


class Section(QWidget):
    """A part of a form that opens and closes.

    superqt's collapsible asks its content for one height only; here lines that are broken get the room they need.

    Attributes
    ----------
    heading : QToolButton
    content : QWidget
    """

    def __init__(self, title: str, content: QWidget, is_open: bool = False) -> None:
        super().__init__()
        self.content = content
        self.heading = QToolButton()
        self.heading.setText(title)
        self.heading.setStyleSheet(HEADING_STYLE)
        self.heading.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.heading.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.heading.clicked.connect(lambda: self.open(self.content.isHidden()))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.heading)
        layout.addWidget(content)
        self.open(is_open)

    @property
    def is_open(self) -> bool:
        """Whether the content is shown."""
        return not self.content.isHidden()

    def open(self, is_open: bool = True) -> None:
        """Show the content, or hide it."""
        self.content.setVisible(is_open)
        self.heading.setArrowType(Qt.ArrowType.DownArrow if is_open else Qt.ArrowType.RightArrow)

"""How a form is laid out: rows that come and go, a part that opens and closes, and a scroll bar where room is short.

Lines of text that get the height they need.

A heading that shows and hides what stands under it, as tall as its lines need to be.
"""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QFormLayout, QFrame, QLabel, QScrollArea, QSizePolicy, QToolButton, QVBoxLayout, QWidget
from superqt import QCollapsible

LABEL_WIDTH_PX = 101
LEAST_HEIGHT_PX = 36


class Rows(QWidget):
    """A column of titles and one of widgets; single rows can be hidden."""

    def __init__(self) -> None:
        super().__init__()
        self._layout = QFormLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(6)
        self._layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._layout.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self._titles: dict[QWidget, QLabel] = {}

    def add(self, title: str, native: QWidget, text: str = "") -> None:
        """Add a row at the end."""
        label = QLabel(title)
        label.setWordWrap(True)
        label.setFixedWidth(LABEL_WIDTH_PX)
        label.setToolTip(text)
        label.setMinimumHeight(native.sizeHint().height())
        self._titles[native] = label
        self._layout.addRow(label, native)

    def add_wide(self, native: QWidget) -> None:
        """Add something across both columns that belongs to the row above it."""
        self._layout.addRow(native)

    def show_row(self, native: QWidget, is_shown: bool) -> None:
        """Show or hide a row."""
        native.setVisible(is_shown)
        self._titles[native].setVisible(is_shown)


class AsTallAsContent(QScrollArea):
    """A scroll area that takes no more room than its content needs, so that what stands below stays near.

    It asks for what its content needs beside a scroll bar, which breaks more lines: with less, a scroll bar that came
    once would stay, as it makes the content too tall to do without it.
    """

    def __init__(self, content: QWidget) -> None:
        super().__init__()
        self._content = content
        self.setWidget(content)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setStyleSheet("QScrollArea { border: none; margin: 0; padding: 0; }")
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        content.installEventFilter(self)

    def sizeHint(self) -> QSize:
        """Return the content's size, with its lines broken as the width beside a scroll bar demands."""
        hint, layout, bar = self._content.sizeHint(), self._content.layout(), self.verticalScrollBar()
        if layout is not None and bar is not None and layout.hasHeightForWidth():
            needed = layout.totalHeightForWidth(self.width() - bar.sizeHint().width())
            # Qt makes the content no less tall than this, which it works out for lines broken at another width.
            hint.setHeight(max(needed, self._content.minimumSizeHint().height()))
        return hint

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Ask for room anew: another width breaks other lines."""
        super().resizeEvent(event)
        if event is not None and event.size().width() != event.oldSize().width():
            self.updateGeometry()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Ask for room anew when the content's rows come or go."""
        if event is not None and event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return super().eventFilter(watched, event)


class Shrinking(QScrollArea):
    """A scroll area for a whole widget: it shrinks to next to nothing, and scrolls only where its content cannot.

    Qt's own resizing would scroll as soon as the content has less than the height it likes best; here the content's
    inner scroll area gives way first, so that what stands below it stays in sight as long as it can.
    """

    def __init__(self, content: QWidget) -> None:
        super().__init__()
        self._content = content
        self.setWidget(content)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setStyleSheet("QScrollArea { border: none; margin: 0; padding: 0; }")
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumHeight(LEAST_HEIGHT_PX)
        content.installEventFilter(self)

    def sizeHint(self) -> QSize:
        """Return the content's size."""
        return self._content.sizeHint()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Fit the content to the room."""
        super().resizeEvent(event)
        self._fit()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Fit the content anew when parts of it come or go."""
        if event is not None and event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
            self._fit()
        return super().eventFilter(watched, event)

    def _fit(self) -> None:
        viewport, layout = self.viewport(), self._content.layout()
        if viewport is None or layout is None:
            return
        width = viewport.width()
        least = layout.minimumHeightForWidth(width) if layout.hasHeightForWidth() else layout.minimumSize().height()
        self._content.resize(width, max(viewport.height(), least))


def column_of(*widgets: QWidget, spacing: int = 6) -> QWidget:
    """Stack widgets without margins."""
    column = QWidget()
    layout = QVBoxLayout(column)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(spacing)
    for widget in widgets:
        layout.addWidget(widget)
    return column


def collapsible(title: str, content: QWidget) -> QCollapsible:
    """Put `content` under a heading that opens and closes at once."""
    section = QCollapsible(title, expandedIcon="▾", collapsedIcon="▸")
    section.setDuration(0)
    for layout in (section.layout(), section.content().layout()):
        if layout is not None:
            layout.setContentsMargins(0, 0, 0, 0)
            layout.setSpacing(4)
    section.addWidget(content)
    section.collapse(animate=False)
    return section


class AsTallAsLines(QObject):
    """Has a label laid out again that is less tall than its lines.

    When rows come and go, Qt's form layout now and then shares out the height as it was before.
    """

    def __init__(self, label: QLabel) -> None:
        super().__init__(label)
        label.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Look at the height whenever the label is drawn."""
        if isinstance(watched, QLabel) and event is not None and event.type() == QEvent.Type.Paint:
            rows = watched.parentWidget()
            layout = rows.layout() if rows is not None else None
            if layout is not None and watched.height() < watched.heightForWidth(watched.width()):
                layout.invalidate()
        return super().eventFilter(watched, event)


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

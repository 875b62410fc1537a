"""Qt layout of forms: rows that can be hidden, collapsible sections, scroll areas, labels with line breaks."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import (
    QBoxLayout,
    QFormLayout,
    QFrame,
    QLabel,
    QLayout,
    QScrollArea,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

LABEL_WIDTH_PX = 101
LEAST_HEIGHT_PX = 36


class Rows(QWidget):
    """Two columns, titles and widgets; each row can be hidden."""

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
        """Add a widget across both columns; it belongs to the row above it."""
        self._layout.addRow(native)

    def show_row(self, native: QWidget, is_shown: bool) -> None:
        """Show or hide a row."""
        native.setVisible(is_shown)
        self._titles[native].setVisible(is_shown)


class AsTallAsContent(QScrollArea):
    """A scroll area that is no taller than its content.

    It asks for the height that its content needs beside a scroll bar, where more lines break: with less, a scroll bar
    that appeared once would stay, since it makes the content taller.
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
        """Return the content's size, with lines broken for the width beside a scroll bar."""
        hint, layout, bar = self._content.sizeHint(), self._content.layout(), self.verticalScrollBar()
        if layout is not None and bar is not None and layout.hasHeightForWidth():
            needed = layout.totalHeightForWidth(self.width() - bar.sizeHint().width())
            # Qt never makes the content smaller than this, which it computes for lines broken at another width.
            hint.setHeight(max(needed, self._content.minimumSizeHint().height()))
        return hint

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Update the height: another width breaks other lines."""
        super().resizeEvent(event)
        if event is not None and event.size().width() != event.oldSize().width():
            self.updateGeometry()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Update the height when rows of the content are shown or hidden."""
        if event is not None and event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return super().eventFilter(watched, event)


class Shrinking(QScrollArea):
    """A scroll area for a whole widget: it can be very small, and scrolls only if its content cannot shrink further.

    Qt's own resizing scrolls as soon as the content has less than its preferred height. Here the content's inner
    scroll area shrinks first, so that the widgets below it stay visible.
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
        """Fit the content to the available room."""
        super().resizeEvent(event)
        self._fit()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Fit the content again when parts of it are shown or hidden."""
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


def fill(layout: QBoxLayout, *parts: QWidget | QLayout, spacing: int = -1) -> None:
    """Put widgets and layouts into a layout without margins; -1 is the spacing of Qt's style."""
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(spacing)
    for part in parts:
        if isinstance(part, QLayout):
            layout.addLayout(part)
        else:
            layout.addWidget(part)


def column_of(*widgets: QWidget, spacing: int = 6) -> QWidget:
    """Stack widgets without margins."""
    column = QWidget()
    fill(QVBoxLayout(column), *widgets, spacing=spacing)
    return column


ERROR_STYLE = "QLabel { background-color: #6b2b2b; color: #ffecec; border-radius: 4px; padding: 6px; }"
NOTE_STYLE = "QLabel { background-color: #6a5620; color: #fff6df; border-radius: 4px; padding: 6px; }"
OFFER_STYLE = "QLabel { background-color: #2f4558; color: #e8f2fb; border-radius: 4px; padding: 6px; }"
PLAIN_STYLE = "QLabel { padding: 2px; }"


def wrapped_label(style: str = "") -> QLabel:
    """Make a label of plain text that breaks its lines."""
    label = QLabel()
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setStyleSheet(style)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    return label


def collapsible(title: str, content: QWidget) -> QCollapsible:
    """Put `content` under a heading that opens and closes without animation."""
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
    """Lays a label out again if it is less tall than its lines.

    When rows are shown or hidden, Qt's form layout sometimes keeps the old heights.
    """

    def __init__(self, label: QLabel) -> None:
        super().__init__(label)
        label.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Check the height whenever the label is drawn."""
        if isinstance(watched, QLabel) and event is not None and event.type() == QEvent.Type.Paint:
            rows = watched.parentWidget()
            layout = rows.layout() if rows is not None else None
            if layout is not None and watched.height() < watched.heightForWidth(watched.width()):
                layout.invalidate()
        return super().eventFilter(watched, event)


HEADING_STYLE = "QToolButton { text-align: left; padding: 4px 6px; border-radius: 3px; font-weight: bold; }"


class Section(QWidget):
    """A section of a form that opens and closes.

    superqt's collapsible asks its content for one height only; here broken lines get the room they need.

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

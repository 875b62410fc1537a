"""Qt layout: rows that can be hidden, collapsible sections, scroll areas, labels with line breaks, docking."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, QSize, Qt, QTimer
from qtpy.QtGui import QMouseEvent, QResizeEvent
from qtpy.QtWidgets import (
    QBoxLayout,
    QDockWidget,
    QFormLayout,
    QFrame,
    QLabel,
    QLayout,
    QMainWindow,
    QScrollArea,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWhatsThis,
    QWidget,
)

from napari_tessera.gui.form.text import brief

LABEL_WIDTH_PX = 101
LEAST_HEIGHT_PX = 36
MUTED_STYLE = "QLabel { color: rgba(128, 128, 128, 255); }"


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
        label = RowTitle(title, text)
        label.setFixedWidth(LABEL_WIDTH_PX)
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


class RowTitle(QLabel):
    """The title of a row: its tooltip has the first sentence of the help, and a click shows all of it."""

    def __init__(self, title: str, text: str) -> None:
        self._details = text if brief(text) != text else ""
        super().__init__(title or ("more …" if self._details else ""))
        self.setWordWrap(True)
        self.setToolTip(brief(text))
        if self._details:
            self.setCursor(Qt.CursorShape.WhatsThisCursor)
            self.setStyleSheet("" if title else MUTED_STYLE)

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Show the whole help until the next click."""
        if event is None or not self._details:
            super().mousePressEvent(event)
        else:
            QWhatsThis.showText(event.globalPosition().toPoint(), self._details, self)


class _ContentArea(QScrollArea):
    """A scroll area without a frame, for one widget; its size follows that of the content."""

    def __init__(self, content: QWidget) -> None:
        super().__init__()
        self._content = content
        self.setWidget(content)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setStyleSheet("QScrollArea { border: none; margin: 0; padding: 0; }")
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        content.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Update the size when parts of the content are shown or hidden."""
        if event is not None and event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
            self._fit()
        return super().eventFilter(watched, event)

    def _fit(self) -> None:
        pass


class AsTallAsContent(_ContentArea):
    """A scroll area that is no taller than its content.

    It asks for the height that its content needs beside a scroll bar, where more lines break: with less, a scroll bar
    that appeared once would stay, since it makes the content taller.
    """

    def __init__(self, content: QWidget) -> None:
        super().__init__(content)
        self.setWidgetResizable(True)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)

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


class Shrinking(_ContentArea):
    """A scroll area for a whole widget: it can be very small, and scrolls only if its content cannot shrink further.

    Qt's own resizing scrolls as soon as the content has less than its preferred height. Here the content's inner
    scroll area shrinks first, so that the widgets below it stay visible.
    """

    def __init__(self, content: QWidget) -> None:
        super().__init__(content)
        self.setMinimumHeight(LEAST_HEIGHT_PX)

    def sizeHint(self) -> QSize:
        """Return the content's size."""
        return self._content.sizeHint()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Fit the content to the available room."""
        super().resizeEvent(event)
        self._fit()

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


WIDTH_PX = 320


class DockedWidget(QWidget):
    """A widget in a dock of napari: of a fixed width, whichever rows are shown; it stops when the dock is closed."""

    width_px = WIDTH_PX

    def shut_down(self) -> None:
        """Stop everything; called when the widget is closed."""

    def sizeHint(self) -> QSize:
        """Return the usual width."""
        return QSize(self.width_px, super().sizeHint().height())

    def event(self, event: QEvent | None) -> bool:
        """Stop everything when napari takes the widget out of its dock, which is how napari closes it."""
        if event is not None and event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.shut_down()
        return super().event(event)


def fill_dock(widget: QWidget, *parts: QWidget) -> None:
    """Stack parts in a dock widget of a usual width, which scrolls if it is very small."""
    content = QWidget()
    layout = QVBoxLayout(content)
    fill(layout, *parts, spacing=8)
    layout.setContentsMargins(8, 6, 8, 8)
    layout.addStretch(1)
    fill(QVBoxLayout(widget), Shrinking(content))
    widget.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
    widget.setMinimumWidth(WIDTH_PX)


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


class AsTallAsLines(QObject):
    """Lays a label out again if it is less tall than its lines: Qt's form layout sometimes keeps old heights."""

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
    """A section of a form that opens and closes; unlike in superqt's, broken lines get the room that they need."""

    def __init__(self, title: str, content: QWidget, is_open: bool = False) -> None:
        super().__init__()
        self.content = content
        self.heading = QToolButton()
        self.heading.setText(title)
        self.heading.setStyleSheet(HEADING_STYLE)
        self.heading.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.heading.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.heading.clicked.connect(lambda: self.open(self.content.isHidden()))
        fill(QVBoxLayout(self), self.heading, content, spacing=4)
        self.open(is_open)

    def open(self, is_open: bool = True) -> None:
        """Show the content, or hide it."""
        self.content.setVisible(is_open)
        self.heading.setArrowType(Qt.ArrowType.DownArrow if is_open else Qt.ArrowType.RightArrow)


OURS = "napari_tessera."


class Placing(QTimer):
    """Docks a widget once, as soon as it is shown and napari has docked it."""

    def __init__(self, widget: QWidget) -> None:
        super().__init__(widget)
        self.setSingleShot(True)
        self.timeout.connect(lambda: share_place(widget))
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Wait for the widget to be shown."""
        if watched is not None and event is not None and event.type() == QEvent.Type.Show:
            watched.removeEventFilter(self)
            self.start(0)
        return super().eventFilter(watched, event)


def share_place(widget: QWidget) -> None:
    """Show a docked widget as a tab in front of other Tessera widgets of its area; below them it would be cut off."""
    dock = _dock_of(widget)
    window = None if dock is None else dock.parent()
    if dock is None or not isinstance(window, QMainWindow) or dock.isFloating():
        return
    area = window.dockWidgetArea(dock)
    others = [each for each in window.findChildren(QDockWidget) if each is not dock and _is_ours(each)]
    beside = [each for each in others if window.dockWidgetArea(each) == area and not each.isFloating()]
    if not beside:
        return
    if not set(window.tabifiedDockWidgets(dock)) & set(beside):
        window.tabifyDockWidget(beside[-1], dock)
    dock.show()
    dock.raise_()


def _dock_of(widget: QWidget) -> QDockWidget | None:
    parent = widget.parent()
    while parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parent()
    return parent


def _is_ours(dock: QDockWidget) -> bool:
    return any(type(each).__module__.startswith(OURS) for each in dock.findChildren(QWidget))

"""What a model is for: a few lines in the form, and the whole card in a window of its own."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QLabel, QSizePolicy, QTextBrowser, QVBoxLayout, QWidget

from napari_tessera.gui.failing import showing_errors

if TYPE_CHECKING:
    from napari_tessera.catalogue import ModelEntry

MORE = "tessera:more"
CARD_SIZE_PX = (640, 560)
CARD_STYLE = "QLabel { background-color: rgba(128, 128, 128, 40); border-radius: 4px; padding: 6px; }"
DOI = "doi:"
LINK_COLOUR = "#5aa9f5"
"""Can be read on napari's dark theme and on its light one."""


class ModelCard(QLabel):
    """The lines under the box of models; a click on "more" opens the whole card.

    Attributes
    ----------
    failed : Signal
        With the error, if the card cannot be shown.
    """

    failed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setStyleSheet(CARD_STYLE)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.LinksAccessibleByMouse)
        self.linkActivated.connect(self._on_link)
        self._entry: ModelEntry | None = None
        self.whole: CardWindow | None = None

    def show_entry(self, entry: ModelEntry) -> None:
        """Say in short what the model is for."""
        self._entry = entry
        self.setText("<br>".join(short_lines(entry)))

    def say(self, text: str) -> None:
        """Show a sentence instead of a card."""
        self._entry = None
        self.setText(escape(text))

    def show_error(self, error: BaseException) -> None:
        """Leave it to the widget to show what went wrong."""
        self.failed.emit(error)

    @showing_errors
    def _on_link(self, link: str) -> None:
        if link == MORE:
            self.open_whole()
        else:
            open_web_page(QUrl(link))

    def open_whole(self) -> None:
        """Open the whole card; the rest of the program goes on."""
        if self._entry is not None:
            self.whole = CardWindow(self._entry, self.window())
            self.whole.show()


class CardWindow(QDialog):
    """The whole card of a model, as its file holds it."""

    def __init__(self, entry: ModelEntry, parent: QWidget | None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(entry.title)
        self.text = QTextBrowser()
        self.text.setOpenLinks(False)
        self.text.anchorClicked.connect(open_web_page)
        self.text.setMarkdown(whole_card(entry))
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.close)
        layout = QVBoxLayout(self)
        layout.addWidget(self.text)
        layout.addWidget(buttons)
        self.resize(*CARD_SIZE_PX)


def open_web_page(address: QUrl) -> None:
    """Open a page of the web, and nothing else that the file of a stranger may link to, such as a program."""
    if address.scheme() in ("http", "https"):
        QDesktopServices.openUrl(address)


def short_lines(entry: ModelEntry) -> list[str]:
    """Say what a model finds, how large its objects are, and whom to thank: lines of rich text."""
    size = "" if entry.diameter_px is None else f", about {entry.diameter_px:g} px wide"
    what = f"{entry.ndim}-D {entry.task}: {', '.join(entry.classes[1:])}{size}."
    doi = str(entry.header["cite"]).removeprefix(DOI) if str(entry.header["cite"]).startswith(DOI) else ""
    links = [_link(f"https://doi.org/{doi}", "cite")] if doi else []
    last = [escape(entry.licence or "No licence"), *links, _link(MORE, "more …")]
    return [escape(entry.summary), escape(what), " · ".join(last)]


def _link(address: str, text: str) -> str:
    return f'<a href="{escape(address)}" style="color: {LINK_COLOUR}">{text}</a>'


def whole_card(entry: ModelEntry) -> str:
    """Return the card as markdown, with what the file itself is."""
    return f"{entry.card}\n\n---\n\nFile: `{entry.path}` ({entry.n_bytes / 1e6:.1f} MB)\n"

"""The field that chooses a model, with a short card below it and the whole card in a window."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox
from qtpy.QtCore import QFileSystemWatcher, Qt, QUrl, Signal
from qtpy.QtGui import QColor, QDesktopServices, QPalette
from qtpy.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QLabel,
    QSizePolicy,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from napari_tessera.core.jobs import Job, Progress
from napari_tessera.core.method import Parameter
from napari_tessera.gui.form.field import Field, fit_in_form
from napari_tessera.gui.form.text import tooltip
from napari_tessera.gui.qt.buttons import OnceButton
from napari_tessera.gui.qt.worker import Runner, sentence, showing_errors
from napari_tessera.models import registry as catalogue

if TYPE_CHECKING:
    from napari_tessera.models.registry import ModelEntry

MORE = "tessera:more"
CARD_SIZE_PX = (640, 560)
CARD_STYLE = "QLabel { background-color: rgba(128, 128, 128, 40); border-radius: 4px; padding: 6px; }"
DOI = "doi:"
LINK_COLOUR = "#5aa9f5"
"""Readable on napari's dark and light themes."""


class ModelCard(QLabel):
    """The short card under the box of models; "more …" opens the whole card, and `failed` is emitted if it cannot."""

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
        """Show the short card of a model."""
        self._entry = entry
        self.setText("<br>".join(short_lines(entry)))

    def say(self, text: str) -> None:
        """Show a message instead of a card."""
        self._entry = None
        self.setText(escape(text))

    def show_error(self, error: BaseException) -> None:
        """Emit `failed`; the widget shows the error."""
        self.failed.emit(error)

    @showing_errors
    def _on_link(self, link: str) -> None:
        if link == MORE:
            self.open_whole()
        else:
            open_web_page(QUrl(link))

    def open_whole(self) -> None:
        """Open the whole card in a window that does not block the program."""
        if self._entry is not None:
            self.whole = CardWindow(self._entry, self.window())
            self.whole.show()


class CardWindow(QDialog):
    """A window with the whole card of a model."""

    def __init__(self, entry: ModelEntry, parent: QWidget | None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(entry.title)
        self.text = QTextBrowser()
        self.text.setOpenLinks(False)
        self.text.anchorClicked.connect(open_web_page)
        palette = self.text.palette()
        palette.setColor(QPalette.ColorRole.Link, QColor(LINK_COLOUR))
        self.text.setPalette(palette)
        self.text.setMarkdown(whole_card(entry))
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.close)
        layout = QVBoxLayout(self)
        layout.addWidget(self.text)
        layout.addWidget(buttons)
        self.resize(*CARD_SIZE_PX)


def open_web_page(address: QUrl) -> None:
    """Open a web page; other links in a model file, such as to a program, are ignored."""
    if address.scheme() in ("http", "https"):
        QDesktopServices.openUrl(address)


def short_lines(entry: ModelEntry) -> list[str]:
    """Return lines of rich text: what a model finds, the size of its objects, licence and citation."""
    size = "" if entry.diameter_px is None else f", about {entry.diameter_px:g} px wide"
    what = f"{entry.ndim}-D {entry.task}: {', '.join(entry.classes[1:])}{size}."
    doi = str(entry.header["cite"]).removeprefix(DOI) if str(entry.header["cite"]).startswith(DOI) else ""
    links = [_link(f"https://doi.org/{doi}", "cite")] if doi else []
    last = [escape(entry.licence or "No licence"), *links, _link(MORE, "more …")]
    return [escape(entry.summary), escape(what), " · ".join(last)]


def _link(address: str, text: str) -> str:
    return f'<a href="{escape(address)}" style="color: {LINK_COLOUR}">{text}</a>'


def whole_card(entry: ModelEntry) -> str:
    """Return the card as Markdown, with the path and size of the file."""
    return f"{entry.card}\n\n---\n\nFile: `{entry.path}` ({entry.n_bytes / 1e6:.1f} MB)\n"


IMPORT, NO_MODEL = "Import a model file …", ""
SUGGEST = "Suggest a model"
SUGGEST_HELP = "Try the models on some windows of the image, and show what each finds, with how much is likely right."
FILES = "Models of Tessera (*.safetensors)"
DECODED = {"min_score": "score", "threshold": "object_level"}
"""Settings whose automatic values come from the model, and their names in its header."""


class ModelField(Field):
    """A box of models by title, with the card of the chosen one below; the last entry imports a file."""

    below: ModelCard
    button: OnceButton

    def __init__(self, parameter: Parameter) -> None:
        self.parameter = parameter
        self._chosen: str = parameter.default
        self.combo = ComboBox(name=parameter.name, choices=self._choices, value=parameter.default)
        super().__init__(parameter, self.combo)
        fit_in_form(self.native)
        self.button = OnceButton(SUGGEST)
        self.button.setToolTip(tooltip(SUGGEST_HELP))
        self.below = ModelCard()
        self.runner = Runner()
        self.runner.returned.connect(self._on_imported)
        self.runner.failed.connect(self.show_error)
        self.watcher = QFileSystemWatcher(self.native)  # so that it goes with the box
        self.watcher.directoryChanged.connect(self._on_folder_changed)
        self.widget.changed.connect(self._on_chosen)
        self.refresh()

    @property
    def value(self) -> str:
        """Name of the chosen model, even if its file is gone."""
        return self._chosen

    @value.setter
    def value(self, name: str) -> None:
        self._chosen = name
        self.refresh()
        self.widget.changed.emit(name)

    @property
    def starts(self) -> dict[str, float]:
        """Object diameter of the chosen model, and its thresholds of score and probability."""
        entry = self.entries.get(self._chosen)
        if entry is None or entry.error:
            return {}
        starts = {name: entry.header["decoding"].get(of_model) for name, of_model in DECODED.items()}
        starts["diameter"] = entry.diameter_px
        return {name: start for name, start in starts.items() if start is not None}

    def on_failure(self, callback: Callable[[BaseException], Any]) -> None:
        """Call `callback` with the error if a file cannot be imported."""
        self.below.failed.connect(callback)

    def on_suggest(self, callback: Callable[[], Any]) -> None:
        """Show the button that suggests a model, and call `callback` when it is pressed."""
        self.has_button = True
        self.button.pressed_once.connect(callback)

    def refresh(self) -> None:
        """Update the choices after models were added or removed; the choice stays."""
        with self.widget.changed.blocked():
            self.combo.reset_choices()
            self.combo.value = self._chosen
        self._disable_damaged()
        self._show_card()
        self._watch()

    def import_file(self, path: str | Path) -> None:
        """Copy a model file into the user's folder, and choose it."""
        if not self.runner.is_running:
            self.runner.start(_importing(Path(path)))

    def other_choices(self) -> list[tuple[str, str]]:
        """Return choices other than models, as titles and values."""
        return []

    def _choices(self, _: Any = None) -> list[tuple[str, str]]:
        self.entries: dict[str, ModelEntry] = {}
        for entry in filter(self._fits, self._models()):
            # Of several models with one name, methods take the first.
            self.entries.setdefault(entry.name, entry)
        titles = [(_title_of(entry, self.entries), name) for name, entry in self.entries.items()]
        titles += self.other_choices()
        if self._chosen not in [value for _, value in titles]:
            titles.append((f"{self._chosen} (not found)", self._chosen))
        return [*titles, (IMPORT, NO_MODEL)]

    def _models(self) -> tuple[ModelEntry, ...]:
        """List the models; if the user's folder cannot be read, the shipped ones, with the reason in `problem`."""
        self.problem = ""
        try:
            return catalogue.list_models()
        except Exception as error:
            self.problem = sentence(error)
            return catalogue.shipped_models()

    def _fits(self, entry: ModelEntry) -> bool:
        """Return whether the method can run the model; a damaged file is listed too."""
        kind = self.parameter.model.kind if self.parameter.model else ""
        return bool(entry.error) or entry.header["architecture"].get("kind", kind) == kind

    def _disable_damaged(self) -> None:
        items = self.combo.native.model()
        for number, name in enumerate(self.combo.choices):
            entry = self.entries.get(str(name))
            if entry is not None and entry.error:
                items.item(number).setEnabled(False)
                items.item(number).setToolTip(tooltip(entry.error))

    def _show_card(self) -> None:
        entry = self.entries.get(self._chosen)
        if self.problem:
            self.below.say(self.problem)
        elif entry is None:
            self.below.say(f"The model {self._chosen!r} is not on this computer. Import its file, or choose another.")
        elif entry.error:
            self.below.say(entry.error)
        else:
            self.below.show_entry(entry)

    def _watch(self) -> None:
        """Watch the user's folder, or its nearest existing parent."""
        folder = catalogue.user_folder()
        nearest = next(str(path) for path in (folder, *folder.parents) if os.path.isdir(path))
        watched = self.watcher.directories()
        if watched != [nearest]:
            for path in watched:
                self.watcher.removePath(path)
            self.watcher.addPath(nearest)

    @showing_errors
    def _on_folder_changed(self) -> None:
        self.refresh()

    @showing_errors
    def _on_chosen(self, name: str) -> None:
        if name != NO_MODEL:
            self._chosen = name
            self._show_card()
            return
        with self.widget.changed.blocked():
            self.widget.value = self._chosen
        path, _ = QFileDialog.getOpenFileName(self.native, IMPORT, "", FILES)
        if path:
            self.import_file(path)

    @showing_errors
    def _on_imported(self, entry: ModelEntry) -> None:
        self.value = entry.name

    def show_error(self, error: BaseException) -> None:
        """Pass an error to the form."""
        self.below.show_error(error)


def read_models_once() -> None:
    """Read the headers of all models, which then stay in memory; a field tells of a problem."""
    with suppress(Exception):
        catalogue.list_models()


def _importing(path: Path) -> Job[ModelEntry]:
    from napari_tessera.models.load_torch import load_torch

    yield from load_torch()
    yield Progress(0, 1, "Importing")
    return catalogue.import_model(path)


def _title_of(entry: ModelEntry, entries: dict[str, ModelEntry]) -> str:
    """Return the title of a model, with its name if another model has the same title."""
    if entry.error:
        return f"{entry.name} (cannot be used)"
    is_alone = sum(other.title == entry.title for other in entries.values()) == 1
    return entry.title if is_alone else f"{entry.title} – {entry.name}"

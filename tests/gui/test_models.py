"""Models in the form: offered by title, explained by a card, imported, and followed as they come and go."""

from typing import Annotated

import pytest
from qtpy.QtCore import QUrl

from napari_tessera.core.method import Declaration
from napari_tessera.core.spec import Image, Labels, ModelName
from napari_tessera.gui.form import form as settings
from napari_tessera.gui.form.form import make_field
from napari_tessera.gui.form.model_field import IMPORT, CardWindow
from napari_tessera.methods.registry import method_named
from tests.helpers.tiny_models import save_bright


def declared(image: Image, *, model: Annotated[str, ModelName("unet")] = "bright") -> Labels:
    """Do nothing."""


@pytest.fixture
def models_folder(tmp_path, monkeypatch):
    """The user's own folder of models, with one in it."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("TESSERA_MODELS", str(folder))
    save_bright(folder / "bright.safetensors", diameter_px=8, licence="CC0-1.0", cite="doi:10.1000/1", card="# Whole")
    return folder


@pytest.fixture
def field(models_folder, qtbot):
    (parameter,) = Declaration(declared).parameters
    field = make_field(parameter)
    qtbot.addWidget(field.native)
    qtbot.addWidget(field.below)
    return field


def titles(field):
    return [field.native.itemText(number) for number in range(field.native.count())]


def choose(field, title):
    field.native.setCurrentText(title)


def test_models_are_offered_by_title_and_a_file_can_be_imported(field):
    assert "Bright things" in titles(field)
    assert titles(field)[-1] == IMPORT


def test_card_says_what_the_model_finds_its_size_and_licence(field):
    text = field.below.text()
    for part in ("Finds what is bright.", "2-D objects: blob, about 8 px wide.", "CC0-1.0", "doi.org/10.1000/1"):
        assert part in text


def test_a_click_on_more_opens_the_whole_card(field):
    field.below.linkActivated.emit("tessera:more")
    assert isinstance(field.below.whole, CardWindow)
    assert field.below.whole.text.toPlainText().startswith("Whole")


def test_the_card_opens_pages_of_the_web_and_no_files(field, monkeypatch):
    opened = []
    monkeypatch.setattr("napari_tessera.gui.form.model_field.QDesktopServices.openUrl", opened.append)
    field.below.open_whole()
    for address in ("file:///bin/true", "https://doi.org/10.1000/1"):
        field.below.whole.text.anchorClicked.emit(QUrl(address))
    assert [each.scheme() for each in opened] == ["https"]


def test_two_models_of_one_title_are_told_apart_by_name(field, models_folder):
    save_bright(models_folder / "other.safetensors")
    field.refresh()
    assert {"Bright things – bright", "Bright things – other"} <= set(titles(field))


def test_damaged_model_cannot_be_chosen_and_says_why(field, models_folder):
    (models_folder / "torn.safetensors").write_bytes(b"torn")
    field.refresh()
    number = titles(field).index("torn (cannot be used)")
    item = field.native.model().item(number)
    assert not item.isEnabled()
    assert "torn.safetensors" in item.toolTip()


def test_model_that_arrives_is_offered(field, models_folder, qtbot):
    save_bright(models_folder / "new.safetensors", title="New")
    qtbot.waitUntil(lambda: "New" in titles(field), timeout=10_000)
    assert field.value == "bright"


def test_model_that_is_removed_stays_chosen_and_is_said_to_be_missing(field, models_folder, qtbot):
    (models_folder / "bright.safetensors").unlink()
    qtbot.waitUntil(lambda: "not on this computer" in field.below.text(), timeout=10_000)
    assert field.value == "bright"
    assert "bright (not found)" in titles(field)


def test_folder_that_is_made_later_is_followed(field, models_folder, qtbot, monkeypatch):
    later = models_folder.parent / "later" / "models"
    monkeypatch.setenv("TESSERA_MODELS", str(later))
    field.refresh()
    later.mkdir(parents=True)
    qtbot.waitUntil(lambda: field.watcher.directories() == [str(later)], timeout=10_000)
    save_bright(later / "late.safetensors", title="Late")
    qtbot.waitUntil(lambda: "Late" in titles(field), timeout=10_000)


def test_imported_file_is_copied_and_chosen(field, models_folder, tmp_path, qtbot):
    field.import_file(save_bright(tmp_path / "given.safetensors", title="Given"))
    qtbot.waitUntil(lambda: field.value == "given", timeout=10_000)
    assert field.native.currentText() == "Given"
    assert (models_folder / "given.safetensors").exists()


def test_file_that_cannot_be_imported_is_said_and_changes_nothing(field, tmp_path, qtbot):
    (tmp_path / "text.safetensors").write_text("no model")
    errors = []
    field.on_failure(errors.append)
    field.import_file(tmp_path / "text.safetensors")
    qtbot.waitUntil(lambda: bool(errors), timeout=10_000)
    assert "text.safetensors" in str(errors[0])
    assert field.value == "bright"


def test_import_asks_for_a_file_and_goes_back_to_the_model_chosen(field, tmp_path, qtbot, monkeypatch):
    path = save_bright(tmp_path / "given.safetensors", title="Given")
    monkeypatch.setattr("napari_tessera.gui.form.model_field.QFileDialog.getOpenFileName", lambda *_: (str(path), ""))
    choose(field, IMPORT)
    assert field.native.currentText() == "Bright things"
    qtbot.waitUntil(lambda: field.value == "given", timeout=10_000)


def test_leaving_the_dialogue_changes_nothing(field, monkeypatch):
    monkeypatch.setattr("napari_tessera.gui.form.model_field.QFileDialog.getOpenFileName", lambda *_: ("", ""))
    choose(field, IMPORT)
    assert (field.value, field.native.currentText()) == ("bright", "Bright things")


def test_model_is_remembered(models_folder, viewer, open_widget, qtbot):
    choose(open_widget("U-Net").form.fields["model"], "Bright things")
    qtbot.waitUntil(lambda: settings.load(method_named("unet")).get("model") == "bright", timeout=10_000)
    viewer.window.remove_dock_widget("all")
    assert open_widget("U-Net").form.values["model"] == "bright"


def test_diameter_starts_from_that_of_the_model(models_folder, open_widget):
    form = open_widget("U-Net").form
    choose(form.fields["model"], "Bright things")
    form.fields["diameter"].automatic.value = False
    assert form.values["diameter"] == 8


@pytest.mark.parametrize(
    ("title", "setting", "start"), [("U-Net", "threshold", 0.56), ("Mask R-CNN", "min_score", 0.4)]
)
def test_what_is_left_to_the_model_starts_from_what_it_takes(open_widget, title, setting, start):
    form = open_widget(title).form
    assert form.values[setting] is None
    form.fields[setting].automatic.value = False
    assert form.values[setting] == start


def test_form_opens_with_the_shipped_models_where_the_own_folder_cannot_be_read(tmp_path, monkeypatch, qtbot):
    folder = tmp_path / "models"
    folder.write_bytes(b"a file where a folder should be")
    monkeypatch.setenv("TESSERA_MODELS", str(folder))
    field = make_field(Declaration(declared).parameters[0])
    qtbot.addWidget(field.native)
    qtbot.addWidget(field.below)
    assert len(titles(field)) > 2
    assert "cannot be read" in field.below.text()

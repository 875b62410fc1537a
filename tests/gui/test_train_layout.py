"""What stands in the widget can be read in a window of 1280 × 800, at the dock's usual width."""

import pytest
from qtpy.QtCore import QSize
from qtpy.QtWidgets import QLabel, QLineEdit, QVBoxLayout, QWidget

from napari_tessera.gui.qt.layout import WIDTH_PX, AsTallAsContent
from napari_tessera.training.losses import LOSSES
from tests.gui.test_train import paint_halves
from tests.helpers.scenes_to_learn import halves

TEXT_MARGINS_PX = 6


@pytest.fixture
def widget(open_widget, viewer, qtbot):
    """The widget on an image, in a window that is shown."""
    window = viewer.window._qt_window
    window.show()
    window.resize(QSize(1280, 800))
    viewer.add_image(halves(), name="halves")
    widget = open_widget("Train")
    qtbot.waitUntil(widget.isVisible)
    assert widget.width() <= WIDTH_PX + 20
    return widget


def test_six_digits_can_be_read_beside_the_unit(widget, qtbot):
    widget.form.budget.value = {"steps": 100_000}
    number, unit = widget.form.budget.number.native, widget.form.budget.unit.native
    qtbot.wait(100)
    room = number.findChild(QLineEdit).width()
    assert room >= number.fontMetrics().horizontalAdvance("100000") + TEXT_MARGINS_PX
    assert unit.width() >= unit.fontMetrics().horizontalAdvance("minutes") + 28


def test_whole_minutes_have_no_decimals(widget):
    assert widget.form.budget.number.native.text() == "2"


def test_the_sentence_about_the_loss_is_seen_whole(widget, viewer, qtbot):
    viewer.layers.clear()
    paint_halves(widget, viewer)
    widget.more_settings.open()
    advice, cut = widget.form.advice, []
    for loss in reversed(LOSSES):
        widget.form.fields["loss"].value = loss
        qtbot.wait(300)
        cut += [loss] * (advice.height() < advice.heightForWidth(advice.width()))
    assert not cut


def test_a_scroll_bar_goes_when_there_is_room_again(qtbot):
    """The text has one line more beside a scroll bar, which must not keep it there."""
    text = QLabel("word " * 60)
    text.setWordWrap(True)
    content = QWidget()
    QVBoxLayout(content).addWidget(text)
    scrolling = AsTallAsContent(content)
    qtbot.addWidget(scrolling)
    scrolling.show()
    for width in range(200, 330):
        scrolling.resize(width, 60)
        qtbot.wait(2)
        scrolling.resize(width, scrolling.sizeHint().height())
        qtbot.wait(2)
        assert not scrolling.verticalScrollBar().isVisible()


def test_what_came_of_it_is_seen_without_scrolling(widget, viewer, qtbot):
    viewer.layers.clear()
    paint_halves(widget, viewer)
    widget.bar.run_button.click()
    qtbot.waitUntil(lambda: widget.bar.run_button.isEnabled(), timeout=120_000)
    qtbot.wait(300)
    assert widget.outcome.open_button.visibleRegion().boundingRect().size() == widget.outcome.open_button.size()

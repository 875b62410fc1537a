"""The mouse wheel scrolls a form, and changes only the field that has focus."""

import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QAbstractSpinBox, QApplication, QComboBox, QSlider

from napari_tessera.gui.qt.layout import AsTallAsContent
from napari_tessera.methods.registry import METHODS
from tests.helpers.scenes import blobs, two_boxes

FIELDS = (QComboBox, QAbstractSpinBox, QSlider)
NOTCH = 120


def turn_wheel_over(field):
    """Turn the wheel down by one notch with the mouse over the middle of a field.

    Qt passes an event that a widget ignores to its parent, but only one of a real mouse.
    """
    middle = QPointF(field.rect().center())
    at = QPointF(field.mapToGlobal(field.rect().center()))
    buttons, modifiers, phase = Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase
    receiver = field.childAt(field.rect().center()) or field
    while receiver is not None:
        down = QWheelEvent(middle, at, QPoint(), QPoint(0, -NOTCH), buttons, modifiers, phase, False)
        QApplication.sendEvent(receiver, down)
        receiver = None if down.isAccepted() else receiver.parentWidget()


def shown(field):
    if isinstance(field, QSlider):
        return field.value()
    return field.currentText() if isinstance(field, QComboBox) else field.text()


@pytest.mark.parametrize("title", [*(method.title for method in METHODS), "Train"])
def test_no_field_takes_the_wheel_without_focus(viewer, open_widget, title):
    viewer.add_image(blobs(3), name="blobs")
    viewer.add_labels(two_boxes(3), name="boxes")
    widget = open_widget(title)
    fields = [field for kind in FIELDS for field in widget.findChildren(kind)]
    assert len(fields) > 2
    viewer.window._qt_window.setFocus()
    before = [shown(field) for field in fields]
    for field in fields:
        turn_wheel_over(field)
    assert [shown(field) for field in fields] == before


def test_the_field_with_focus_takes_the_wheel(viewer, open_widget, qtbot):
    viewer.window._qt_window.show()
    viewer.window._qt_window.activateWindow()
    viewer.add_image(blobs(), name="blobs")
    sigma = open_widget("Threshold").form.fields["sigma"]
    sigma.spin_box.native.setFocus()
    qtbot.waitUntil(sigma.spin_box.native.hasFocus)
    before = sigma.value = 3.0
    turn_wheel_over(sigma.spin_box.native)
    assert sigma.value < before


def test_the_wheel_over_a_field_scrolls_the_form(viewer, open_widget, qtbot):
    window = viewer.window._qt_window
    window.show()
    window.resize(1000, 500)
    viewer.add_image(blobs(), name="blobs")
    widget = open_widget("U-Net")
    widget.more_settings.open()
    bar = widget.findChild(AsTallAsContent).verticalScrollBar()
    qtbot.waitUntil(lambda: bar.maximum() > 0)
    turn_wheel_over(widget.inputs.main.native)
    assert bar.value() > 0

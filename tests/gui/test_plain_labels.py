"""A labels layer that was not made as an annotation: it is not chosen unasked, and the user says what 0 means in it."""

import numpy as np
import pytest
from qtpy.QtCore import Qt

from tests.gui.test_train import TINY
from tests.helpers.scenes_to_learn import halves, squares, strokes

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def labels():
    """Nine objects, numbered from 1; 0 is background."""
    return np.maximum(squares()[1] - 1, 0)


@pytest.fixture
def widget(viewer, open_widget, labels):
    """The Train widget beside an image and its full labels, which are the active layer."""
    viewer.add_image(squares()[0], name="squares", scale=(2, 2))
    viewer.add_labels(labels, name="nuclei", scale=(2, 2))
    return open_widget("Train")


@pytest.fixture
def asked(widget, viewer):
    """The widget after the user has chosen the full labels."""
    widget.pairs.first.inputs.boxes["annotation"].combo.value = viewer.layers["nuclei"]
    return widget


def press(button, qtbot):
    qtbot.mouseClick(button, LEFT)


def test_full_labels_are_not_preselected(widget):
    assert widget.pairs.first.paint is None
    assert widget.pairs.first.question.isHidden()


def test_full_labels_are_not_chosen_when_they_are_added_later(widget, viewer, labels):
    viewer.add_labels(labels, name="more nuclei")
    assert widget.pairs.first.paint is None


def test_the_user_is_asked_about_full_labels_before_the_training(asked, qtbot):
    question = asked.pairs.first.question
    assert not question.isHidden()
    assert "'nuclei' looks like complete labels" in question.text.text()
    press(asked.bar.run_button, qtbot)
    assert "Say first what 0 means in 'nuclei'" in asked.bar.message.text()
    assert not asked.runner.is_running


def test_object_1_of_complete_labels_is_no_background(asked, viewer, labels, qtbot):
    pair = asked.pairs.first
    press(pair.question.complete_button, qtbot)
    qtbot.waitUntil(lambda: pair.question.isHidden(), timeout=10_000)
    assert pair.paint is viewer.layers[-1]
    np.testing.assert_array_equal(pair.paint.data, labels + 1)
    np.testing.assert_array_equal(viewer.layers["nuclei"].data, labels)
    assert not viewer.layers["nuclei"].visible
    np.testing.assert_allclose(pair.paint.scale, (2, 2))
    np.testing.assert_array_equal(pair.given().paint, labels + 1)


def test_classes_of_complete_labels_get_a_brush_each(asked, qtbot):
    asked.form.values = TINY | {"task": "classes"}
    pair = asked.pairs.first
    press(pair.question.complete_button, qtbot)
    qtbot.waitUntil(lambda: pair.question.isHidden(), timeout=10_000)
    assert asked.classes.names == ["background", *(f"class {number}" for number in range(1, 10))]


def test_paint_on_a_plain_layer_is_taken_as_it_is(viewer, open_widget, qtbot):
    viewer.add_image(halves(), name="halves")
    paint = viewer.add_labels(strokes(), name="Labels")
    widget = open_widget("Train")
    pair = widget.pairs.first
    pair.inputs.boxes["annotation"].combo.value = paint
    assert "not painted, as in an annotation" in pair.question.text.text()
    press(pair.question.paint_button, qtbot)
    assert pair.question.isHidden()
    assert pair.paint is paint
    np.testing.assert_array_equal(pair.given().paint, strokes())


def test_an_empty_layer_becomes_an_annotation_without_a_question(viewer, open_widget):
    viewer.add_image(halves(), name="halves")
    empty = viewer.add_labels(np.zeros(halves().shape, int), name="Labels")
    widget = open_widget("Train")
    widget.pairs.first.inputs.boxes["annotation"].combo.value = empty
    assert widget.pairs.first.question.isHidden()
    assert widget.pairs.first.paint is empty

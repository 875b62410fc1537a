"""Widgets of Tessera share a place in the window, so that none is squeezed below another."""

from qtpy.QtWidgets import QDockWidget, QLabel

from tests.helpers.scenes import blobs


def dock_of(widget):
    while not isinstance(widget, QDockWidget):
        widget = widget.parent()
    return widget


def beside(viewer, dock):
    return viewer.window._qt_window.tabifiedDockWidgets(dock)


def test_a_second_widget_is_a_tab_in_front_of_the_first(viewer, open_widget, qtbot):
    viewer.window._qt_window.show()
    viewer.add_image(blobs(), name="blobs")
    first, second, third = (dock_of(open_widget(name)) for name in ("Threshold", "Watershed", "K-means"))
    qtbot.waitUntil(lambda: {first, second} <= set(beside(viewer, third)), timeout=10_000)
    qtbot.waitUntil(lambda: not third.visibleRegion().isEmpty(), timeout=10_000)
    assert first.visibleRegion().isEmpty()


def test_the_widgets_of_others_stay_where_they_are(viewer, open_widget, qtbot):
    viewer.window._qt_window.show()
    other = viewer.window.add_dock_widget(QLabel("another plugin"), name="other")
    ours = open_widget("Threshold")
    qtbot.waitUntil(lambda: not ours.visibleRegion().isEmpty(), timeout=10_000)
    qtbot.wait(200)
    assert beside(viewer, other) == []

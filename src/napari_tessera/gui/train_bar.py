"""Train, Stop and Cancel, and what is said of it."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton

from napari_tessera.gui.run_bar import RunBar
from napari_tessera.gui.wording import tooltip

STOP_HELP = "End after this step and save the best that was learnt so far. It can go on later."
CANCEL_HELP = "End now. No layer and no model is changed; what was learnt so far can be taken up again."
GO_ON_HELP = (
    "Take up the training that was stopped or cancelled, with the paint, the settings and the name that it had. "
    "Strokes painted since are not learnt; press Train for those."
)


class TrainBar(RunBar):
    """The foot of the widget that trains.

    Attributes
    ----------
    stop_asked, go_on_asked : Signal
    """

    stop_asked = Signal()
    go_on_asked = Signal()

    def __init__(self) -> None:
        self.stop_button = QPushButton("Stop")
        self.go_on_button = QPushButton("Go on")
        super().__init__("Train", "Training …")
        self.stop_button.clicked.connect(self.stop_asked.emit)
        self.go_on_button.clicked.connect(self.go_on_asked.emit)
        self.stop_button.setToolTip(tooltip(STOP_HELP))
        self.cancel_button.setToolTip(tooltip(CANCEL_HELP))
        self.go_on_button.setToolTip(tooltip(GO_ON_HELP))
        self.menu_button.setToolTip("Defaults, code and report")
        self.buttons.insertWidget(1, self.stop_button)
        self.buttons.insertWidget(1, self.go_on_button)
        self.offer_to_go_on(False)

    def show_running(self, is_running: bool) -> None:
        """Switch between ready and running; there is nothing to stop before the first step."""
        super().show_running(is_running)
        self.stop_button.setVisible(is_running)
        self.stop_button.setEnabled(False)
        self.cancel_button.setVisible(is_running)
        if is_running:
            self.offer_to_go_on(False)

    def offer_to_go_on(self, is_offered: bool) -> None:
        """Show the button that takes up what was stopped, or hide it."""
        self.go_on_button.setVisible(is_offered)

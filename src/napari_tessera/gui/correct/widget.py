"""The dock widget Correct labels: a tool bar for corrections by mouse, with keys and napari's own undo."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from napari.layers import Labels
from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QGridLayout, QHBoxLayout, QPushButton, QWidget

from napari_tessera.core.jobs import Job, Progress
from napari_tessera.core.sparse_array import highest_of
from napari_tessera.gui.autosave.autosave import Autosave, RescueBox
from napari_tessera.gui.correct.corrected_layer import Changes, Part, check_can_correct, is_changeable, n_operations
from napari_tessera.gui.correct.line_overlay import LineOverlay
from napari_tessera.gui.correct.tools import TOOLS, Stroke, Tool, tool_named
from napari_tessera.gui.correct.walk import Walk
from napari_tessera.gui.form.field import fit_in_form
from napari_tessera.gui.form.layer_combo import LayerBox
from napari_tessera.gui.form.text import tooltip
from napari_tessera.gui.method.inputs import FollowedLayer
from napari_tessera.gui.qt.in_steps import BuiltInSteps, Steps
from napari_tessera.gui.qt.layout import (
    ERROR_STYLE,
    PLAIN_STYLE,
    Rows,
    Section,
    fill,
    fill_dock,
    wrapped_label,
)
from napari_tessera.gui.qt.run_bar import canvas_of
from napari_tessera.gui.qt.worker import Runner, sentence, showing_errors

COLUMNS = 3
LABELS_HELP = "The labels to correct; they are changed in place. It is the layer selected in the list."
PLANE_HELP = "Change only the plane that is shown, instead of the whole object in all planes of the volume."
DISTANCE_HELP = "How far an object grows or shrinks, and the radius of what is smoothed away."
UNDO_HELP = "Take back the last operation or stroke (Ctrl-Z)."
REDO_HELP = "Do again what was taken back (Ctrl-Shift-Z)."
CHOOSE = "Choose a tool, or press its key over the image. Space held down moves the image while a tool is on."
MOST_DISTANCE_PX = 100.0
SECONDS_TO_STOP = 1.0
PAN_ZOOM = "pan_zoom"


@dataclass(frozen=True)
class Operation:
    """What the mouse asked for, and has not happened yet."""

    tool: Tool
    part: Part
    path: np.ndarray
    distance_px: float
    is_back: bool


class CorrectWidget(BuiltInSteps):
    """Dock widget that corrects labels by mouse.

    Attributes
    ----------
    tool : Tool or None
        The tool in hand.
    buttons : dict of str to QPushButton
        Of the tools, by name.
    """

    def build(self) -> Steps:
        """Make the tools, then the walk, and put them in place."""
        self.tool: Tool | None = None
        self.box = LayerBox(self.viewer, (Labels,), "Labels", LABELS_HELP)
        self.followed = FollowedLayer(self.box)
        self.only_plane = QCheckBox("Only the plane shown")
        self.distance = QDoubleSpinBox()
        self.buttons = {tool.name: self._button(tool) for tool in TOOLS}
        self.undo_button, self.redo_button = QPushButton("Undo"), QPushButton("Redo")
        yield
        self.walk = Walk(self.viewer)
        self.objects = Section("Objects, one by one", self.walk)
        self.message, self.count = wrapped_label(), wrapped_label()
        self.runner = Runner()
        self.autosave = Autosave(self.viewer)
        self.rescue = RescueBox(self.viewer)
        self._waiting: deque[Operation] = deque()
        self._running: Operation | None = None
        self._clicks: list[Any] = []
        canvas = canvas_of(self.viewer)
        self.line = None if canvas is None else LineOverlay(canvas)
        self._held: Labels | None = None
        self._bound: Labels | None = None
        yield
        self._lay_out()
        self._connect()
        self._follow_layer()

    @property
    def layer(self) -> Labels | None:
        """The layer that is corrected."""
        return self.box.layer

    @property
    def is_busy(self) -> bool:
        """Whether operations are not finished."""
        return self._running is not None or bool(self._waiting)

    @showing_errors
    def take(self, name: str | None) -> None:
        """Take a tool in hand by its name; None, or the tool in hand, puts it away."""
        wanted = None if name is None or (self.tool is not None and self.tool.name == name) else tool_named(name)
        self._put_away()
        if wanted is not None:
            layer = check_can_correct(self.layer)
            self.viewer.layers.selection.active = layer
            layer.mode = PAN_ZOOM
            layer.mouse_pan = False
            layer.mouse_drag_callbacks.append(self._on_mouse)
            layer.events.mode.connect(self._on_mode)
            self.autosave.watch(layer, layer)
            self.tool, self._held = wanted, layer
            self.buttons[wanted.name].setChecked(True)
        self.say(CHOOSE if self.tool is None else self.tool.hint)

    @showing_errors
    def undo(self) -> None:
        """Take back the last operation."""
        if self.layer is not None and not self.is_busy:
            self.layer.undo()
            self.say("Taken back." if self.tool is None else f"Taken back. {self.tool.hint}")

    @showing_errors
    def redo(self) -> None:
        """Do again what was taken back."""
        if self.layer is not None and not self.is_busy:
            self.layer.redo()

    def say(self, text: str) -> None:
        """Show what to do next."""
        self.message.setStyleSheet(PLAIN_STYLE)
        self.message.setText(text)

    def show_error(self, error: BaseException) -> None:
        """Show what went wrong; the layer is as it was."""
        self.message.setStyleSheet(ERROR_STYLE)
        self.message.setText(sentence(error))

    @showing_errors
    def reset_choices(self, *_: Any) -> None:
        """Update the box of layers; napari calls this when a layer is added, removed or renamed."""
        self.box.refresh()
        self.followed.update()

    def shut_down(self) -> None:
        """Put the tool away, and stop; called when the widget is closed."""
        self._put_away()
        self._bind(None)
        self.walk.close_down()
        self._waiting.clear()
        self.runner.cancel()
        self.runner.wait(SECONDS_TO_STOP)
        self.followed.close()
        self.autosave.close()
        if self.line is not None:
            self.line.deleteLater()
            self.line = None

    def _button(self, tool: Tool) -> QPushButton:
        button = QPushButton(f"{tool.title}  ({tool.key})")
        button.setCheckable(True)
        button.setToolTip(tooltip(tool.hint))
        button.clicked.connect(partial(self.take, tool.name))
        return button

    def _lay_out(self) -> None:
        self.distance.setRange(0.5, MOST_DISTANCE_PX)
        self.distance.setSuffix(" px")
        self.distance.setValue(1.0)
        self.distance.setDecimals(1)
        fit_in_form(self.distance)
        self.only_plane.setToolTip(tooltip(PLANE_HELP))
        self.undo_button.setToolTip(tooltip(UNDO_HELP))
        self.redo_button.setToolTip(tooltip(REDO_HELP))
        rows = Rows()
        rows.add("Labels", self.box.native, LABELS_HELP)
        grid = QGridLayout()
        for number, button in enumerate(self.buttons.values()):
            grid.addWidget(button, *divmod(number, COLUMNS))
        tools = QWidget()
        tools.setLayout(grid)
        grid.setContentsMargins(0, 0, 0, 0)
        options = Rows()
        options.add("Distance", self.distance, DISTANCE_HELP)
        options.add_wide(self.only_plane)
        history, line = QWidget(), QHBoxLayout()
        history.setLayout(line)
        fill(line, self.undo_button, self.redo_button)
        fill_dock(
            self,
            self.rescue,
            rows,
            tools,
            options,
            history,
            self.message,
            self.count,
            self.objects,
        )

    def _connect(self) -> None:
        self.runner.returned.connect(self._on_found)
        self.runner.failed.connect(self._on_failed)
        self.runner.cancelled.connect(self._on_cancelled)
        for each in (self.rescue, self.walk):
            each.failed.connect(self.show_error)
        self.autosave.failed.connect(self._on_unsaved)
        self.undo_button.clicked.connect(self.undo)
        self.redo_button.clicked.connect(self.redo)
        self.box.on_change(self._follow_layer)

    @showing_errors
    def _follow_layer(self) -> None:
        """Follow another layer: its keys, and the tools that it can have."""
        self._put_away()
        layer = self.layer
        can_correct = layer is not None and is_changeable(layer)
        self._bind(layer if can_correct else None)
        self.walk.follow(layer if can_correct else None)
        for tool in TOOLS:
            self.buttons[tool.name].setVisible(not tool.needs_stack or (layer is not None and layer.ndim > 2))
        self.only_plane.setVisible(layer is not None and layer.ndim > 2)
        self._show_count()
        check_can_correct(layer)
        self.say(CHOOSE)

    def _bind(self, layer: Labels | None) -> None:
        """Give the keys of the tools to a layer, and take them from the one before."""
        for each, is_new in ((self._bound, False), (layer, True)):
            if each is not None:
                for tool in TOOLS:
                    each.bind_key(tool.key, self._key_press(tool) if is_new else None, overwrite=True)
        self._bound = layer

    def _key_press(self, tool: Tool) -> Callable[[Labels], None]:
        def take_tool(_: Labels) -> None:  # napari reads the name of the function
            self.take(tool.name)

        return take_tool

    def _on_mode(self, _: Any = None) -> None:
        """Put the tool away when the user takes a brush of napari's."""
        if self._held is not None and str(self._held.mode) != PAN_ZOOM:
            self.take(None)

    def _put_away(self) -> None:
        if self.tool is not None:
            self.buttons[self.tool.name].setChecked(False)
        if (layer := self._held) is not None:
            layer.events.mode.disconnect(self._on_mode)
            if self._on_mouse in layer.mouse_drag_callbacks:
                layer.mouse_drag_callbacks.remove(self._on_mouse)
            layer.mouse_pan = str(layer.mode) == PAN_ZOOM
        for button in self.buttons.values():
            button.setChecked(False)
        self.tool, self._held = None, None
        self._clicks = []

    def _on_mouse(self, layer: Labels, event: Any) -> Iterator[None]:
        """Collect the positions from the press of the left button to its release."""
        tool = self.tool
        if tool is None or event.button != 1:
            return
        path = [np.array(event.position)]
        if tool.gesture != "drag":
            self._clicked(tool, layer, path[0], event)
            return
        line = [event.pos]
        yield
        while event.type == "mouse_move":
            path.append(np.array(event.position))
            line.append(event.pos)
            if self.line is not None:
                self.line.show_line(line)
            yield
        if self.line is not None:
            self.line.clear()
        self._ask(tool, layer, path, event)

    def _clicked(self, tool: Tool, layer: Labels, position: np.ndarray, event: Any) -> None:
        self._clicks.append(position)
        if tool.gesture == "two clicks" and len(self._clicks) < 2:
            self.say("Now click the other part of the object.")
            return
        clicks, self._clicks = self._clicks, []
        self._ask(tool, layer, clicks, event)

    @showing_errors
    def _ask(self, tool: Tool, layer: Labels, positions: list[np.ndarray], event: Any) -> None:
        """Note what the mouse asked for; one operation follows the other."""
        part = Part(layer, self.viewer, self.only_plane.isChecked())
        is_back = "Alt" in event.modifiers
        self._waiting.append(Operation(tool, part, part.path(positions), self.distance.value(), is_back))
        self._next()

    def _next(self) -> None:
        if self._waiting and self._running is None:
            self._running = self._waiting.popleft()
            self.runner.start(_editing(self._running))

    def _on_found(self, changes: Changes) -> None:
        operation, self._running = self._running, None
        if operation is not None:
            self._change(operation, changes)
        self._next()

    @showing_errors
    def _change(self, operation: Operation, changes: Changes) -> None:
        if operation.part.layer not in self.viewer.layers:
            return
        changed = operation.part.apply(changes, operation.tool.name)
        if changed:
            self.say(f"{operation.tool.title}: {changed:,} px changed. {operation.tool.hint}")
        else:
            self.say(f"{operation.tool.title}: there was nothing to change.")
        self._show_count()

    def _on_failed(self, error: BaseException) -> None:
        self._running = None
        self.show_error(error)
        self._next()

    def _on_cancelled(self) -> None:
        self._running = None
        self._next()

    def _on_unsaved(self, why: str) -> None:
        self.message.setStyleSheet(ERROR_STYLE if why else PLAIN_STYLE)
        self.message.setText(why)

    def _show_count(self) -> None:
        count = 0 if self.layer is None else n_operations(self.layer)
        self.count.setText(f"{count} correction{'s' * (count != 1)} of this layer so far." if count else "")


def _editing(operation: Operation) -> Job[Changes]:
    """Return the job that computes which pixels an operation changes."""
    part, tool = operation.part, operation.tool
    free = 1 + (yield from highest_of(part.layer.data)) if tool.makes_objects else 0
    yield Progress(0, 1, tool.title)
    labels = part.read()
    stroke = Stroke(labels, operation.path, part.spacing, operation.distance_px, free, operation.is_back)
    return tool.edit(stroke).changes(labels)

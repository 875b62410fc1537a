"""The dock widget Point: move the mouse over an object, click, and it becomes a label."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Labels, Layer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QGridLayout, QPushButton, QWidget

from napari_tessera.core.errors import InputError, ParameterError
from napari_tessera.core.method import Method
from napari_tessera.core.spec import Image as ImageArray
from napari_tessera.core.spec import Labels as LabelArray
from napari_tessera.gui.autosave.autosave import Autosave, RescueBox
from napari_tessera.gui.form.field import ChannelChoice
from napari_tessera.gui.form.model_field import ModelField, read_models_once
from napari_tessera.gui.form.text import tooltip
from napari_tessera.gui.layers.read import array_of, channel_names, viewport_events
from napari_tessera.gui.method.inputs import FollowedLayer, InputsBox
from napari_tessera.gui.point.acceptance import Acceptance, Accepted, TargetBox, new_layer
from napari_tessera.gui.point.mouse_and_keys import KeysOf, Mouse
from napari_tessera.gui.point.object_in_hand import Mark, Pointed
from napari_tessera.gui.point.outline_overlay import OutlineOverlay, drawing_of, matrix_of
from napari_tessera.gui.point.pointing import Pointing
from napari_tessera.gui.point.scene import Scene
from napari_tessera.gui.point.text import NOTHING_HERE, PointText
from napari_tessera.gui.qt.in_steps import BuiltInSteps, Steps
from napari_tessera.gui.qt.layout import Rows, fill_dock, wrapped_label
from napari_tessera.gui.qt.run_bar import canvas_of
from napari_tessera.gui.qt.worker import sentence, showing_errors
from napari_tessera.methods.point import PointedImage
from napari_tessera.methods.registry import method_named
from napari_tessera.models import registry as catalogue

PLUGIN, TRAIN = "napari-tessera", "Train"
POINT_KEY = "P"
SECONDS_TO_STOP = 1.0
ACTIONS = {
    "accept": ("Accept  (Enter)", "Put the object into the labels layer, under the next free number."),
    "drop": ("Drop  (Esc)", "Forget the object that is not accepted yet. Once more ends pointing."),
    "take_back": ("Back  (Backspace)", "Take the last click or box back."),
    "undo": ("Undo  (Ctrl-Z)", "Take the last accepted object out of its layer."),
    "follow": ("Follow  (F)", "Follow the object through the planes, up and down, until it ends. Esc stops."),
}
"""Titles and help of the buttons, by the method that each calls."""
COLUMNS = 2
FOLLOW_HELP = "Follow each object through the planes of a volume, or the frames of a film, as soon as it is clicked."
TRAIN_HELP = "Open Train with these objects: a network learns from them to find all objects of the kind by itself."
POINT_HELP = "Begin or end pointing (P, while the image is selected)."
FOLLOWING = "Following: "
REMOVED = "The image was removed; the objects in their layer stay."


def pointed(image: ImageArray) -> LabelArray:
    """Point at objects.

    Parameters
    ----------
    image : array
        The image to point at.
    """
    return np.zeros(image.shape)


IMAGE = Method(pointed, "Image")
"""Its one input is the box of the image."""


class PointWidget(BuiltInSteps):
    """Dock widget that turns the objects that the user points at into labels.

    Attributes
    ----------
    pointing : Pointing
        The object that is being pointed at.
    mouse : Mouse
    acceptance : Acceptance
    target : TargetBox
        The labels layer that takes the objects.
    """

    @classmethod
    def prepare(cls) -> None:
        """Read the models."""
        _ = method_named("point").parameters
        read_models_once()

    def build(self) -> Steps:
        """Make the boxes, then what points, and put them in place."""
        self.rows = Rows()
        self.inputs = InputsBox(self.viewer, IMAGE, self.rows)
        self.inputs.show_rows({})
        self.followed = FollowedLayer(self.inputs.main)
        yield
        self.target = TargetBox(self.viewer, self.scene)
        parameters = {each.name: each for each in method_named("point").parameters}
        self.model, self.channel = ModelField(parameters["model"]), ChannelChoice(parameters["channel"])
        yield
        self.pointing, self.acceptance = Pointing(), Acceptance()
        self.mouse = Mouse(self.viewer, self)
        self.text = PointText()
        self.point_key = KeysOf({POINT_KEY: lambda _: self.point_button.click()})
        self.keys = KeysOf({
            "Enter": lambda _: self.accept(), "Escape": lambda _: self.drop(), "Backspace": lambda _: self.take_back(),
            "F": lambda _: self.follow(), "Control-Z": lambda _: self.undo(), "Control-Shift-Z": lambda _: self.redo(),
            "Space": self.mouse.move_image,
        })  # fmt: skip
        self.autosave, self.rescue = Autosave(self.viewer), RescueBox(self.viewer)
        canvas = canvas_of(self.viewer)
        self.overlay = None if canvas is None else OutlineOverlay(canvas, lambda: matrix_of(self.pointing))
        self.point_button = QPushButton(f"Point  ({POINT_KEY})")
        self.buttons = {name: self._button(name) for name in ACTIONS}
        self.follows = QCheckBox("Follow through planes")
        self.train_button = QPushButton("Train on these …")
        self.count = wrapped_label()
        self._targets: WeakKeyDictionary[Layer, Labels] = WeakKeyDictionary()
        self._image: Layer | None = None
        self._box: tuple[Any, Any] | None = None
        self._accepts_next = False
        yield
        self._lay_out()
        self._connect()
        self._follow_image()

    @property
    def is_on(self) -> bool:
        """Whether the user points."""
        return self.mouse.layer is not None

    @property
    def is_busy(self) -> bool:
        """Whether something is computed, or not accepted yet."""
        return self.pointing.is_busy or self.pointing.is_loading or self.acceptance.is_busy

    def scene(self) -> Scene | None:
        """Return the chosen image; None without one."""
        layer = self.inputs.main.layer
        return None if layer is None or layer not in self.viewer.layers else Scene(self.viewer, layer, self.inputs.axes)

    @showing_errors
    def switch(self, is_on: bool) -> None:
        """Begin or end pointing."""
        if is_on == self.is_on:
            return
        if is_on:
            self._begin()
        else:
            self._end()
            self.say("")

    @showing_errors
    def accept(self) -> None:
        """Put the object into the labels layer, as soon as it is found."""
        if self.pointing.pick is None:
            raise InputError("There is no object to accept yet: click on one first.")
        if self.pointing.is_busy:
            self._accepts_next = True
            self.say("Accepted as soon as it is found; Esc drops it.")
            return
        self._accepts_next = False
        scene, planes = self.scene(), {at: each for at, each in self.pointing.planes.items() if each.area_px}
        if scene is None or not planes:
            raise InputError(f"There is nothing to accept. {NOTHING_HERE}")
        self.acceptance.accept(Accepted(scene, self._target_layer(scene), planes, self.model.value))
        self.pointing.usual_px = planes.get(self.pointing.pick.plane, next(iter(planes.values()))).diameter_px
        self.pointing.drop()

    @showing_errors
    def drop(self) -> None:
        """End following; or drop the object; or, without one, end pointing."""
        self._accepts_next = False
        if self.pointing.is_following:
            self.pointing.stop_following()
            self.say("Stopped. Enter accepts what was found so far.")
        elif self.pointing.pick is not None:
            self.pointing.drop()
            self.say("Dropped.")
        else:
            self.switch(False)

    @showing_errors
    def take_back(self) -> None:
        """Take the last click or box back."""
        self.pointing.take_back()

    @showing_errors
    def follow(self) -> None:
        """Follow the object through the planes."""
        self.pointing.follow()

    @showing_errors
    def undo(self) -> None:
        """Take the last accepted object out of its layer."""
        if self.target.layer is not None and not self.acceptance.is_busy:
            self.target.layer.undo()
            self.say("Taken back.")
            self._show_count()

    @showing_errors
    def redo(self) -> None:
        """Put the object that was taken out last into its layer again."""
        if self.target.layer is not None and not self.acceptance.is_busy:
            self.target.layer.redo()
            self._show_count()

    @showing_errors
    def on_move(self, position: Any) -> None:
        """Look at what a click would give."""
        scene = self.scene()
        place = None if scene is None else scene.place(position)
        if scene is None or place is None or not self._may_point(scene):
            self.pointing.leave()
        else:
            self.pointing.hover(scene.plane(), place)

    @showing_errors
    def on_click(self, position: Any, is_beside: bool) -> None:
        """Add a click on the object, or beside it."""
        scene = self._checked_scene()
        place = scene.place(position)
        if place is not None:
            self._mark(scene, Mark("negative" if is_beside else "positive", place))

    @showing_errors
    def on_drag(self, first: Any, last: Any) -> None:
        """Show the box that is being drawn."""
        self._box = first, last
        self._show()

    @showing_errors
    def on_box(self, first: Any, last: Any) -> None:
        """Find the object in a box."""
        self._box = None
        self._mark(scene := self._checked_scene(), Mark("box", scene.box(first, last)))

    def say(self, text: str) -> None:
        """Show what happened."""
        self.text.say(text)
        self._show_hint()

    def show_error(self, error: BaseException) -> None:
        """Show what went wrong; no layer was changed."""
        self._accepts_next = False
        self.text.say(sentence(error), is_error=True)
        self.point_button.setChecked(self.is_on)
        self._show_hint()

    @showing_errors
    def reset_choices(self, *_: Any) -> None:
        """Update the boxes of layers; napari calls this when a layer is added, removed or renamed."""
        self.inputs.refresh()
        self.followed.update()
        self.target.refresh()
        self._show_count()

    def shut_down(self) -> None:
        """End pointing, and stop; called when the widget is closed."""
        self._end()
        self.point_key.bind(None)
        self.followed.close()
        for event in viewport_events(self.viewer):
            event.disconnect(self._show)
        self.viewer.layers.selection.events.active.disconnect(self._on_active)
        self.pointing.close(SECONDS_TO_STOP)
        self.acceptance.close(SECONDS_TO_STOP)
        self.autosave.close()
        if self.overlay is not None:
            self.overlay.deleteLater()
            self.overlay = None

    def _begin(self) -> None:
        scene = self._checked_scene()
        entry, channel = self._entry(), self.channel.value if "C" in scene.axes else None
        pointed = Pointed(scene, PointedImage(array_of(scene.layer), scene.channel_axis, channel), entry)
        self.mouse.hold(scene.layer)
        self.keys.bind(scene.layer)
        scene.layer.events.mode.connect(self._on_mode)
        self.pointing.begin(pointed)
        self.point_button.setChecked(True)
        if (canvas := canvas_of(self.viewer)) is not None:
            canvas.setFocus()
        self.say("")

    def _end(self) -> None:
        if (layer := self.mouse.layer) is not None:
            layer.events.mode.disconnect(self._on_mode)
        self.keys.bind(None)
        self.mouse.release()
        self.pointing.end()
        self._box, self._accepts_next = None, False
        self.point_button.setChecked(False)
        self._show()

    def _entry(self) -> catalogue.ModelEntry:
        """Return the chosen model; raise an error in words if it is missing, or cannot point."""
        entry = catalogue.find(self.model.value)
        if entry.kind != "click":
            raise ParameterError(f"The model {entry.name!r} cannot find what is pointed at. Choose another.", "model")
        return entry

    def _checked_scene(self) -> Scene:
        scene = self.scene()
        if scene is None:
            raise InputError("Open an image first: there is nothing to point at.")
        scene.check()
        return scene

    def _may_point(self, scene: Scene) -> bool:
        try:
            scene.check()
        except InputError:
            return False
        return True

    def _mark(self, scene: Scene, mark: Mark) -> None:
        self._accepts_next = False
        self.pointing.mark(scene.plane(), mark)
        self.say("")

    def _target_layer(self, scene: Scene) -> Labels:
        """Return the layer that takes the objects; a new one is added to the viewer, and the image stays selected."""
        layer = self.target.layer
        if layer is None:
            layer = new_layer(scene)
            with self.followed.paused():
                self.viewer.add_layer(layer)
                self.viewer.layers.selection.active = scene.layer
            self.target.refresh()
            self.target.layer = layer
        self._targets[scene.layer] = layer
        self.autosave.watch(layer, scene.layer)
        return layer

    @showing_errors
    def _on_accepted(self, accepted: Accepted) -> None:
        name, count = accepted.scene.step_name, len(accepted.planes)
        where = f" in {count} {name}s" if count > 1 else ""
        self.say(f"Object {accepted.number}: {accepted.n_px:,} px{where}.")
        self._show_count()

    @showing_errors
    def _on_settled(self) -> None:
        if self.text.message.text().startswith(FOLLOWING):
            self.say("")
        if self._accepts_next:
            self.accept()

    @showing_errors
    def _on_followed_to(self, where: str) -> None:
        self.say(f"{FOLLOWING}{where} … Esc stops.")

    def _on_mode(self, _: Any = None) -> None:
        """End pointing when the user chooses another mode of the layer."""
        if self.is_on and not self.mouse.is_in_mode:
            self.switch(False)

    @showing_errors
    def _on_active(self, _: Any = None) -> None:
        self.pointing.leave()
        self._show_hint()

    @showing_errors
    def _on_settings(self) -> None:
        """Point on with another model, another channel or other axes."""
        if self.is_on:
            self._end()
            self._begin()

    @showing_errors
    def _follow_image(self) -> None:
        """Follow another image, or other axes: its key, its channels, and the layers that can take its objects."""
        scene, before = self.scene(), self._image
        self._image = None if scene is None else scene.layer
        if self._image is not before:
            is_lost = self.is_on and before not in self.viewer.layers
            self._end()
            self.pointing.usual_px = None
            self.say(REMOVED if is_lost else "")
        else:
            self._on_settings()
        self.point_key.bind(self._image)
        self.target.refresh()
        if self._image is not None and self._image is not before:
            self.target.combo.value = self._targets.get(self._image)
        self.channel.show_names(channel_names(self._image, self.inputs.axes) if scene is not None else ())
        self.rows.show_row(self.channel.native, scene is not None and "C" in scene.axes)
        for each in (self.follows, self.buttons["follow"]):
            each.setVisible(scene is not None and scene.followed_axis is not None)
        self._show_count()

    @showing_errors
    def _show(self, _: Any = None) -> None:
        """Show the object, and what is known about it."""
        if self.overlay is not None:
            self.overlay.draw(drawing_of(self.pointing, self._box))
        self._show_hint()

    def _show_hint(self) -> None:
        """Show how sure the network is, which keys do something, and which buttons can be pressed."""
        layer = self.mouse.layer if self.viewer.layers.selection.active is not self.mouse.layer else None
        self.text.show_hint(self.pointing, "" if layer is None else layer.name)
        for name in ("accept", "drop", "take_back", "follow"):
            self.buttons[name].setEnabled(self.pointing.pick is not None)

    def _show_count(self) -> None:
        layer = self.target.layer
        count = self.acceptance.count(layer)
        if isinstance(layer, Labels):
            self.acceptance.note(layer)
        self.count.setText(f"{count} object{'s' * (count != 1)} so far." if layer is not None else "")
        self.train_button.setEnabled(count > 0)
        self.buttons["undo"].setEnabled(count > 0)

    @showing_errors
    def _open_train(self) -> None:
        scene, layer = self.scene(), self.target.layer
        if scene is None or layer is None:
            raise InputError("There are no objects to train on yet: point at some first.")
        self.switch(False)
        dock, docked = self.viewer.window.add_plugin_dock_widget(PLUGIN, TRAIN)
        dock.show()
        dock.raise_()
        docked.when_built(partial(self._hand_over, scene, layer))

    @showing_errors
    def _hand_over(self, scene: Scene, layer: Labels, train: Any) -> None:
        """Choose the image and the objects in Train, which then asks what 0 means."""
        train.form.values = {"task": "objects"}
        train.pairs.first.choose(scene.layer, scene.axes, layer)

    def _button(self, name: str) -> QPushButton:
        title, text = ACTIONS[name]
        button = QPushButton(title)
        button.setToolTip(tooltip(text))
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the keys stay with the image
        action: Callable[[], None] = getattr(self, name)
        button.clicked.connect(lambda: action())
        return button

    def _lay_out(self) -> None:
        self.point_button.setCheckable(True)
        for widget, text in (
            (self.point_button, POINT_HELP), (self.follows, FOLLOW_HELP), (self.train_button, TRAIN_HELP),
        ):  # fmt: skip
            widget.setToolTip(tooltip(text))
        self.rows.add(self.target.title, self.target.native, self.target.help)
        for field in (self.channel, self.model):
            self.rows.add(field.title, field.native, field.help)
        self.rows.add_wide(self.model.below)
        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        for number, button in enumerate(self.buttons.values()):
            grid.addWidget(button, *divmod(number, COLUMNS))
        grid.addWidget(self.follows, *divmod(len(self.buttons), COLUMNS))
        actions = QWidget()
        actions.setLayout(grid)
        fill_dock(
            self, self.rescue, self.rows, self.point_button, actions, self.text, self.count,
            self.train_button,
        )  # fmt: skip

    def _connect(self) -> None:
        self.pointing.changed.connect(self._show)
        self.pointing.followed.connect(self._on_followed_to)
        self.pointing.settled.connect(self._on_settled)
        self.acceptance.accepted.connect(self._on_accepted)
        for each in (self.pointing, self.acceptance, self.rescue, self.autosave):
            each.failed.connect(self._on_failed)
        self.model.on_failure(self.show_error)
        self.point_button.clicked.connect(self.switch)
        self.train_button.clicked.connect(self._open_train)
        self.follows.toggled.connect(self._on_follows)
        self.inputs.on_change(self._follow_image)
        self.model.on_change(self._on_settings)
        self.channel.on_change(self._on_settings)
        self.target.on_change(self._show_count)
        for event in viewport_events(self.viewer):
            event.connect(self._show)
        self.viewer.layers.selection.events.active.connect(self._on_active)
        if self.overlay is not None:
            self.overlay.left.connect(self.pointing.leave)

    def _on_follows(self, is_on: bool) -> None:
        self.pointing.follows_planes = is_on

    def _on_failed(self, error: BaseException | str) -> None:
        """Show an error; "" says that a layer is saved again."""
        if isinstance(error, BaseException):
            if self.is_on and self.pointing.pointed is None:
                self._end()
            self.show_error(error)
        else:
            self.text.say(error, is_error=bool(error))

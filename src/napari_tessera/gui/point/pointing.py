"""What the user points at, and what the network finds there, in threads: under the mouse, at clicks, and in planes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import Progress
from napari_tessera.gui.point.object_in_hand import Mark, Pick, Pointed, Seen
from napari_tessera.gui.point.scene import Place, Plane
from napari_tessera.gui.qt.worker import LatestOnlyWorker, Runner
from napari_tessera.methods._network_checks import loaded

if TYPE_CHECKING:
    from napari_tessera.inference.predictor import Network

DEVICE = "auto"


class Pointing(QObject):
    """One object after the other, each from its first click until it is accepted or dropped.

    Signals arrive in the thread of the window: `changed` when there is something else to show, `followed` with the
    place that following has come to, `settled` when an object is found to its end, and `failed` with an error.

    Attributes
    ----------
    pointed : Pointed or None
        The image; None while nothing is pointed at.
    pick : Pick or None
        The clicks on the object; None before the first one.
    planes : dict of Plane to Seen
        The object, in each plane where it was found.
    hovered : (Plane, Seen) or None
        What a click would give.
    usual_px : float or None
        Diameter of the object that was accepted last.
    """

    changed = Signal()
    followed = Signal(str)
    settled = Signal()
    failed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.pointed: Pointed | None = None
        self.pick: Pick | None = None
        self.planes: dict[Plane, Seen] = {}
        self.hovered: tuple[Plane, Seen] | None = None
        self.usual_px: float | None = None
        self.follows_planes = False
        self.is_looking = False
        self._network: Network | None = None
        self._hover: Pick | None = None
        self._kept: dict[Plane, Seen] = {}
        self._follows_next = self._is_in_planes = False
        self.loader, self.looker, self.follower = LatestOnlyWorker(), LatestOnlyWorker(), Runner()
        self.loader.ready.connect(self._on_loaded)
        self.looker.ready.connect(self._on_seen)
        self.follower.progressed.connect(self._on_progress)
        for end in (self.follower.returned, self.follower.cancelled):
            end.connect(self._on_followed)
        for worker in (self.loader, self.looker, self.follower):
            worker.failed.connect(self._on_failed)

    @property
    def is_loading(self) -> bool:
        """Whether the model is not loaded yet."""
        return self.pointed is not None and self._network is None

    @property
    def is_following(self) -> bool:
        """Whether the object is being followed through planes."""
        return self._follows_next or (self._is_in_planes and not self.follower.is_cancelled)

    @property
    def is_busy(self) -> bool:
        """Whether the object is not found to its end."""
        return self.is_looking or self._follows_next or self._is_in_planes

    @property
    def area_px(self) -> int:
        """Pixels of the object in all planes."""
        return sum(each.area_px for each in self.planes.values())

    def begin(self, pointed: Pointed) -> None:
        """Point at an image, and load the network."""
        self.end()
        self.pointed = pointed
        self.loader.ask(pointed, loaded(pointed.entry, DEVICE))

    def end(self) -> None:
        """Point at nothing any more."""
        self.drop()
        self.leave()
        self.pointed, self._network = None, None
        self.loader.stop()
        self.looker.stop()

    def hover(self, plane: Plane, place: Place) -> None:
        """Look at what a click here would give, unless there is an object already."""
        hover = Pick(plane, (Mark("positive", place),))
        if self.pick is None and hover != self._hover:
            self._hover = hover
            self._look(hover)

    def leave(self) -> None:
        """Show nothing under the mouse, which left the image."""
        if self._hover is not None:
            self._hover, self.hovered = None, None
            self.changed.emit()

    def mark(self, plane: Plane, mark: Mark) -> None:
        """Add a click or a box; raise InputError if it belongs to no object."""
        pick = self.pick or Pick(plane)
        if pick.plane != plane:
            raise InputError(
                "The object that is not accepted yet lies in another plane: accept it (Enter) or drop it (Esc) first."
            )
        if mark.kind == "negative" and not pick.is_enough:
            raise InputError("There is nothing to take away from yet: click on the object first.")
        if self.pick is None and self.hovered is not None and self.hovered[0] == plane:
            self.planes = dict([self.hovered])  # until it is found, what was shown under the mouse
        self._find(pick.marked(mark))

    def take_back(self) -> None:
        """Take the last click or box back."""
        if self.pick is None:
            return
        shorter = self.pick.without_last()
        if shorter.is_enough:
            self._find(shorter)
        else:
            self.drop()

    def drop(self) -> None:
        """Forget the object."""
        self._stop_following()
        if self.pick is not None:
            self.looker.stop()
            self.pick, self.planes, self.hovered, self._hover = None, {}, None, None
            self.is_looking = False
            self.changed.emit()

    def follow(self) -> None:
        """Follow the object through the planes on both sides; raise InputError if there is none."""
        if self.pointed is None or self.pointed.scene.followed_axis is None:
            raise InputError("The image has one plane only: there is nothing to follow the object through.")
        if self.pick is None or (not self.is_looking and not self.area_px):
            raise InputError("There is no object to follow yet: click on one first.")
        self._follows_next = True
        self._follow_if_wanted()

    def stop_following(self) -> None:
        """End following; the planes found so far stay."""
        self._follows_next = False
        self.follower.cancel()

    def close(self, seconds: float) -> None:
        """Stop all threads."""
        self.end()
        for worker in (self.loader, self.looker, self.follower):
            worker.wait(seconds / 3)

    def _find(self, pick: Pick) -> None:
        self._stop_following()
        self.planes = {plane: each for plane, each in self.planes.items() if plane == pick.plane}
        self.pick, self.is_looking = pick, True
        self._hover, self.hovered = None, None
        self._follows_next = self.follows_planes
        self._look(pick)
        self.changed.emit()

    def _look(self, pick: Pick) -> None:
        if self.pointed is not None and self._network is not None:
            self.looker.ask(pick, self.pointed.looking(self._network, pick, self.usual_px))

    def _on_loaded(self, about: Pointed, network: Any) -> None:
        if about is self.pointed:
            self._network = network
            pick = self.pick or self._hover
            if pick is not None:
                self._look(pick)
            self.changed.emit()

    def _on_seen(self, about: Pick, seen: Seen) -> None:
        if about is self.pick:
            self.planes, self.is_looking = {about.plane: seen}, False
            self._follows_next = self._follows_next and seen.area_px > 0
            self._follow_if_wanted()
        elif about is self._hover:
            self.hovered = about.plane, seen
        else:
            return
        self.changed.emit()
        self._tell_settled()

    def _stop_following(self) -> None:
        self.stop_following()
        self._kept = {}

    def _follow_if_wanted(self) -> None:
        """Begin to follow, as soon as the object is found and the last following has ended."""
        if not self._follows_next or self.is_looking or self.follower.is_running:
            return
        pointed, network, pick = self.pointed, self._network, self.pick
        self._follows_next = False
        if pointed is not None and network is not None and pick is not None and pointed.scene.followed_axis is not None:
            self._kept, self._is_in_planes = {}, True
            self.follower.start(pointed.following(network, self.planes[pick.plane], pick.plane, self._kept))

    def _on_progress(self, step: Progress) -> None:
        if self.is_following and step.text:
            self._take_followed()
            self.followed.emit(step.text)

    def _on_followed(self, _: Any = None) -> None:
        self._is_in_planes = False
        self._take_followed()
        self._follow_if_wanted()
        self._tell_settled()

    def _take_followed(self) -> None:
        self.planes = self.planes | dict(self._kept)
        self.changed.emit()

    def _tell_settled(self) -> None:
        if self.pick is not None and not self.is_busy:
            self.settled.emit()

    def _on_failed(self, error: BaseException) -> None:
        self.is_looking = self._follows_next = False
        self._is_in_planes = self.follower.is_running
        if self._network is None:
            self.end()
        self.failed.emit(error)

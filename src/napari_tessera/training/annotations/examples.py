"""Split annotations into training and validation examples, and collect them into a dataset."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from napari_tessera.core.checks import canonical_dtype
from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import Job, Progress, subtask
from napari_tessera.core.result import describe_array
from napari_tessera.inference.normalization import Kind, Levels
from napari_tessera.training.annotations.annotation import (
    AnnotatedImage,
    AnnotationSampling,
    AnnotationWindow,
    Place,
    Where,
    Window,
    check_painted,
    checked_paint,
    clipped,
    counted,
    grown,
    inside,
    numbers_of,
    object_windows,
    read_paint,
    read_window,
    shifted,
    sizes_of,
    smallest_window,
    usual_diameters,
)
from napari_tessera.training.data.advice import advice_on_images, advice_on_paint, why_not_validated
from napari_tessera.training.data.dataset import Dataset, doubts, with_one_polarity
from napari_tessera.training.data.example import (
    BACKGROUND,
    NOT_PAINTED,
    PLACES_PER_CLASS,
    Example,
    Frame,
    centres,
    has_few_strokes,
    kind_of_images,
    left_out_note,
    packed_labels,
    some_notes,
)
from napari_tessera.training.data.patches import Sampling
from napari_tessera.training.data.sources import TRAIN, VALIDATION
from napari_tessera.training.pretrained import Pretrained
from napari_tessera.training.resolve import diameter_for, patch_for, step_px, widths_for
from napari_tessera.training.settings import Training, words

PATCHES_AROUND = 0.75
"""Margin around annotation in sides of a patch: enough for a rotated patch whose edge is at the annotation."""


@dataclass(frozen=True)
class AnnotationSplit:
    """Training and validation examples."""

    learn: list[Example]
    check: list[Example]
    pixels: Mapping[int, int]  # annotated pixels of each number, in all images
    reason: str = ""  # why nothing is held out; empty if something is
    everything: Sequence[Example] = ()  # see `Dataset`
    notes: Sequence[str] = ()


def painted_examples(paintings: Sequence[AnnotatedImage], sampling: AnnotationSampling) -> Job[AnnotationSplit]:
    """Read the windows around annotation, and split it into training and validation.

    An InputError says that nothing is annotated, or a number is invalid.
    """
    paints, numbers = yield from subtask(read_paint(paintings, sampling), 0, 1, 3)
    diameters = usual_diameters(paints, sampling)
    of_learning = [paint for paint in paints if not paintings[paint.where[0]].is_check]
    check_painted(of_learning)
    wanted = 0 if any(painting.is_check for painting in paintings) else sampling.share
    usual = max((each for each in diameters.values() if each), default=None)
    held = hold_out(of_learning, sampling.task, wanted, np.random.default_rng(sampling.seed), usual)
    reader = AnnotationReader(paintings, sampling, numbers, diameters, sizes_of(paints, sampling), held)
    learn = yield from subtask(reader.to_learn(of_learning), 1, 1, 3)
    check = yield from subtask(reader.to_check(paints), 2, 1, 3)
    pixels = dict(counted(paints))
    if reason := why_not_validated(check, sampling.task):
        return AnnotationSplit(learn, [], pixels, reason, notes=list(reader.left_out.values()))
    everything: list[Example] = []
    if held.zones and sampling.task == "classes" and has_few_strokes(learn):
        whole = replace(reader, held=HeldOut("classes"))
        everything = yield from subtask(whole.to_learn(of_learning), 3, 0, 3)
    reason = "" if check else held.reason
    return AnnotationSplit(learn, check, pixels, reason, everything, list(reader.left_out.values()))


@dataclass(frozen=True)
class AnnotationReader:
    """Reads the windows of images around their annotation; each window once."""

    paintings: Sequence[AnnotatedImage]
    sampling: AnnotationSampling
    numbers: Mapping[int, np.ndarray]
    diameters: Mapping[int, float | None]
    sizes: Mapping[Where, np.ndarray]
    held: HeldOut
    levels: dict[Where, Levels] = field(default_factory=dict)
    images: dict[str, np.ndarray] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)  # notes on what is no image, by name of the image

    def to_learn(self, paints: Sequence[AnnotationWindow]) -> Job[list[Example]]:
        """Return the training windows, with the places where patches are sampled."""
        own = [self.held.to_learn(paint) for paint in paints]
        totals = counted([replace(paint, labels=labels) for paint, labels in zip(paints, own, strict=True)])
        examples = []
        for done, (paint, labels) in enumerate(zip(paints, own, strict=True)):
            yield Progress(done, len(paints), "Reading around the annotation")
            if not labels.any():
                continue
            window = grown(paint.window, self.margins(paint))
            whole = self.paint_in(paint, window)
            places = places_of(labels, totals, self.sampling.task) + [
                part.start - outer.start for part, outer in zip(paint.window, window, strict=True)
            ]
            of_classes = np.bincount(labels.ravel(), minlength=len(self.sizes[paint.where]))
            sizes = of_classes if self.sampling.task == "classes" else self.sizes[paint.where]
            examples.append((yield from self.example(paint, window, self.held.to_learn(whole), places, sizes)))
        return examples

    def to_check(self, paints: Sequence[AnnotationWindow]) -> Job[list[Example]]:
        """Return the windows around the held-out annotation."""
        examples = []
        for done, paint in enumerate(paints):
            yield Progress(done, len(paints), "Reading around the held-out annotation")
            is_check = self.paintings[paint.where[0]].is_check
            held = paint.labels if is_check else self.held.to_check(paint)
            around = smallest_window(held)
            if around is None:
                continue
            core = shifted(around, paint.window)
            window = clipped(grown(core, self.margins(paint)), self.shape_of(paint.where))
            labels = np.zeros([part.stop - part.start for part in window], np.int32)
            labels[inside(core, window)] = held[around]
            nowhere = np.empty((0, self.sampling.ndim))
            examples.append((yield from self.example(paint, window, labels, nowhere, self.sizes[paint.where])))
        return examples

    def margins(self, paint: AnnotationWindow) -> tuple[int, ...]:
        """Return the margin around annotation, in pixels along each axis."""
        usual, wanted = self.diameters.get(paint.where[0]), self.sampling.diameter_px
        factor = wanted / usual if usual and wanted else 1.0
        return paint.pixels(PATCHES_AROUND * self.sampling.patch_px / factor)

    def shape_of(self, where: Where) -> tuple[int, ...]:
        """Return the shape of a plane or volume."""
        return tuple(self.paintings[where[0]].paint.shape[len(where[1]) :])

    def paint_in(self, paint: AnnotationWindow, window: Window) -> AnnotationWindow:
        """Read all annotation in a window that may extend beyond the image."""
        painting = self.paintings[paint.where[0]]
        labels = checked_paint(
            read_window(painting.paint, paint.where[1], window, "constant"), painting.name, self.sampling
        )
        labels = painting.without_fill(labels, paint.where[1], window)
        return replace(paint, window=window, labels=packed_labels(labels, self.numbers[paint.where[0]], BACKGROUND + 1))

    def example(
        self, paint: AnnotationWindow, window: Window, labels: np.ndarray, places: np.ndarray, sizes: np.ndarray
    ) -> Job[Example]:
        """Read the image in a window, and combine it with its labels."""
        index, place = paint.where
        painting = self.paintings[index]
        if paint.where not in self.levels:
            self.levels[paint.where] = yield from painting.measure(place, self.sampling.kind)
        key = f"{paint.where} {window}"
        if key not in self.images:
            image, valid = painting.read(place, window)
            if valid is not None:
                self.left_out[painting.name] = left_out_note(painting.name, painting.fill(place), valid)
            if not np.isfinite(image).all():
                raise InputError(f"{painting.name} holds NaN or infinity. Replace them, or leave the image out.")
            self.images[key] = image.astype(canonical_dtype(image.dtype), copy=False)
        return Example(
            self.images[key],
            labels,
            self.levels[paint.where],
            sizes * paint.anisotropy,
            places,
            self.diameters.get(index),
            name=f"{painting.name}{''.join(f' {each}' for each in place)}",
            anisotropy=paint.anisotropy,
            is_window=True,
        )


def places_of(labels: np.ndarray, totals: Counter[int], task: Literal["objects", "classes"]) -> np.ndarray:
    """Choose the places of a window at which patches are sampled: float64 (N, ndim), in its pixels.

    In all windows together, each class has equally many; objects have their centres, and the background as many.
    """
    rng = np.random.default_rng(0)
    found = [centres(labels)] if task == "objects" else []
    objects = sum(number > BACKGROUND for number in totals)
    numbers = [BACKGROUND] if task == "objects" else np.unique(labels[labels > NOT_PAINTED]).tolist()
    for number in numbers:
        at = np.argwhere(labels == number)
        wanted = objects if task == "objects" else PLACES_PER_CLASS
        count = int(np.ceil(wanted * len(at) / max(1, totals[number])))
        found.append(rng.permutation(at)[:count])
    return np.concatenate([each.astype(np.float64) for each in found])


def painted_dataset(
    paintings: Sequence[AnnotatedImage], settings: Training, start: Pretrained | None = None
) -> Job[Dataset]:
    """Read the windows around all annotation, hold a part of it out, and check it.

    An InputError says that images do not go together, or there is nothing to learn.
    """
    kind, n_channels = kind_of_paintings(paintings, start)
    sampling = sampling_for(settings, kind, start)
    found = yield from subtask(painted_examples(paintings, sampling), 0, 0.8, 1)
    frames = [Frame(each.name, each.image, each.labels, TRAIN) for each in found.learn]
    doubted = yield from subtask(doubts(frames, settings), 0.8, 0.1, 1)
    digest = yield from subtask(digest_of(found), 0.9, 0.1, 1)
    advised = advice_on_paint(found.pixels, words(settings.classes), found.learn, sampling.diameter_px, found.reason)
    advised += advice_on_images(found.learn)
    notes = {note: each.name for each in reversed(paintings) for note in each.notes}
    said = [
        *(f"{name}: {note}" for note, name in notes.items()),
        *doubted,
        *some_notes(found.notes),
        *(each.text for each in advised),
    ]
    split = {TRAIN: found.learn, VALIDATION: found.check, "everything": list(found.everything)}
    if settings.task == "classes":
        split = with_one_polarity(split)
    learn, check, everything = split.values()
    return Dataset(learn, check, kind, n_channels, max(found.pixels), digest, said, everything)


def kind_of_paintings(paintings: Sequence[AnnotatedImage], start: Pretrained | None) -> tuple[Kind, int]:
    """Return the kind of these images: that of the start model, if it takes as many channels."""
    kind, count = kind_of_images(paintings)
    if start is not None and start.kind == "channels" and {each.channels for each in paintings} == {start.n_channels}:
        return "channels", start.n_channels
    return kind, count


def sampling_for(settings: Training, kind: Kind, start: Pretrained | None) -> AnnotationSampling:
    """Return how annotations are sampled, from the settings."""
    patch_px = patch_for(settings, step_px(settings.network, widths_for(settings, start)))
    seen_around_px = 2 * Sampling(patch_px).margin[-1]
    return AnnotationSampling(
        settings.task,
        settings.ndim,
        patch_px + seen_around_px,
        diameter_for(settings, start),
        kind,
        settings.validation,
        settings.seed,
        settings.ignore,
    )


def digest_of(found: AnnotationSplit) -> Job[str]:
    """Return the SHA-256 of the training and validation examples."""
    hashing = hashlib.sha256()
    examples: list[tuple[str, Example]] = [
        *(("learn", each) for each in found.learn),
        *(("check", each) for each in found.check),
    ]
    for done, (use, example) in enumerate(examples):
        yield Progress(done, len(examples), f"Measuring {example.name}")
        for array in (example.image, example.labels):
            record = yield from subtask(describe_array(array), done, 0, len(examples))
            hashing.update(repr((use, example.name, example.anisotropy, example.levels, *record.values())).encode())
    return hashing.hexdigest()


SIDE_PX = 64
"""Side of a held-out block of annotation."""
GAP_PX = 8
"""Annotation nearer than this to a held-out block is used for neither training nor validation."""
NEAR_PLANES = 2
"""Planes up to this distance are neighbours: what is held out in one is not used for training in the other."""
FEWEST_BLOCKS, FEWEST_OBJECTS = 4, 5
"""With fewer blocks of a class, or fewer objects, nothing is held out."""
LARGEST_SHARE = 2.5
"""If annotation is in large pieces, up to this many times the wanted share of a class may be held out."""
ONE_CLASS = (
    "The annotation has only one class, so there can be no meaningful score: nothing is held out for validation, and "
    "the last weights are kept. Paint background with 1, and each class with its own number."
)
SUFFICIENT_SHARE = 0.75
"""Share of the wanted amount that is enough."""


@dataclass(frozen=True)
class HeldOut:
    """The held-out part of the annotation."""

    task: Literal["objects", "classes"]
    zones: Mapping[Where, Sequence[Window]] = field(default_factory=dict)  # where annotation is held out
    objects: frozenset[tuple[int, int]] = frozenset()  # held-out objects, as (image, number)
    reason: str = ""  # why nothing is held out, and what to do; empty if something is

    def to_learn(self, paint: AnnotationWindow) -> np.ndarray:
        """Return the labels without the held-out annotation and the annotation near it."""
        if self.task == "objects":
            return np.where(self._of_objects(paint), NOT_PAINTED, paint.labels)
        left = paint.labels.copy()
        gap = paint.pixels(GAP_PX)
        for zone in self._zones_near(paint.where):
            left[_within(grown(zone, gap), paint)] = NOT_PAINTED
        return left

    def to_check(self, paint: AnnotationWindow) -> np.ndarray:
        """Return only the held-out labels."""
        if self.task == "objects":
            return np.where(self._of_objects(paint), paint.labels, NOT_PAINTED)
        held = np.zeros_like(paint.labels)
        for zone in self.zones.get(paint.where, ()):
            window = _within(zone, paint)
            held[window] = paint.labels[window]
        return held

    def _zones_near(self, where: Where) -> Iterator[Window]:
        for (image, place), zones in self.zones.items():
            is_near = all(abs(one - other) <= NEAR_PLANES for one, other in zip(place, where[1], strict=False))
            if image == where[0] and is_near:
                yield from zones

    def _of_objects(self, paint: AnnotationWindow) -> np.ndarray:
        """Mark the held-out objects, and the background around them."""
        held = np.isin(paint.labels, [number for image, number in self.objects if image == paint.where[0]])
        for zone in self._zones_near(paint.where):
            window = _within(zone, paint)
            held[window] |= paint.labels[window] == BACKGROUND
        return held


def _within(window: Window, paint: AnnotationWindow) -> Window:
    return clipped(inside(window, paint.window), paint.labels.shape)


def hold_out(
    paints: Sequence[AnnotationWindow],
    task: Literal["objects", "classes"],
    share: float,
    rng: np.random.Generator,
    diameter_px: float | None = None,
) -> HeldOut:
    """Choose the annotation to hold out for validation: about this share of each class, or of the objects.

    The windows of `paints` do not overlap; `diameter_px` is the usual diameter of an object. With a share of 0 nothing
    is held out, and the reason says so.
    """
    if share == 0:
        return HeldOut(task, reason="As the settings say, nothing is held out for validation: the last weights stay.")
    if task == "objects":
        return _objects_out(paints, share, rng, diameter_px or 0.0)
    if len(numbers_of(paints)) == 1:
        return HeldOut(task, reason=ONE_CLASS)
    held = _classes_out(paints, share, rng)
    lost = numbers_of(paints) - {number for paint in paints for number in np.unique(held.to_learn(paint)).tolist()}
    return HeldOut(task, reason=_too_little(min(lost), 1)) if lost else held


def _classes_out(paints: Sequence[AnnotationWindow], share: float, rng: np.random.Generator) -> HeldOut:
    blocks, counts = blocks_of_paint(paints)
    numbers = np.flatnonzero(counts.sum(0))
    places = np.count_nonzero(counts, axis=0)
    if scarce := [number for number in numbers.tolist() if places[number] < FEWEST_BLOCKS]:
        return HeldOut("classes", reason=_too_little(scarce[0], int(places[scarce[0]])))
    zones: dict[Where, list[Window]] = {}
    for index in np.flatnonzero(chosen_blocks(counts, share, rng)).tolist():
        where, window = blocks[index]
        zones.setdefault(where, []).append(window)
    return HeldOut("classes", zones)


def _too_little(number: int, places: int) -> str:
    name = "The background (1)" if number == BACKGROUND else f"Class {number}"
    times = "one place" if places == 1 else f"{places} places"
    return (
        f"{name} is painted in {times} only, too few for validation: the training is not validated, and the last "
        f"weights are kept. Paint it in {FEWEST_BLOCKS} places or more that are {SIDE_PX} px apart."
    )


Block = tuple[Where, Window]


def blocks_of_paint(paints: Sequence[AnnotationWindow]) -> tuple[list[Block], np.ndarray]:
    """Cut the annotation into blocks, and count the pixels of each number: the blocks, and (blocks, numbers)."""
    highest = max(numbers_of(paints), default=0)
    counts: dict[tuple[Where, Place], np.ndarray] = {}
    sides: dict[tuple[Where, Place], Place] = {}
    for paint in paints:
        side = paint.pixels(SIDE_PX)
        at = np.argwhere(paint.labels != NOT_PAINTED)
        numbers = paint.labels[tuple(at.T)]
        from_origin = at + [part.start - start for part, start in zip(paint.window, paint.origin, strict=True)]
        corners, which = np.unique(from_origin // side * side + paint.origin, axis=0, return_inverse=True)
        both = np.bincount(which.ravel() * (highest + 1) + numbers, minlength=len(corners) * (highest + 1))
        for corner, row in zip(corners.tolist(), both.reshape(len(corners), -1), strict=True):
            block = (paint.where, tuple(corner))
            sides[block] = side
            counts[block] = counts.get(block, 0) + row
    blocks = [(where, _window_from(corner, sides[where, corner])) for where, corner in counts]
    return blocks, np.array(list(counts.values())).reshape(len(blocks), highest + 1)


def _window_from(corner: Place, sides: Place) -> Window:
    return tuple(slice(start, start + side) for start, side in zip(corner, sides, strict=True))


def chosen_blocks(counts: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Choose blocks until they contain about `share` of the pixels of each number, the rarest number first.

    `counts` (blocks, numbers) are the pixels of each number in each block; the result (blocks,) is bool.
    """
    total = counts.sum(0)
    chosen = np.zeros(len(counts), dtype=bool)
    for number in np.argsort(total, kind="stable"):
        for block in rng.permutation(np.flatnonzero(counts[:, number])):
            held = counts[chosen].sum(0)
            if held[number] >= SUFFICIENT_SHARE * share * total[number]:
                break
            chosen[block] |= bool((held + counts[block] <= LARGEST_SHARE * share * total).all())
    return chosen


def _objects_out(
    paints: Sequence[AnnotationWindow], share: float, rng: np.random.Generator, diameter_px: float
) -> HeldOut:
    found = object_windows(paints)
    names = sorted({name for name, _ in found})
    if len(names) < FEWEST_OBJECTS:
        objects = "One object is" if len(names) == 1 else f"{len(names)} objects are"
        return HeldOut(
            "objects",
            reason=f"{objects} painted, too few for validation: the training is not validated, and the last weights "
            f"are kept. Paint {FEWEST_OBJECTS} objects or more.",
        )
    count = max(1, round(share * len(names)))
    held = frozenset(names[index] for index in rng.permutation(len(names))[:count].tolist())
    zones: dict[Where, list[Window]] = {}
    for name, (paint, window) in found:
        if name in held:
            margin = paint.pixels(max(GAP_PX, diameter_px / 2))
            zones.setdefault(paint.where, []).append(grown(window, margin))
    return HeldOut("objects", zones, held)

"""All that is painted, read and measured, as what there is to learn from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from napari_tessera.jobs import Job, Progress, part_of
from napari_tessera.nn.intensity import Kind
from napari_tessera.provenance import described
from napari_tessera.train.advice import advice_on_paint
from napari_tessera.train.dataset import Dataset
from napari_tessera.train.definite import diameter_for, patch_for, step_px, widths_for
from napari_tessera.train.doubts import doubts
from napari_tessera.train.examples import Example
from napari_tessera.train.exposure import advice_on_images
from napari_tessera.train.frames import Frame, kind_of_images
from napari_tessera.train.lists import words
from napari_tessera.train.painted_examples import FromPaint, painted_examples
from napari_tessera.train.painting import Lessons, Painting
from napari_tessera.train.patches import Sampling
from napari_tessera.train.settings import Training
from napari_tessera.train.sources import TRAIN
from napari_tessera.train.start_from import Start


def painted_dataset(paintings: Sequence[Painting], settings: Training, start: Start | None = None) -> Job[Dataset]:
    """Read the windows around all paint, hold some of it back, and look at what was painted.

    Raises
    ------
    InputError
        If images do not go together, or there is nothing to learn, or nothing to learn it from.
    """
    kind, n_channels = kind_of_paintings(paintings, start)
    lessons = lessons_for(settings, kind, start)
    found = yield from part_of(painted_examples(paintings, lessons), 0, 0.8, 1)
    frames = [Frame(each.name, each.image, each.labels, TRAIN) for each in found.learn]
    doubted = yield from part_of(doubts(frames, settings), 0.8, 0.1, 1)
    digest = yield from part_of(digest_of(found), 0.9, 0.1, 1)
    advised = advice_on_paint(found.pixels, words(settings.classes), found.learn, lessons.diameter_px, found.reason)
    advised += advice_on_images(found.learn)
    said = [*doubted, *(each.text for each in advised)]
    return Dataset(found.learn, found.check, kind, n_channels, max(found.pixels), digest, said, found.everything)


def kind_of_paintings(paintings: Sequence[Painting], start: Start | None) -> tuple[Kind, int]:
    """Say what kind of images these are; that of the model to start from, where it takes as many channels."""
    kind, count = kind_of_images(paintings)
    if start is not None and start.kind == "channels" and {each.channels for each in paintings} == {start.n_channels}:
        return "channels", start.n_channels
    return kind, count


def lessons_for(settings: Training, kind: Kind, start: Start | None) -> Lessons:
    """Say what to look for in paint, as the settings have it."""
    patch_px = patch_for(settings, step_px(settings.network, widths_for(settings, start)))
    seen_around_px = 2 * Sampling(patch_px).margin[-1]
    return Lessons(
        settings.task,
        settings.ndim,
        patch_px + seen_around_px,
        diameter_for(settings, start),
        kind,
        settings.validation,
        settings.seed,
        settings.ignore,
    )


def digest_of(found: FromPaint) -> Job[str]:
    """Return the SHA-256 over what is learnt and what is held back."""
    hashing = hashlib.sha256()
    examples: list[tuple[str, Example]] = [
        *(("learn", each) for each in found.learn),
        *(("check", each) for each in found.check),
    ]
    for done, (use, example) in enumerate(examples):
        yield Progress(done, len(examples), f"Measuring {example.name}")
        for array in (example.image, example.labels):
            record = yield from part_of(described(array), done, 0, len(examples))
            hashing.update(repr((use, example.name, example.anisotropy, example.levels, *record.values())).encode())
    return hashing.hexdigest()

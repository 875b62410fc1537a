"""Rehearsal: train on patches of a model's earlier data too, so that the model does not forget them.

The learning rate depends on the loss on the new annotation relative to the earlier data.

References
----------
Robins 1995, "Catastrophic forgetting, rehearsal and pseudorehearsal", doi:10.1080/09540099550039318.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_tessera.core.jobs import Job, Progress
from napari_tessera.inference.normalization import Levels
from napari_tessera.training.config import RATE_FOR_KNOWN, RATE_FOR_NEW, Schedule
from napari_tessera.training.data.example import Example, centres
from napari_tessera.training.data.sources import TRAIN
from napari_tessera.training.loop import Batch, Draw, LossParts, keep_statistics
from napari_tessera.training.pretrained import Pretrained

SHIPPED_EXAMPLES = Path(__file__).with_name("rehearsal_examples.npz")
"""Training images of the shipped models, with their objects; written by `docs/models/make_rehearsal.py`."""
KNOWN = "rehearsal"
"""Name of the part of the loss on the earlier data."""
INTENSITY_CHANGES = 0.3
"""As in the training settings of the shipped models."""


def known_kinds(start: Pretrained) -> tuple[str, ...]:
    """Return the kinds of shipped examples that a model learnt: it was trained on such images, or rehearsed them."""
    if start.kind != "colours" or start.header["task"] != "objects":
        return ()
    record = start.header.get("training", {})
    learnt = set((record.get("images") or {}).get(TRAIN, ()))
    rehearsed = (record.get("settings") or {}).get("rehearsed", ())
    with np.load(SHIPPED_EXAMPLES, allow_pickle=False) as stored:
        kinds = zip(stored["names"].tolist(), stored["groups"].tolist(), strict=True)
        return tuple(dict.fromkeys(kind for name, kind in kinds if name in learnt or kind in rehearsed))


def parts_of_batch(batch: int, share: float) -> tuple[int, int]:
    """Return the numbers of new and of rehearsal patches in a batch, each at least 1."""
    rehearsed = min(max(1, round(batch * share)), max(1, batch - 1))
    return max(1, batch - rehearsed), rehearsed


def with_rehearsal(draw: Draw, rehearse: Draw, loss_parts: LossParts, share: float) -> tuple[Draw, LossParts]:
    """Draw new and rehearsal patches together, and weight their losses by their shares.

    The two losses are computed separately: the new patches may have few annotated pixels, the earlier ones are fully
    labelled.
    """

    def both(rng: np.random.Generator) -> tuple[Batch, Batch]:
        return draw(rng), rehearse(rng)

    def parts(net: nn.Module, batches: tuple[Batch, Batch]) -> dict[str, Tensor]:
        new, known = (loss_parts(net, batch) for batch in batches)
        weighted = {name: (1 - share) * value for name, value in new.items()}
        return weighted | {KNOWN: share * sum(known.values(), start=next(iter(known.values())).new_zeros(()))}

    return both, parts


@cache
def shipped_examples(kinds: tuple[str, ...]) -> Sequence[Example]:
    """Read the training images of the shipped models that are of these kinds."""
    return [example for example in read_examples(SHIPPED_EXAMPLES) if example.group in kinds]


def write_examples(path: Path, examples: Sequence[tuple[Example, tuple[slice, ...]]]) -> None:
    """Write windows of images with their objects, and the measurements of the whole images."""
    arrays: dict[str, Any] = {
        "names": [example.name for example, _ in examples],
        "groups": [example.group for example, _ in examples],
    }
    for index, (example, window) in enumerate(examples):
        levels = example.levels
        arrays |= {
            f"image_{index}": example.image[window],
            f"labels_{index}": example.labels[window].astype(np.uint16),
            f"sizes_{index}": example.sizes,
            f"measured_{index}": [levels.low, levels.high, levels.inverted, example.diameter_px or 0],
        }
    np.savez_compressed(path, **arrays)


def read_examples(path: Path) -> list[Example]:
    """Read what `write_examples` wrote; nothing in the file is executed."""
    with np.load(path, allow_pickle=False) as stored:
        known = zip(stored["names"].tolist(), stored["groups"].tolist(), strict=True)
        return [_example(stored, index, name, group) for index, (name, group) in enumerate(known)]


def _example(stored: Any, index: int, name: str, group: str) -> Example:
    labels = stored[f"labels_{index}"].astype(np.int32)
    low, high, inverted, diameter_px = (float(value) for value in stored[f"measured_{index}"])
    return Example(
        stored[f"image_{index}"],
        labels,
        Levels(low, high, bool(inverted)),
        stored[f"sizes_{index}"],
        centres(labels),
        diameter_px or None,
        group,
        name,
    )


BATCHES = 12
KNOWN_UP_TO, NEW_FROM = 2.0, 4.0
"""Ratios of the loss on the annotation to that on the earlier data, for the lowest and the full learning rate.

Two images with ten painted objects each, `nuclei-unet`: fluorescence nuclei 1.0, stained ones 2.6; of kinds that it did
not know: bacteria 3.1, chloroplasts 3.3, large textured nuclei 3.9, yeast 5.3 and 7.4, cells in phase contrast 5.7. A
model that knows hard kinds has a higher loss on the earlier data, so that its ratios are lower. The losses of a Mask
R-CNN differ less (2.3 and 2.7), so it always has the low rate.
"""


def share_of_rate_for(
    net: nn.Module, draw: Draw, loss_parts: LossParts, schedule: Schedule, share: float
) -> Job[float]:
    """Return the share of the default learning rate, by the network's loss on the new annotation before the first step.

    `draw` and `loss_parts` are those of `with_rehearsal`; `share` is that of the rehearsal patches.
    """
    net.train()
    keep_statistics(net)
    new = known = 0.0
    for index in range(BATCHES):
        yield Progress(0, schedule.steps, "Testing the model on the annotation")
        batch = draw(np.random.default_rng([schedule.seed, index]))
        device = next(net.parameters()).device.type
        with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=schedule.mixed):
            parts = loss_parts(net, batch)
        known += float(parts.pop(KNOWN)) / share
        new += sum(float(part) for part in parts.values()) / (1 - share)
    return rate_by_ratio(new / max(known, 1e-6))


def rate_by_ratio(ratio: float) -> float:
    """Return the share of the default learning rate: the less the model knows the annotated objects, the higher.

    Examples
    --------
    >>> [round(rate_by_ratio(ratio), 2) for ratio in (1, 2, 3, 4, 9)]
    [0.05, 0.05, 0.29, 1.0, 1.0]
    """
    ratios, shares = np.log([KNOWN_UP_TO, NEW_FROM]), np.log([RATE_FOR_KNOWN, RATE_FOR_NEW])
    return float(np.exp(np.interp(np.log(max(ratio, 1e-6)), ratios, shares)))

"""How new what is painted is to the model that learns it: a new kind is learnt at once, a known one with care."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from napari_tessera.jobs import Job, Progress
from napari_tessera.train.loop import Draw, LossParts, keep_statistics
from napari_tessera.train.rehearsal import KNOWN
from napari_tessera.train.schedule import RATE_FOR_KNOWN, RATE_FOR_NEW, Schedule

BATCHES = 12
NEW_FROM = 5.0
"""Loss on what is painted, over that on what is rehearsed, from which the paint is of a new kind.

Of stained nuclei, painted on two pairs of images that are found badly, a U-Net had 3.1 and 3.8; of cells in electron
microscopy 7.1. The losses of a Mask R-CNN differ less (2.3 and 2.7), so that it learns all with care.
"""


def share_of_rate_for(
    net: nn.Module, draw: Draw, loss_parts: LossParts, schedule: Schedule, share: float
) -> Job[float]:
    """Return at which share of the usual rate to learn, by how well the network already does.

    Parameters
    ----------
    net : UNet or MaskRCNN
        As it is before the first step.
    draw, loss_parts
        With rehearsal; see `rehearsal.with_rehearsal`.
    schedule : Schedule
    share : float
        Of what is rehearsed.
    """
    net.train()
    keep_statistics(net)
    new = known = 0.0
    for index in range(BATCHES):
        yield Progress(0, schedule.steps, "Looking at what is painted")
        batch = draw(np.random.default_rng([schedule.seed, index]))
        device = next(net.parameters()).device.type
        with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=schedule.mixed):
            parts = loss_parts(net, batch)
        known += float(parts.pop(KNOWN)) / share
        new += sum(float(part) for part in parts.values()) / (1 - share)
    return RATE_FOR_NEW if new > NEW_FROM * known else RATE_FOR_KNOWN

"""One-to-one matches between true and predicted objects, and the label image of the errors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy

from napari_tessera.core.jobs import Job, Progress, subtask
from napari_tessera.core.labels import LabelMapping, chunks, label_dtype, renumbering, run_starts
from napari_tessera.core.overlaps import Overlaps, checked_pair, find_overlaps
from napari_tessera.core.spec import Table


def match(overlaps: Overlaps, iou: float) -> np.ndarray:
    """Choose pairs of at least `iou` (above 0) so that no object is in two of them; return their positions, ascending.

    The choice is optimal: as many pairs as possible and, among those choices, the largest sum of IoU. Above an IoU of
    0.5 there is nothing to choose, because an object then has one partner at most.
    """
    candidates = np.flatnonzero(overlaps.iou >= iou)
    rows, columns = overlaps.rows[candidates], overlaps.columns[candidates]
    has_one_choice = (np.bincount(rows)[rows] == 1) & (np.bincount(columns)[columns] == 1)
    certain, disputed = candidates[has_one_choice], candidates[~has_one_choice]
    chosen = _assign(overlaps.rows[disputed], overlaps.columns[disputed], overlaps.iou[disputed])
    return np.sort(np.concatenate([certain, disputed[chosen]]))


def _assign(rows: np.ndarray, columns: np.ndarray, iou: np.ndarray) -> np.ndarray:
    """Solve the assignment problem on the listed pairs only; return the positions of the pairs chosen."""
    if not len(rows):
        return np.empty(0, np.intp)
    row_ids, rows = np.unique(rows, return_inverse=True)
    column_ids, columns = np.unique(columns, return_inverse=True)
    count, first_spare = len(row_ids), len(column_ids)
    # Each row also has its own spare column, so that it may stay without a partner. A pair outweighs the IoU
    # of all others together, so that no pair is given up for a better fit elsewhere.
    values = np.concatenate([count + 1 + iou, np.ones(count)])
    all_rows = np.concatenate([rows, np.arange(count)])
    all_columns = np.concatenate([columns, first_spare + np.arange(count)])
    weights = scipy.sparse.csr_array((values, (all_rows, all_columns)), (count, first_spare + count))
    _, partners = scipy.sparse.csgraph.min_weight_full_bipartite_matching(weights, maximize=True)
    return np.flatnonzero(partners[rows] == columns)


def finding_errors(truth: np.ndarray, prediction: np.ndarray, iou: float = 0.5) -> Job[tuple[np.ndarray, Table]]:
    """Label every object that was found, missed, invented, split or merged; see the method `compare`."""
    truth, prediction = checked_pair(truth, prediction)
    overlaps = yield from subtask(find_overlaps(truth, prediction), 0, 1, 4)
    yield Progress(1, 4, "Matching objects")
    groups = group_objects(overlaps, match(overlaps, iou))
    drawn = yield from subtask(_draw(truth, prediction, overlaps, groups), 1, 1, 4)
    labels, drawn_groups = yield from subtask(renumbering(drawn), 2, 2, 4)
    return labels, _table(overlaps, _with_hidden_counted(overlaps, groups, drawn_groups - 1), drawn_groups - 1)


@dataclass(frozen=True)
class Groups:
    """True and predicted objects grouped to the objects of the error layer.

    An object's position counts the T true objects first and then the P predicted ones. `head` is the object that names
    the group, `of_object` the group of each object, and `pair` the pair in `Overlaps` of the head and its match, or
    else its best partner; -1 without a partner.
    """

    head: np.ndarray
    state: np.ndarray
    of_object: np.ndarray
    pair: np.ndarray


def group_objects(overlaps: Overlaps, matches: np.ndarray) -> Groups:
    """Group matched pairs, the fragments of each split object and the parts of each merged one."""
    true_count = len(overlaps.truth)
    matched_truth = overlaps.rows[matches]
    matched_prediction = true_count + overlaps.columns[matches]
    is_split, is_merged = _holds_several(overlaps)
    owner = _owners(overlaps, is_split, is_merged, matched_truth, matched_prediction)
    is_matched = np.zeros(len(owner), bool)
    is_matched[matched_truth] = is_matched[matched_prediction] = True
    pair = _best_pairs(overlaps)
    pair[matched_truth] = pair[matched_prediction] = matches
    head, of_object = np.unique(owner, return_inverse=True)
    state = np.select(
        [is_merged[head], is_split[head], is_matched[head], head < true_count],
        ["merged", "split", "found", "missed"],
        "invented",
    )
    return Groups(head, state, of_object, pair[head])


def _holds_several(overlaps: Overlaps) -> tuple[np.ndarray, np.ndarray]:
    """Return for each object whether it is a true one that was split, or a predicted one that merges."""
    true_count, predicted_count = len(overlaps.truth), len(overlaps.prediction)
    held_by_truth, held_by_prediction = overlaps.prediction_holders, overlaps.truth_holders
    is_split = np.bincount(held_by_truth[held_by_truth >= 0], minlength=true_count) >= 2
    is_merged = np.bincount(held_by_prediction[held_by_prediction >= 0], minlength=predicted_count) >= 2
    return (
        np.concatenate([is_split, np.zeros(predicted_count, bool)]),
        np.concatenate([np.zeros(true_count, bool), is_merged]),
    )


def _owners(
    overlaps: Overlaps,
    is_split: np.ndarray,
    is_merged: np.ndarray,
    matched_truth: np.ndarray,
    matched_prediction: np.ndarray,
) -> np.ndarray:
    """Return the object with which each object is shown; a merging prediction has priority over a split truth."""
    true_count = len(overlaps.truth)
    owner = np.arange(len(is_split))
    _join(owner, np.arange(true_count), overlaps.truth_holders, is_merged, true_count)
    _join(owner, true_count + np.arange(len(overlaps.prediction)), overlaps.prediction_holders, is_split, 0)
    owner[is_merged] = np.flatnonzero(is_merged)
    prediction_is_free = owner[matched_prediction] == matched_prediction
    joins_truth = prediction_is_free & ~is_merged[matched_prediction]
    owner[matched_prediction[joins_truth]] = matched_truth[joins_truth]
    joins_prediction = is_merged[matched_prediction] & (owner[matched_truth] == matched_truth)
    owner[matched_truth[joins_prediction]] = matched_prediction[joins_prediction]
    # A fragment belongs to a split object, which may itself belong to a merged one.
    return owner[owner]


def _join(owner: np.ndarray, objects: np.ndarray, holders: np.ndarray, is_head: np.ndarray, offset: int) -> None:
    """Assign each of `objects` to its holder, if that is the head of a group."""
    is_held = holders >= 0
    held, heads = objects[is_held], offset + holders[is_held]
    owner[held[is_head[heads]]] = heads[is_head[heads]]


def _best_pairs(overlaps: Overlaps) -> np.ndarray:
    """Return the pair of largest IoU of each object, or -1."""
    true_count = len(overlaps.truth)
    best = np.full(true_count + len(overlaps.prediction), -1, np.intp)
    ascending = np.argsort(overlaps.iou, kind="stable")
    best[overlaps.rows[ascending]] = ascending
    best[true_count + overlaps.columns[ascending]] = ascending
    return best


def _draw(truth: np.ndarray, prediction: np.ndarray, overlaps: Overlaps, groups: Groups) -> Job[np.ndarray]:
    """Draw the number of each group, from 1; where two overlap, that of higher rank."""
    true_count = len(overlaps.truth)
    px = np.concatenate([overlaps.truth_px, overlaps.prediction_px])
    rank = np.where(groups.state[groups.of_object] == "found", 1.0, 1.0 + 1.0 / px)
    true_number, true_rank = _lookups(overlaps.truth, groups.of_object[:true_count], rank[:true_count])
    number, predicted_rank = _lookups(overlaps.prediction, groups.of_object[true_count:], rank[true_count:])
    drawn = np.empty(truth.size, label_dtype(len(px)))
    first, second = truth.reshape(-1), prediction.reshape(-1)
    for part in chunks(truth.size):
        yield Progress(part.start, truth.size, "Drawing")
        starts = run_starts(first[part], second[part])
        here, there = first[part][starts], second[part][starts]
        painted = np.where(true_rank[here] >= predicted_rank[there], true_number[here], number[there])
        drawn[part] = np.repeat(painted, np.diff(starts, append=part.stop - part.start))
    return drawn.reshape(truth.shape)


def _lookups(labels: np.ndarray, group: np.ndarray, rank: np.ndarray) -> tuple[LabelMapping, LabelMapping]:
    """Return label → number of its group and label → rank; both are 0 for the background."""
    with_background = np.append(np.zeros(1, labels.dtype), labels)
    return LabelMapping(with_background, np.append(0, group + 1)), LabelMapping(with_background, np.append(0.0, rank))


def _with_hidden_counted(overlaps: Overlaps, groups: Groups, drawn: np.ndarray) -> Groups:
    """Move completely covered objects into the group drawn over most of them."""
    true_count = len(overlaps.truth)
    is_hidden = np.ones(len(groups.head), bool)
    is_hidden[drawn] = False
    pair = groups.pair[is_hidden]
    is_truth = groups.head[is_hidden] < true_count
    covering = np.where(is_truth, true_count + overlaps.columns[pair], overlaps.rows[pair])
    moved = np.arange(len(groups.head))
    moved[is_hidden] = groups.of_object[covering]
    return replace(groups, of_object=moved[groups.of_object])


def _table(overlaps: Overlaps, groups: Groups, order: np.ndarray) -> Table:
    true_count = len(overlaps.truth)
    head, pair = groups.head[order], groups.pair[order]
    has_pair = pair >= 0
    iou = np.append(overlaps.iou, 0.0)[pair]
    truth = np.append(overlaps.truth[overlaps.rows], 0)[pair]
    prediction = np.append(overlaps.prediction[overlaps.columns], 0)[pair]
    is_truth = head < true_count
    truth[~has_pair & is_truth] = overlaps.truth[head[~has_pair & is_truth]]
    prediction[~has_pair & ~is_truth] = overlaps.prediction[head[~has_pair & ~is_truth] - true_count]
    count = len(groups.head)
    return {
        "label": np.arange(1, len(order) + 1),
        "state": groups.state[order],
        "iou": iou,
        "truth": truth,
        "prediction": prediction,
        "truth_objects": np.bincount(groups.of_object[:true_count], minlength=count)[order],
        "predicted_objects": np.bincount(groups.of_object[true_count:], minlength=count)[order],
    }

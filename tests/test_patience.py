"""Training ends early where validations get no better any more."""

import pytest

from napari_tessera.train.checkpoint import State


def history(*scores):
    entries = [{"step": 10 * (index + 1), "score": score} for index, score in enumerate(scores)]
    return State(None, {}, None, step=10 * len(scores), history=entries, best={} if entries else None)


@pytest.mark.parametrize(
    ("scores", "patience", "is_over"),
    [
        ((0.5, 0.4, 0.4), 2, True),
        ((0.5, 0.4, 0.6), 2, False),
        ((0.5, 0.5, 0.5), 2, True),
        ((0.5, 0.4, 0.4), None, False),
        ((), 1, False),
    ],
)
def test_a_training_is_over_when_its_patience_is(scores, patience, is_over):
    assert history(*scores).has_settled(patience) == is_over

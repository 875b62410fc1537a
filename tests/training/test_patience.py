"""Training ends early where validations get no better any more; of equal validations the last one is kept."""

import math

import pytest
import torch

from napari_tessera.models.weights import read_tensors, write_tensors
from napari_tessera.training.checkpoint import Checkpoint, State


def history(*scores):
    """The state after these validations, one every ten steps; its only weight is the step."""
    net = torch.nn.Linear(1, 1, bias=False)
    state = State(net, {}, torch.optim.AdamW(net.parameters()))
    for score in scores:
        state.step += 10
        state.average = {"weight": torch.full((1, 1), float(state.step))}
        state.judge({"step": state.step, "score": score})
    return state


@pytest.mark.parametrize(
    ("scores", "patience", "is_over"),
    [
        ((0.5, 0.4, 0.4), 2, True),
        ((0.5, 0.4, 0.6), 2, False),
        ((0.5, 0.5, 0.5), 2, True),
        ((0.0, 0.0), 2, False),
        ((0.5, 0.4, 0.4), None, False),
        ((), 1, False),
    ],
)
def test_a_training_is_over_when_its_patience_is(scores, patience, is_over):
    assert history(*scores).has_settled(patience) == is_over


@pytest.mark.parametrize(
    ("scores", "step"),
    [((0.0, 0.0, 0.0), 30), ((0.1, 0.3, 0.3, 0.2), 30), ((0.1, 0.3, 0.2), 20), ((0.0, 0.5, 0.0), 20)],
)
def test_of_equal_validations_the_last_is_kept(scores, step):
    state = history(*scores)
    assert (state.best_step, state.kept["weight"].item()) == (step, step)


def loaded(path):
    state = history()
    Checkpoint(path).load(state)
    return state


def test_a_checkpoint_remembers_which_validation_is_kept_and_since_when_none_was_better(tmp_path):
    Checkpoint(tmp_path / "a").save(history(0.0, 0.5, 0.5, 0.1))
    state = loaded(tmp_path / "a")
    assert (state.best_step, state.kept["weight"].item()) == (30, 30)
    assert state.has_settled(2)
    assert not state.has_settled(3)


def test_a_loss_that_is_no_number_stays_so_in_a_checkpoint(tmp_path):
    state = history(0.0, 0.5)
    state.losses.append({"step": 20, "loss": float("nan")})
    Checkpoint(tmp_path / "a").save(state)
    (loss,) = loaded(tmp_path / "a").losses
    assert loss["step"] == 20
    assert math.isnan(loss["loss"])


def test_a_checkpoint_from_before_kept_the_first_of_equal_validations(tmp_path):
    Checkpoint(tmp_path / "a").save(history(0.1, 0.5, 0.5))
    tensors, told = read_tensors(tmp_path / "a")
    del told["best_at"], told["better_at"]
    write_tensors(tmp_path / "a", tensors, told)
    assert loaded(tmp_path / "a").best_step == 20


def test_scores_that_are_put_right_in_the_end_do_not_move_what_is_kept():
    state = history(0.5, 0.8, 0.79)
    state.scores.update(score=0.7)
    assert state.best_step == 20

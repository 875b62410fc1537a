"""How long a training is: in epochs, and in what fits into a time."""

import pytest

from napari_tessera.core.errors import ParameterError
from napari_tessera.core.jobs import Progress, run_job
from napari_tessera.training import resolve as budget
from napari_tessera.training import session
from napari_tessera.training.config import TrainingConfig
from napari_tessera.training.data.dataset import Dataset
from napari_tessera.training.resolve import fit_to_time, patches_to_cover, steps_in, with_steps_in
from napari_tessera.training.settings import checked_settings
from tests.training.test_tasks import scene

PLAN = TrainingConfig(task="classes", diameter_px=None, patch_px=24, batch=3, validations=10)


def data(n_check=0):
    return Dataset([scene()], [scene()] * n_check, "colours", 3, 2, "")


def test_patches_side_by_side_cover_what_is_labelled():
    assert patches_to_cover(scene(), PLAN) == 4


def test_an_epoch_sees_all_that_is_labelled_once():
    assert steps_in(3, [scene()], PLAN) == 4


def test_small_objects_fill_fewer_patches_than_at_their_own_scale():
    larger = TrainingConfig(diameter_px=4 * scene().diameter_px, patch_px=24, batch=3)
    assert patches_to_cover(scene(), larger) == 64


def test_time_goes_into_steps_where_nothing_is_validated():
    assert fit_to_time(100, 0.1, PLAN, data()).steps == 850


def test_validations_take_a_tenth_of_the_time_at_most():
    fitting = fit_to_time(20, 1.0, PLAN, data(n_check=1))
    assert (fitting.validations, fitting.steps) == (3, 15)


def test_short_validations_are_made_as_often_as_planned():
    assert fit_to_time(10_000, 1.0, PLAN, data(n_check=1)).validations == 10


def test_what_is_looked_at_before_the_first_step_says_nothing_of_how_long_a_step_takes(monkeypatch, tmp_path):
    clock = [0.0]

    def learn(*_, **__):
        for look in range(12):
            clock[0] += 0.01
            yield Progress(look, 12, "Testing the model on the annotation")
        for step in range(100):
            clock[0] += 1.0
            yield Progress(step, 100, "", {"step": step, "loss": 1.0})

    monkeypatch.setattr(budget, "learn", learn)
    monkeypatch.setattr(budget.time, "perf_counter", lambda: clock[0])
    told: list[Progress] = []
    assert run_job(with_steps_in(10, PLAN, data(), "cpu", tmp_path / "none"), told.append).steps == 510
    assert not any(each.data for each in told)  # the steps of the trial are none of the training


@pytest.mark.parametrize(
    "lengths", [{"epochs": 3, "minutes": 1}, {"steps": 2, "minutes": 1}, {"steps": 2, "epochs": 3}]
)
def test_two_lengths_at_once_are_refused(lengths):
    with pytest.raises(ParameterError, match="Give one of them"):
        checked_settings(lengths)


def test_a_length_left_to_its_default_is_not_given():
    assert checked_settings({"steps": 2, "minutes": None}).steps == 2
    assert checked_settings({"minutes": 1}).minutes == 1


def test_minutes_are_over_when_they_have_passed(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(session.time, "monotonic", lambda: clock[0])
    is_over, never = session.over_after(2), session.over_after(None)
    clock[0] = 119
    assert not is_over()
    clock[0] = 121
    assert is_over()
    assert not never()

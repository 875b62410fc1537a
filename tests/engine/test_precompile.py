"""What a first run needs is compiled once, in a process of its own."""

import os
import subprocess
import sys

import pytest

from napari_tessera.engine import precompile as compiled
from napari_tessera.engine import precompile as practice
from napari_tessera.methods.registry import method_named

COMPARE = method_named("compare")


@pytest.fixture
def notes(tmp_path, monkeypatch):
    """An empty folder of notes, as after installing."""
    folder = tmp_path / "compiled"
    monkeypatch.setattr(compiled, "notes_folder", lambda: folder)
    monkeypatch.setattr(compiled, "_asked", set())
    # How the child is waited for does not depend on what it does.
    monkeypatch.setattr(compiled, "PRACTICE", "this")
    return folder


def ask():
    return list(compiled.precompile(COMPARE, "int32", "YX", {}))


def test_the_first_time_it_is_said_what_is_waited_for(notes):
    assert {step.text for step in ask()} == {"Preparing, once after installing or updating"}


def test_the_second_time_there_is_nothing_to_wait_for(notes):
    ask()
    assert ask() == []


def test_another_process_need_not_wait_again(notes, monkeypatch):
    ask()
    monkeypatch.setattr(compiled, "_asked", set())
    assert ask() == []


def test_changed_code_is_compiled_anew(notes, monkeypatch):
    ask()
    monkeypatch.setattr(compiled, "cache_key", lambda: "changed")
    assert ask()


def test_where_compiled_code_is_kept_elsewhere_it_is_compiled_anew(monkeypatch):
    before = compiled.cache_key()
    monkeypatch.setenv("NUMBA_CACHE_DIR", "elsewhere")
    assert compiled.cache_key() != before


def test_cancel_ends_the_wait_and_leaves_no_note(notes):
    job = compiled.precompile(COMPARE, "int32", "YX", {})
    next(job)
    job.close()
    assert not notes.exists()


def test_what_was_cancelled_is_compiled_the_next_time(notes):
    job = compiled.precompile(COMPARE, "int32", "YX", {})
    next(job)
    job.close()
    assert ask()


def test_without_a_python_to_start_nothing_is_waited_for(notes, tmp_path, monkeypatch):
    (tmp_path / "napari").touch()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "napari"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert ask() == []


def test_python_that_cannot_be_started_is_not_waited_for(notes, tmp_path, monkeypatch):
    (tmp_path / "python").touch()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert ask() == []


def test_application_that_bundles_python_is_never_started_as_a_child(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    for path in (tmp_path / "napari", tmp_path / "bin" / "python"):
        path.touch()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "napari"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert compiled.interpreter() == tmp_path / "bin" / "python"


def test_folder_that_cannot_be_written_is_no_failure(notes):
    notes.write_text("a file where a folder should be")
    assert ask()


def test_the_child_compiles_the_passes_of_the_method(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-P", "-m", compiled.PRACTICE, "refine", "int32", "YX", "{}"]
    subprocess.run(command, check=True, env=environment)
    assert list(tmp_path.rglob("*.nbc"))


def test_a_method_is_practised_in_all_its_ways():
    refine = method_named("refine")
    switches = sum(2 if parameter.kind is bool else len(parameter.choices) for parameter in refine.parameters)
    unchanged = sum(bool(parameter.choices) or parameter.kind is bool for parameter in refine.parameters)
    assert len(list(practice.parameter_variants(refine, {}))) == 1 + switches - unchanged


@pytest.mark.parametrize("axes", ["YX", "ZYX"])
@pytest.mark.parametrize("name", ["threshold", "compare"])
def test_practice_finds_the_two_objects(name, axes):
    assert practice.warm_up(method_named(name), "uint16", axes, {}).labels.max() in (1, 2)

"""Settings of a training, as they are given and as they are checked."""

from __future__ import annotations

import inspect

import pytest

import napari_tessera as tessera
from napari_tessera.core.errors import ParameterError
from napari_tessera.training.settings import checked_settings


@pytest.mark.parametrize(
    ("name", "given", "text"),
    [
        ("classes", ["left", "right"], "left,right"),
        ("widths", (4, 8), "4,8"),
        ("class_weights", [1, 5.5], "1,5.5"),
        ("balance", ("modality", "height"), "modality,height"),
    ],
)
def test_a_list_is_taken_as_the_text_with_commas(name, given, text):
    assert checked_settings({name: given}) == checked_settings({name: text})


@pytest.mark.parametrize("given", [["left, right"], [None], [["left"]]])
def test_a_list_of_what_is_no_single_text_is_refused(given):
    with pytest.raises(ParameterError, match=r"`classes` is .* a list of texts or numbers without commas"):
        checked_settings({"classes": given})


@pytest.mark.parametrize("function", [tessera.train, tessera.fine_tune])
def test_the_settings_are_keywords_of_the_function(function):
    shown = inspect.signature(function).parameters
    assert (shown["loss"].default, shown["steps"].default, shown["widths"].kind.name) == (
        "combined", 2000, "KEYWORD_ONLY",
    )  # fmt: skip
    assert "settings" not in shown

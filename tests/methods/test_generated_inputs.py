"""Generated inputs, good and bad: a right answer or a kind error, never a crash, never a changed input."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import napari_tessera as tessera
from napari_tessera.core.errors import TesseraError
from napari_tessera.methods.registry import METHODS
from tests.helpers.generated_inputs import cases, check_labels

CASES_PER_METHOD = 100


def frozen(values: Any) -> Any:
    return values.tobytes() if isinstance(values, np.ndarray) else values


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_any_input_gives_labels_or_a_kind_error(method):
    @settings(max_examples=CASES_PER_METHOD, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(cases(method))
    def check(case: tuple[np.ndarray, dict[str, Any]]) -> None:
        main, options = case
        before = frozen(main), {name: frozen(values) for name, values in options.items()}
        with contextlib.suppress(TesseraError):
            check_labels(tessera.segment(method.name, main, **options), main)
        assert frozen(main) == before[0]
        assert {name: frozen(values) for name, values in options.items()} == before[1]

    check()

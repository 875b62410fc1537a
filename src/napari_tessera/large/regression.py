"""A logistic regression on a few features, their squares and their products, as the header of a model holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

FARTHEST = 4.0
"""Standard deviations beyond which a feature is taken for no farther: there nothing was learnt."""


@dataclass(frozen=True)
class Regression:
    """Says how likely something is, from F features of it.

    Parameters
    ----------
    centre, spread : float64 array (F,)
        Mean and standard deviation of each feature.
    weights : float64 array (1 + F + F (F + 1) / 2,)
        Of a constant, of the features, and of the products of two, the first with itself and all others first.
    """

    centre: np.ndarray
    spread: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, said: Mapping[str, Sequence[float]]) -> Regression:
        """Read it from what the header of a model says."""
        return cls(*(np.array(said[name], np.float64) for name in ("centre", "spread", "weights")))

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Say how likely each of N is, from its features (N, F): (N,)."""
        terms = products(np.clip((features - self.centre) / self.spread, -FARTHEST, FARTHEST))
        return expit(terms @ self.weights[1:] + self.weights[0])


def products(values: np.ndarray) -> np.ndarray:
    """Return values (N, F), followed by all products of two of them: (N, F + F (F + 1) / 2).

    Examples
    --------
    >>> products(np.array([[2.0, 3.0]])).tolist()
    [[2.0, 3.0, 4.0, 6.0, 9.0]]
    """
    first, second = np.triu_indices(values.shape[1])
    return np.concatenate([values, values[:, first] * values[:, second]], axis=1)

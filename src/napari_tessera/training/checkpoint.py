"""Write and read the checkpoint of a training: one file with all that is needed to resume exactly."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from napari_tessera.core.errors import InputError, ModelError, short
from napari_tessera.core.jobs import finish_writing, start_writing
from napari_tessera.core.record_schema import Count, Fields, Number, Text, check_fields
from napari_tessera.core.result import without_nan
from napari_tessera.models.weights import Network, read_tensors, tensors_of, write_tensors

Entry = dict[Text, Number | None]
"""Values by name at a step; null stands for NaN or infinity."""


def _scored(entry: Entry) -> Entry:
    if entry.get("step") is None or "score" not in entry:
        raise ValueError("should have a step and a score")
    return entry


class Identity(Fields):
    """The training settings that are read before the comparison."""

    steps: Annotated[Count, Field(ge=1)] | None = None
    validations: Annotated[Count, Field(ge=1)] | None = None


class CheckpointHeader(Fields):
    """Progress and identity of the training, and the header of its model."""

    step: Count
    best_score: Number | None
    best_at: Count | None = None
    better_at: Count | None = None
    history: list[Annotated[Entry, AfterValidator(_scored)]]
    losses: list[Entry]
    recent: list[Entry]
    seconds: Annotated[Number, Field(ge=0)]
    identity: Identity
    model: dict[Text, Any] = Field(default_factory=dict)


DATA = "data"
"""Key of the digest of images and labels in the identity of a run."""


@dataclass
class State:
    """Everything that changes during training."""

    net: Network
    average: dict[str, Tensor]  # exponential moving average of the weights of `net`; these are scored and kept
    optimiser: torch.optim.Optimizer
    step: int = 0  # steps done
    best_score: float = -math.inf
    best_at: int = 0
    better_at: int = 0  # the first step with the best score
    best: dict[str, Tensor] | None = None
    """`best…`: the averaged weights of the best validation, its score and its step; among equal scores the last one."""
    history: list[dict[str, float]] = field(default_factory=list)  # step and scores of each validation
    losses: list[dict[str, float]] = field(default_factory=list)
    """`losses`, `recent`: the parts of the loss, as means over equal numbers of steps, and since the last mean."""
    recent: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0  # time spent before `began`, when this process started
    began: float = field(default_factory=time.perf_counter)

    @property
    def seconds_in_all(self) -> float:
        """Time spent on the training in all sessions."""
        return self.seconds + time.perf_counter() - self.began

    @property
    def best_step(self) -> int:
        """The step whose weights are kept: that of the best validation, or the last one; see `kept`."""
        return self.step if self.best is None else self.best_at

    def judge(self, report: dict[str, float]) -> None:
        """Record the validation of this step, and keep the averaged weights unless an earlier score was better."""
        self.history.append(report)
        if report["score"] > self.best_score:
            self.better_at = self.step
        if report["score"] >= self.best_score:
            self.best_score, self.best_at = report["score"], self.step
            self.best = {name: value.clone() for name, value in self.average.items()}

    @property
    def scores(self) -> dict[str, float]:
        """Scores, with their step, of the kept weights, or of the last validation before training on all annotation."""
        of_step = max((entry["step"] for entry in self.history if entry["step"] <= self.best_step), default=None)
        return next((entry for entry in self.history if entry["step"] == of_step), {})

    def has_settled(self, patience: int | None) -> bool:
        """Return whether the last `patience` validations were no better than an earlier one; False without patience."""
        since = sum(entry["step"] > self.better_at for entry in self.history)
        return patience is not None and self.best is not None and since >= patience

    @contextmanager
    def averaged(self) -> Iterator[Network]:
        """Give the network its averaged weights for a while, in eval mode."""
        trained = tensors_of(self.net)
        self.net.load_state_dict(self.average)
        try:
            yield self.net.eval()
        finally:
            self.net.load_state_dict(trained)

    @property
    def kept(self) -> dict[str, Tensor]:
        """The kept weights: the best by validation, or the averaged ones if nothing is validated at the end."""
        return self.average if self.best is None else self.best


@dataclass(frozen=True)
class Checkpoint:
    """Where a run is saved, and the identity that distinguishes it from other runs."""

    path: Path
    identity: Mapping[str, Any] = field(default_factory=dict)
    """Plain JSON: settings and data. A run resumes only with the same identity."""
    model: Mapping[str, Any] = field(default_factory=dict)
    """Plain JSON: the header of the model, so that the model can be saved without resuming the run."""

    def save(self, state: State) -> None:
        """Write all that is needed to resume."""
        self.start_saving(state).result()

    def start_saving(self, state: State) -> Future[None]:
        """Start to write all that is needed to resume; a reader finds the old or the complete new file."""
        groups: dict[str, Mapping[str, Tensor]] = {"net": tensors_of(state.net), "average": state.average}
        for index, moments in state.optimiser.state_dict()["state"].items():
            groups[f"optimiser.{index}"] = moments
        if state.best is not None:
            groups["best"] = state.best
        tensors = {f"{group}/{name}": value for group, values in groups.items() for name, value in values.items()}
        header = {
            "step": state.step,
            "best_score": state.best_score if math.isfinite(state.best_score) else None,
            "best_at": state.best_at,
            "better_at": state.better_at,
            "history": state.history,
            "losses": state.losses,
            "recent": state.recent,
            "seconds": state.seconds_in_all,
            "identity": dict(self.identity),
            "model": dict(self.model),
        }
        return start_writing(partial(write_tensors, self.path, tensors, without_nan(header)))

    def load(self, state: State) -> None:
        """Read into `state` what `save` wrote; refuse a damaged file, and one of a run with other settings or data."""
        tensors, header = read_checkpoint(self.path)
        check_identity(self.path, header["identity"], self.identity)
        groups: dict[str, dict[str, Tensor]] = {"net": {}, "average": {}}
        device = next(state.net.parameters()).device
        for key, value in tensors.items():
            group, _, name = key.partition("/")
            groups.setdefault(group, {})[name] = value if group.startswith("optimiser.") else value.to(device)
        try:
            for name in [*({"best"} & groups.keys()), "average", "net"]:  # the last are those that stay
                load_weights(state.net, groups[name], name)
            load_moments(state.optimiser, groups)
        except (LookupError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{self.path} is damaged: {reason:.300}. Add --restart to start again.") from error
        state.average, state.best = groups["average"], groups.get("best")
        state.step, state.seconds = header["step"], header["seconds"]
        state.history, state.losses, state.recent = (
            _with_nan(header[name]) for name in ("history", "losses", "recent")
        )
        state.best_score = -math.inf if header["best_score"] is None else header["best_score"]
        state.best_at, state.better_at = steps_of_best(header)


def _with_nan(entries: Sequence[Mapping[str, float | None]]) -> list[dict[str, float]]:
    """Replace null by NaN."""
    return [{name: math.nan if value is None else value for name, value in entry.items()} for entry in entries]


def steps_of_best(header: Mapping[str, Any]) -> tuple[int, int]:
    """Read `best_at` and `better_at`; earlier versions wrote neither, and kept the first of equal scores."""
    if header.get("best_at") is not None and header.get("better_at") is not None:
        return header["best_at"], header["better_at"]
    first = max(header["history"], key=lambda entry: entry["score"], default={"step": 0})["step"]
    return first, first


def load_weights(net: Network, weights: Mapping[str, Tensor], group: str) -> None:
    """Load weights into a network; a ValueError or RuntimeError says that names or shapes differ."""
    # torch accepts weights without batch counters as those of an earlier version.
    if wrong := sorted(weights.keys() ^ net.state_dict().keys()):
        raise ValueError(f"its weights {group!r} have a missing or unknown entry {short(wrong[0])}")
    net.load_state_dict(weights)


def load_moments(optimiser: torch.optim.Optimizer, groups: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Load the optimiser's moments of each parameter; a ValueError says that one is missing, or has another shape.

    A fused optimiser needs each moment in the same memory layout as its parameter.
    """
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    stored = {index: groups[f"optimiser.{index}"] for index in range(len(parameters)) if f"optimiser.{index}" in groups}
    if len({frozenset(moments) for moments in stored.values()}) > 1:
        raise ValueError("the optimiser has fewer moments for some parameters than for others")
    moments = {
        index: {name: _laid_out(value, parameters[index]) for name, value in moments.items()}
        for index, moments in stored.items()
    }
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})


def _laid_out(moment: Tensor, parameter: Tensor) -> Tensor:
    if moment.ndim == 0:
        return moment
    if moment.shape != parameter.shape:
        raise ValueError(f"a moment has shape {tuple(moment.shape)}, but its parameter {tuple(parameter.shape)}")
    return torch.empty_like(parameter).copy_(moment)


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors and the header; an InputError says that the file is damaged, or not a checkpoint."""
    finish_writing()
    try:
        tensors, header = read_tensors(path)
    except ModelError as error:
        raise InputError(f"{path} cannot be read ({error}). Add --restart to start again.") from error
    if not isinstance(header, dict) or "identity" not in header:
        raise InputError(f"{path} is not a checkpoint of a training. Move it, or add --restart to overwrite it.")
    try:
        check_fields(CheckpointHeader, header)
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}. Add --restart to start again.") from error
    return tensors, header


def check_identity(path: Path, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to resume with other settings or data than at the start, and name each setting that differs."""
    names = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    if not names:
        return
    said = [f"{name} was {short(then.get(name))} and is {short(now.get(name))}" for name in names if name != DATA]
    if DATA in names:
        said.append("the images, labels or their split have changed")
    raise InputError(
        f"{path} is from another training: {'; '.join(said)}. To resume it, give the same settings and data; to "
        "start again, add --restart."
    )

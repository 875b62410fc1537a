"""Tries in processes of their own, which may crash, hang or eat memory."""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection, wait
from pathlib import Path
from random import Random

import psutil

from tests.fuzz.case import Outcome, fault, judged

PREPARING_SECONDS, DEADLINE_SECONDS, MOST_BYTES = 300.0, 20.0, 2 * 2**30
SECONDS_BETWEEN_LOOKS, MOST_CASES = 0.05, 10**6
BUSY, IDLE_SHARE = 15, 0.02
"""On a busy machine what computes may take so many times longer by the clock; what computes less than a share waits."""


@dataclass(frozen=True)
class Case:
    """One case: the name of what is tried, and its number."""

    target: str
    number: int
    seed: int


@dataclass(frozen=True)
class Ended:
    """A case that has ended; `words` say what was called, and `folder` holds its files."""

    case: Case
    outcome: Outcome
    words: str
    folder: Path


def serve(connection: Connection, log: Path, source: str) -> None:
    """Run the cases that are sent, as the module `source` says how; the process's own part."""
    targets = {target.name: target for target in import_module(source).TARGETS}
    with log.open("w", encoding="utf-8") as said:
        faulthandler.enable(said)
        while (sent := _received(connection)) is not None:
            case, folder = sent
            os.chdir(folder)
            rng = Random(f"{case.seed}/{case.target}/{case.number}")
            attempt = targets[case.target].prepare(folder, rng, MOST_CASES * case.seed + case.number)
            faulthandler.dump_traceback_later(DEADLINE_SECONDS - 1, repeat=True, file=said)
            connection.send(attempt.words)
            outcome = judged(attempt, folder)
            faulthandler.cancel_dump_traceback_later()
            connection.send((outcome, _most_bytes()))


def _received(connection: Connection) -> tuple[Case, Path] | None:
    """Return the next case and its folder; None at the end."""
    with contextlib.suppress(EOFError):
        return connection.recv()
    return None


def _most_bytes() -> int:
    """Return the most memory that this process has had so far; 0 where the system does not say."""
    with contextlib.suppress(OSError, StopIteration):  # `getrusage` of Linux counts what the parent had, too
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:"))) * 1024
    with contextlib.suppress(ImportError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return 0


class Worker:
    """A process, and the case it works on."""

    def __init__(self, workplace: Path, source: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.workplace, self.source, self.case = workplace, source, None
        self.connection, theirs = context.Pipe()
        self.log = Path(tempfile.mkdtemp(dir=workplace)) / "log"
        self.process = context.Process(target=serve, args=(theirs, self.log, source), daemon=True)
        self.process.start()
        theirs.close()
        self.measured = psutil.Process(self.process.pid)

    def begin(self, case: Case) -> None:
        self.case, self.words = case, "(while its files were made)"
        self.folder = Path(tempfile.mkdtemp(prefix="case-", dir=self.workplace))
        self._wait_for(PREPARING_SECONDS)
        self.connection.send((case, self.folder))

    def _wait_for(self, seconds: float) -> None:
        self.limit, self.since, self.computed = seconds, time.monotonic(), self._computed()

    def _computed(self) -> float:
        """Return how many seconds the process has used a processor."""
        times = self.measured.cpu_times()
        return float(times.user + times.system)

    def heard(self) -> Outcome | None:
        """Take what the process says; return the outcome if the case has ended."""
        try:
            said = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            return fault(f"crash, exit code {self.process.exitcode}", self._place())
        if isinstance(said, str):
            self.words = said
            self._wait_for(DEADLINE_SECONDS)
            return None
        outcome, most = said
        return fault("memory", f"it took {most / 2**30:.1f} GB") if most > MOST_BYTES else outcome

    def overdue(self) -> Outcome | None:
        """Return the fault of a case that takes too much memory, computes too long, or waits for what never comes."""
        with contextlib.suppress(psutil.Error):
            if (taken := self.measured.memory_info().rss) > MOST_BYTES:
                return fault("memory", f"it took {taken / 2**30:.1f} GB")
            by_clock, computed = time.monotonic() - self.since, self._computed() - self.computed
            if computed > self.limit or by_clock > self.limit * (1 if computed < IDLE_SHARE * by_clock else BUSY):
                return fault(f"hang {self._place().partition(chr(10))[0]}", self._place())
        return None

    def _place(self) -> str:
        """Return where in our own code the process last was."""
        lines = self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []
        return "\n".join(line.split("napari_tessera/")[-1] for line in lines if "napari_tessera/" in line)

    def stop(self) -> None:
        self.connection.close()
        if self.case is None:
            self.process.join(timeout=5)
        self.process.kill()
        self.process.join()


def endings(cases: Iterator[Case], processes: int, source: str = "tests.fuzz.targets") -> Iterator[Ended]:
    """Run cases as they come, and yield how each ended; the files of a case are there until the next is asked for."""
    with tempfile.TemporaryDirectory(prefix="tessera-fuzz-", ignore_cleanup_errors=True) as workplace:
        os.environ["TESSERA_FUZZ_SEEDS"] = tempfile.mkdtemp(prefix="seeds-", dir=workplace)
        workers = [Worker(Path(workplace), source) for _ in range(processes)]
        try:
            yield from _run(workers, cases)
        finally:
            for worker in workers:
                worker.stop()


def _run(workers: list[Worker], cases: Iterator[Case]) -> Iterator[Ended]:
    _give(workers, cases)
    while busy := [worker for worker in workers if worker.case is not None]:
        ready = wait([worker.connection for worker in busy], SECONDS_BETWEEN_LOOKS)
        for worker in busy:
            outcome = worker.heard() if worker.connection in ready else worker.overdue()
            if outcome is None:
                continue
            yield Ended(worker.case, outcome, worker.words, worker.folder)
            shutil.rmtree(worker.folder, ignore_errors=True)
            if outcome.kind.startswith(("hang", "memory", "crash")):
                worker.stop()
                workers[workers.index(worker)] = Worker(worker.workplace, worker.source)
            worker.case = None
        _give(workers, cases)


def _give(workers: list[Worker], cases: Iterator[Case]) -> None:
    """Give each idle process a case, as long as there are any."""
    for worker in workers:
        if worker.case is None and (case := next(cases, None)) is not None:
            worker.begin(case)

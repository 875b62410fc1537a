"""The command: so many cases or minutes, a line for each new kind of fault, and a table."""

from __future__ import annotations

import argparse
import itertools
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from tests.fuzz.case import FAULT, REFUSAL, RESULT, Target
from tests.fuzz.pool import Case, Ended, endings
from tests.fuzz.targets import TARGETS

LONGEST_SHOWN = 1500


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cases; return 1 if there was a fault."""
    arguments = _parser().parse_args(argv)
    chosen = [target for target in TARGETS if target.name in (arguments.only or [target.name])]
    end = time.monotonic() + 60 * arguments.minutes if arguments.minutes else float("inf")
    cases = itertools.takewhile(lambda _: time.monotonic() < end, schedule(chosen, arguments.seed))
    if arguments.case is not None:
        cases = iter([Case(chosen[0].name, arguments.case, arguments.seed)])
    elif not arguments.minutes:
        cases = itertools.islice(cases, arguments.cases)
    return tell(endings(cases, arguments.processes), arguments.keep)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--minutes", type=float, help="go on so long, instead of a number of cases")
    parser.add_argument("--seed", type=int, default=0, help="the same seed tries the same")
    names = [target.name for target in TARGETS]
    parser.add_argument("--only", nargs="+", choices=names, metavar="TARGET", help=f"of these only: {', '.join(names)}")
    parser.add_argument("--case", type=int, metavar="N", help="of that target, this case only")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the files of each new kind of fault there")
    return parser


def schedule(targets: Sequence[Target], seed: int) -> Iterator[Case]:
    """Yield cases without end, each target as often as its share says, numbered from 0."""
    rng, numbers = Random(seed), Counter[str]()
    shares = [target.share for target in targets]
    while True:
        (target,) = rng.choices(targets, shares)
        yield Case(target.name, numbers[target.name], seed)
        numbers[target.name] += 1


def tell(found: Iterator[Ended], keep: Path | None = None) -> int:
    """Print each new kind of fault as it comes, and in the end a table; return 1 if there was a fault."""
    counts, kinds, begun = Counter[tuple[str, str]](), Counter[tuple[str, str]](), time.monotonic()
    for ended in found:
        name = ended.case.target
        counts[name, ended.outcome.ending] += 1
        if (done := sum(counts.values())) % 500 == 0:
            print(f"{done} cases in {time.monotonic() - begun:.0f} s", flush=True)
        if ended.outcome.ending == FAULT:
            kinds[name, ended.outcome.kind] += 1
            if kinds[name, ended.outcome.kind] == 1:
                _show(ended)
                if keep is not None:
                    _keep(ended, keep)
    seconds = time.monotonic() - begun
    _print_table(counts, kinds)
    failed = sum(kinds.values())
    print(f"{sum(counts.values())} cases in {seconds:.0f} s")
    print(f"{sum(counts.values()) - failed} passed, {failed} failed")
    return 1 if failed else 0


def _show(ended: Ended) -> None:
    case = ended.case
    print(f"\nFAULT {case.target}: {ended.outcome.kind}")
    print(f'  python -m tests.fuzz --seed {case.seed} --only "{case.target}" --case {case.number}')
    for text in (ended.words[:LONGEST_SHOWN], ended.outcome.text[-LONGEST_SHOWN:]):
        print("  " + ascii(text)[1:-1].replace("\\n", "\n  "), flush=True)


def _keep(ended: Ended, keep: Path) -> None:
    """Copy the files of a case; pipes and what has no end stay away."""
    target = keep / f"{ended.case.target}-{ended.case.number}"
    for path in sorted(ended.folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            copy = target / path.relative_to(ended.folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def _print_table(counts: Counter[tuple[str, str]], kinds: Counter[tuple[str, str]]) -> None:
    print(f"\n{'target':<24}{'cases':>8}{'results':>9}{'refusals':>10}{'faults':>8}")
    for name in dict.fromkeys(name for name, _ in sorted(counts)):
        three = [counts[name, ending] for ending in (RESULT, REFUSAL, FAULT)]
        print(f"{name:<24}{sum(three):>8}{three[0]:>9}{three[1]:>10}{three[2]:>8}")
    for (name, kind), count in kinds.most_common():
        print(f"{count:>6} × {name}: {kind}")

"""Write one Markdown page per method, made from its declaration alone.

Sphinx calls `write_pages` before it reads the other pages. `python docs/method_pages.py FOLDER` does the same by hand.
"""

from __future__ import annotations

import argparse
import functools
import inspect
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from napari_tessera.cli.options import flag, shown
from napari_tessera.cli.segment import method_parser
from napari_tessera.core.method import Declaration, Input, Method, Parameter
from napari_tessera.core.spec import Role, ShownIf
from napari_tessera.methods.registry import METHODS
from napari_tessera.training.losses import LOSSES

IMAGES = Path(__file__).parent / "images"
HELP_WIDTH = 88
IN_BLOCKS = {
    None: "This method needs the whole image at once.",
    "touch": "This method can run [in blocks](../large_images.md), with the labels of the whole image.",
    "overlap": "This method can run [in blocks](../large_images.md); objects cut by a face are joined again.",
}
ROLE_WORDS = {Role.IMAGE: "image", Role.LABELS: "labels", Role.POINTS: "points"}


def write_pages(folder: Path) -> None:
    """Write `index.md`, a page for every method of the registry, and the table of losses."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.md").write_text(index_page(METHODS), encoding="utf-8")
    for method in METHODS:
        (folder / f"{method.name}.md").write_text(method_page(method), encoding="utf-8")
    (folder / "losses.txt").write_text(losses_table(), encoding="utf-8")


def index_page(methods: Sequence[Method]) -> str:
    """Return the page that lists all methods."""
    rows = [(f"[{method.title}]({method.name}.md)", f"`{method.name}`", method.summary) for method in methods]
    names = "\n".join(method.name for method in methods)
    contents = f"```{{toctree}}\n:hidden:\n\n{names}\n```"
    return _joined("# Methods", contents, table(("Method", "In Python", "What it does"), rows))


def method_page(method: Method) -> str:
    """Return a method's page."""
    text = method.declaration.docstring
    return _joined(
        f"# {method.title}",
        method.summary,
        text.long_description,
        _screenshot(method),
        "## Inputs",
        table(("Name", "What it is", "Meaning"), [_input_row(entry, method) for entry in method.inputs]),
        "## Parameters",
        table(("Name", "Default", "Allowed", "Meaning"), [parameter_row(entry, method) for entry in method.parameters]),
        *_section("Result", [entry.description for entry in text.many_returns]),
        "## Large images",
        IN_BLOCKS[method.join],
        *_section("Errors", [f"**{entry.type_name}**: {entry.description}" for entry in text.raises]),
        *_section("Notes", [entry.description for entry in text.meta if entry.args == ["notes"]]),
        *_section("References", [entry.description for entry in text.meta if entry.args == ["references"]]),
        "## In Python",
        f"```python\n{example(method)}\n```",
        "## On the command line",
        f"```console\n$ {command(method)}\n```",
        f"<details><summary>All options</summary>\n\n```text\n{command_help(method)}\n```\n\n</details>",
    )


def losses_table() -> str:
    """Return the table of losses, each with its numbers and the source that its docstring names."""
    rows = []
    for name, loss in LOSSES.items():
        text = Declaration(loss.function).docstring
        numbers = " ".join(f"`{number}`" for number in loss.parameters)
        sources = [linked(" ".join(each.description.split())) for each in text.meta if each.args == ["references"]]
        rows.append((f"`{name}`", loss.title, loss.when_to_use, numbers, " ".join(sources)))
    return table(("Loss", "In the widget", "What it is for", "Numbers", "Source"), rows) + "\n"


def parameter_row(parameter: Parameter, method: Method) -> tuple[str, ...]:
    """Return the cells of a parameter's row."""
    rules = " and ".join(_rule(rule, method) for rule in parameter.shown_if)
    meaning = f"{parameter.help}<br>*Used when {rules}.*" if rules else parameter.help
    return f"`{parameter.name}`", f"`{parameter.default!r}`", _allowed(parameter), meaning


def _allowed(parameter: Parameter) -> str:
    if parameter.choices:
        return " ".join(f"`{choice!r}`" for choice in parameter.choices)
    words = "text" if parameter.kind is str and parameter.model is None else parameter.describe_range()
    return f"{words}, or `None`" if parameter.is_optional else words


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    escaped = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *escaped])


def _input_row(entry: Input, method: Method) -> tuple[str, ...]:
    kinds = " or ".join(ROLE_WORDS[role] for role in entry.roles)
    rules = "".join(f", used when {_rule(rule, method)}" for rule in entry.shown_if)
    return f"`{entry.name}`", kinds + (", may be left out" if entry.is_optional else "") + rules, entry.help


def _rule(rule: ShownIf, method: Method) -> str:
    """Say when a rule holds, by the values that are left out where those are fewer."""
    (other,) = (entry for entry in method.parameters if entry.name == rule.parameter)
    excluded = [choice for choice in other.choices if choice not in rule.values]
    if 0 < len(excluded) < len(rule.values):
        return f"`{rule.parameter}` is not {' or '.join(f'`{value!r}`' for value in excluded)}"
    return f"`{rule.parameter}` is {' or '.join(f'`{value!r}`' for value in rule.values)}"


def _screenshot(method: Method) -> str | None:
    if not (IMAGES / f"{method.name}.png").exists():
        return None
    return f"![The {method.title} widget in napari](../images/{method.name}.png)"


def _section(title: str, paragraphs: Sequence[str | None]) -> list[str]:
    found = [linked(text) for text in paragraphs if text]
    return [f"## {title}", *found] if found else []


def linked(text: str) -> str:
    """Turn every DOI in `text` into a link."""
    return re.sub(r"doi:(10\.\S+?)(?=[.,;]?(\s|$))", r"[doi:\1](<https://doi.org/\1>)", text)


def example(method: Method) -> str:
    """Return the docstring's example, with what it prints."""
    return inspect.getdoc(method.function).partition("\nExamples\n--------\n")[2].strip()


def command(method: Method) -> str:
    """Return a command that runs the method, with its first setting written out."""
    first = method.parameters[0]
    words = ["tessera", method.name, _file(method.inputs[0]), "-o", "labels.tif"]
    for entry in method.inputs[1:]:
        words += [] if entry.is_optional else [flag(entry.name), _file(entry)]
    return " ".join([*words, flag(first.name), shown(first.default)])


def command_help(method: Method) -> str:
    """Return what `tessera METHOD --help` prints, as wide as a page of the docs."""
    parser = method_parser(method)
    parser.formatter_class = functools.partial(argparse.HelpFormatter, width=HELP_WIDTH)
    return parser.format_help().strip()


def _file(entry: Input) -> str:
    return f"{entry.name}.{'csv' if entry.roles[0] is Role.POINTS else 'tif'}"


def _joined(*parts: str | None) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))

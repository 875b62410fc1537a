"""The documentation says what the code does: pages from the declarations, examples and commands that run."""

from __future__ import annotations

import doctest
import re
import shlex
import shutil
from pathlib import Path

import pytest

from napari_tessera.cli.main import main
from napari_tessera.io.tiff import write_tiff
from napari_tessera.methods.registry import METHODS
from napari_tessera.sample_data import nuclei_2d
from napari_tessera.training.losses import LOSSES
from tests.helpers.docs_scripts import DOCS, docs_script

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


method_pages = docs_script("method_pages")
each_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)


def _stem(page: Path) -> str:
    return page.stem


def _blocks(page: Path, language: str) -> list[str]:
    return [text for _, name, text in FENCE.findall(page.read_text(encoding="utf-8")) if name == language]


def _pages_with(language: str, start: str) -> list[Path]:
    return [page for page in PAGES if any(start in text for text in _blocks(page, language))]


@each_method
def test_page_shows_the_default_of_every_parameter(method):
    page = method_pages.method_page(method)
    shown = dict(re.findall(r"^\| `(\w+)` \| `(.*?)` \|", page, re.MULTILINE))
    assert shown == {name: repr(value) for name, value in method.declaration.defaults.items()}


@each_method
def test_page_shows_the_meaning_of_every_parameter(method):
    page, entries = method_pages.method_page(method), (*method.inputs, *method.parameters)
    assert [entry.name for entry in entries if not entry.help or entry.help not in page] == []


@each_method
def test_page_has_an_example(method):
    assert ">>> " in method_pages.example(method)


def test_page_of_losses_lists_each_with_its_numbers_and_source():
    table, page = method_pages.losses_table(), (DOCS / "losses.md").read_text(encoding="utf-8")
    assert "methods/losses.txt" in page
    for name, loss in LOSSES.items():
        (row,) = [line for line in table.splitlines() if line.startswith(f"| `{name}` |")]
        assert loss.when_to_use in row
        assert all(f"`{number}`" in row for number in loss.parameters)
        assert "https://doi.org/" in row


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a file for every input of a method, made from a sample."""
    folder = tmp_path_factory.mktemp("inputs")
    image, truth, spatial, axes = nuclei_2d()
    write_tiff(folder / "image.tif", image, spatial, axes=axes)
    for name in ("labels", "truth", "prediction", "markers", "mask"):
        write_tiff(folder / f"{name}.tif", truth, spatial, axes=axes)
    for name in ("seeds", "points"):
        (folder / f"{name}.csv").write_text("index,axis-0,axis-1\n0,100.0,100.0\n")
    return folder


@each_method
def test_command_on_the_page_runs(method, files, monkeypatch, tmp_path):
    monkeypatch.chdir(files)
    command = method_pages.command(method).replace("-o labels.tif", f"-o {tmp_path / 'out.tif'}")
    assert main(shlex.split(command)[1:]) == 0


@pytest.mark.parametrize("page", _pages_with("python", ">>> "), ids=_stem)
def test_python_examples_give_what_the_page_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "\n".join(_blocks(page, "python"))
    examples = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    failures: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    runner.run(examples, out=failures.append)
    assert "".join(failures) == ""


def _commands(page: Path) -> list[str]:
    lines = "\n".join(_blocks(page, "console")).splitlines()
    return [line[2:] for line in lines if line.startswith("$ tessera ")]


@pytest.mark.parametrize("page", _pages_with("console", "$ tessera "), ids=_stem)
def test_commands_run_one_after_the_other(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    shutil.copytree(ROOT / "sample_data", tmp_path / "sample_data")
    codes = {command: main(shlex.split(command)[1:]) for command in _commands(page)}
    assert codes == dict.fromkeys(codes, 0)


@pytest.mark.parametrize("page", PAGES, ids=_stem)
def test_links_and_pictures_lead_to_files(page):
    generated = {"methods/index.md", *(f"methods/{method.name}.md" for method in METHODS)}
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text(encoding="utf-8"))
    missing = [name for name in targets if name not in generated and not (page.parent / name).exists()]
    assert missing == []

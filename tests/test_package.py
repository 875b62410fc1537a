"""What is installed: the manifest, the type marker, every dependency that the code imports."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "napari_tessera"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _text_behind(link: Path) -> str:
    """Text of a file; a link that Windows checked out as a small text file is followed by hand."""
    text = link.read_text(encoding="utf-8")
    target = ROOT / text.strip() if "\n" not in text.strip() else link
    return target.read_text(encoding="utf-8")


def test_both_manifests_read_the_same():
    assert _text_behind(ROOT / "napari.yaml") == (PACKAGE / "napari.yaml").read_text(encoding="utf-8")


def test_manifest_is_found_by_npe2():
    from npe2 import PluginManifest

    manifest = PluginManifest.from_distribution("napari-tessera")
    assert manifest.display_name == "Tessera"


def test_version_is_said_once_and_the_same():
    import napari_tessera

    assert napari_tessera.__version__ == PROJECT["version"]


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_wheel_holds_every_file_of_the_package(wheel_names):
    files = {path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {str(path.relative_to(PACKAGE.parent).as_posix()) for path in files} <= wheel_names


def test_wheel_holds_manifest_and_type_marker(wheel_names):
    assert {"napari_tessera/napari.yaml", "napari_tessera/py.typed"} <= wheel_names


def test_wheel_holds_nothing_but_the_package(wheel_names):
    assert {name.split("/")[0] for name in wheel_names} == {
        "napari_tessera",
        f"napari_tessera-{PROJECT['version']}.dist-info",
    }


def _imported_packages() -> set[str]:
    names: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"napari_tessera"}


def _plain(name: str) -> str:
    return re.split(r"[^\w.-]", name.lower().replace("_", "-"))[0]


def test_every_imported_package_is_a_declared_dependency():
    optional = PROJECT["optional-dependencies"]["distributed"]
    declared = {_plain(requirement) for requirement in PROJECT["dependencies"] + optional}
    distributions = packages_distributions()
    undeclared = {
        name
        for name in _imported_packages()
        if not declared & {_plain(known) for known in distributions.get(name, [name])}
    }
    assert undeclared == set()


def test_every_dependency_is_imported_somewhere():
    distributions = packages_distributions()
    used = {_plain(known) for name in _imported_packages() for known in distributions.get(name, [])}
    assert {_plain(requirement) for requirement in PROJECT["dependencies"]} - used == set()


def test_plugin_forces_no_qt_binding():
    required = {_plain(line) for line in distribution("napari-tessera").requires if "extra ==" not in line}
    assert not required & {"pyqt5", "pyqt6", "pyside2", "pyside6"}


def test_no_dependency_has_an_upper_limit():
    extras = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
    assert [line for line in PROJECT["dependencies"] + extras if "<" in line or "==" in line] == []


def test_tested_versions_are_pinned_for_every_dependency():
    pinned = {_plain(line) for line in (ROOT / ".ci" / "constraints.txt").read_text().splitlines() if "==" in line}
    extras = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
    assert {_plain(line) for line in PROJECT["dependencies"] + extras} - {"napari-tessera"} <= pinned

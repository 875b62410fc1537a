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
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]


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


def test_files_and_samples_are_public_parts():
    program = "import napari_tessera as t; t.io.read_image; t.sample_data.SAMPLES; assert set(t.__all__) == set(dir(t))"
    subprocess.run([sys.executable, "-c", program], check=True)


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


def _imported_packages(files: list[Path]) -> set[str]:
    names: set[str] = set()
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"napari_tessera"}


def _plain(name: str) -> str:
    return re.split(r"[^\w.-]", name.lower().replace("_", "-"))[0]


def _distributions(imported: set[str]) -> dict[str, set[str]]:
    """Which distributions bring each imported package; a package that is not installed stands for itself."""
    installed = packages_distributions()
    return {name: {_plain(known) for known in installed.get(name, [name])} for name in imported}


BY_THE_PACKAGE = _distributions(_imported_packages(list(PACKAGE.rglob("*.py"))))


def _imported_by_the_tests() -> dict[str, set[str]]:
    tests = [path for path in (ROOT / "tests").rglob("*.py") if "benchmarks" not in path.parts]
    own = {name for folder in ("tests", "docs") for path in (ROOT / folder).rglob("*.py") for name in path.parts}
    return _distributions(_imported_packages(tests) - {Path(name).stem for name in own})


def test_every_imported_package_is_a_declared_dependency():
    declared = {_plain(requirement) for requirement in PROJECT["dependencies"] + EXTRAS["distributed"]}
    assert {name for name, known in BY_THE_PACKAGE.items() if not known & declared} == set()


def test_every_dependency_is_imported_somewhere():
    declared = {_plain(requirement) for requirement in PROJECT["dependencies"]}
    assert declared - set().union(*BY_THE_PACKAGE.values()) == set()


def test_every_package_that_the_tests_import_comes_with_their_extra():
    declared = {_plain(requirement) for requirement in PROJECT["dependencies"] + EXTRAS["test"]}
    assert {name for name, known in _imported_by_the_tests().items() if not known & declared} == set()


def test_every_package_of_the_tests_is_imported_by_them_or_run():
    declared = {_plain(requirement) for requirement in EXTRAS["test"]}
    run = {"hatchling", "mypy", "pytest-qt"}
    assert declared - set().union(*_imported_by_the_tests().values()) == run


def test_plugin_forces_no_qt_binding():
    required = {_plain(line) for line in distribution("napari-tessera").requires if "extra ==" not in line}
    assert not required & {"pyqt5", "pyqt6", "pyside2", "pyside6"}


def test_no_dependency_has_an_upper_limit():
    extras = [line for lines in EXTRAS.values() for line in lines]
    assert [line for line in PROJECT["dependencies"] + extras if "<" in line or "==" in line] == []


def _pinned(constraints: str) -> dict[str, str]:
    lines = (ROOT / ".ci" / constraints).read_text(encoding="utf-8").splitlines()
    return {_plain(name): version for name, found, version in (line.partition("==") for line in lines) if found}


def test_tested_versions_are_pinned_for_every_dependency():
    pinned = _pinned("constraints.txt").keys()
    extras = [line for lines in EXTRAS.values() for line in lines]
    assert {_plain(line) for line in PROJECT["dependencies"] + extras} - {"napari-tessera"} <= pinned


def test_lowest_versions_that_are_tested_are_the_lowest_that_are_allowed():
    lines = PYPROJECT["build-system"]["requires"] + PROJECT["dependencies"] + EXTRAS["app"] + EXTRAS["test"]
    allowed = {(_plain(line), line.split(">=")[1]) for line in lines}
    tested = {name: re.sub(r"(\.0)+$", "", version) for name, version in _pinned("lowest.txt").items()}
    assert {(name, re.sub(r"(\.0)+$", "", version)) for name, version in allowed} - tested.items() == set()

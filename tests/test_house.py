"""Rules of the house that a program can check."""

from __future__ import annotations

import ast
import json
import re
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import wattle_jupyter

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "wattle_jupyter"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HEAVY = {"anywidget", "ipywidgets", "pydantic", "networkx", "tornado", "jupyter_server", "zmq", "yaml", "sqlite3"}


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def text_files() -> Iterator[tuple[str, str]]:
    for path in tracked():
        if path.suffix not in {".png", ".gif", ".ico"} and path.name != "package-lock.json":
            yield str(path.relative_to(ROOT)), path.read_text()


def in_python(code: str, *flags: str) -> str:
    done = subprocess.run([sys.executable, *flags, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


# ------------------------------------------------------------------------------------------------------------- checkers


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["-m", "ruff", "check", "."], id="ruff"),
        pytest.param(["-m", "mypy"], id="mypy"),
        pytest.param(["-m", "mypy", "--strict", "dev.py"], id="mypy-dev.py"),
        pytest.param(["-c", "from importlinter.cli import lint_imports_command as go; go()"], id="import-linter"),
    ],
)
def test_a_checker_has_nothing_to_say(command: list[str]) -> None:
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# ------------------------------------------------------------------------------------------------------------- versions


def test_all_versions_are_the_same() -> None:
    front_end = json.loads((ROOT / "js" / "package.json").read_text())["version"]
    newest = re.search(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert {front_end, newest[1]} == {wattle_jupyter.__version__}


def test_the_public_names_are_these() -> None:
    assert wattle_jupyter.__all__ == ["Run", "Workflow", "__version__", "attach", "emit", "progress", "runs"]
    assert all(getattr(wattle_jupyter, name) is not None for name in wattle_jupyter.__all__)


# -------------------------------------------------------------------------------------------------------------- imports


def test_importing_the_package_imports_nothing_heavy() -> None:
    loaded = in_python("import sys, wattle_jupyter; print(*{name.split('.')[0] for name in sys.modules})").split()
    assert HEAVY & set(loaded) == set()


def test_an_engine_that_nobody_gives_a_spec_does_without_pydantic() -> None:
    loaded = in_python("import sys, wattle_jupyter.engine; print(*sys.modules)").split()
    assert {"pydantic", "networkx", "tornado", "jupyter_server"} & set(loaded) == set()


def test_the_keeper_needs_nothing_but_the_standard_library() -> None:
    # -S leaves out site-packages: an import of anything else ends the process
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import wattle_jupyter.host.keeper; print(*sys.modules)"
    homes = {name.split(".")[0] for name in in_python(code, "-I", "-S").split()}
    strangers = homes - set(sys.stdlib_module_names) - {"wattle_jupyter", "__main__"}
    assert strangers == set()


def closure(roots: list[str]) -> set[str]:
    """Names of the distributions that these requirements bring with them, as installed here."""
    found: set[str] = set()
    todo = [(Requirement(root), "") for root in roots]
    while todo:
        requirement, extra = todo.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        wanted = [part for part in ("", *requirement.extras) if f"{name}[{part}]" not in found]
        found.update(f"{name}[{part}]" for part in wanted)
        needs = [Requirement(line) for line in (metadata.requires(name) or ())]
        todo += [(need, part) for part in wanted for need in needs]
    return {entry.split("[")[0] for entry in found}


def test_the_core_install_adds_at_most_fifteen_distributions_to_jupyterlab() -> None:
    added = closure(PYPROJECT["project"]["dependencies"]) - closure(["jupyterlab"])
    assert "anywidget" in added, "the count finds what is there"
    assert len(added) + 1 <= 15, sorted(added)


# ------------------------------------------------------------------------------------------------------ what is written


WORK, HOME = "wo" + "rk", "ro" + "ot"  # put together here so that this file obeys its own rule
UNWANTED = {
    "a path of one machine": rf"(?<![\w.<}}])/(?:{WORK}|{HOME})/\w",
    "something left to do": r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b",
    "a number of a tracker": r"\b[Ii]ssue #?\d",
    "a planning note": r"\b(?:no" + r"tes|sha" + r"red)/[a-z_]+\.md\b|\bdesi" + r"gn\.md\b",
    "a name of a machine that wrote it": r"(?i)\b(?:chat" + r"gpt|co-authored" + r"-by)\b",
}


@pytest.mark.parametrize("what", UNWANTED)
def test_no_file_holds(what: str) -> None:
    pattern = re.compile(UNWANTED[what])
    hits = [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, text in text_files()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]
    assert hits == []


def test_no_text_names_a_row_of_a_plan() -> None:
    rows = re.compile(r"(?<![\w#-])[DRV]\d{1,2}(?![\w.])")
    kinds = (".py", ".md", ".toml", ".yml", ".ts", ".tsx")
    hits = [(name, row) for name, text in text_files() if name.endswith(kinds) for row in rows.findall(text)]
    assert hits == []


def outputs_of(notebook: Path) -> Iterator[str]:
    for cell in json.loads(notebook.read_text())["cells"]:
        for output in cell.get("outputs", ()):
            yield json.dumps({key: output[key] for key in ("text", "data", "traceback") if key in output})


@pytest.mark.parametrize("notebook", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_saved_notebook_shows_no_path_and_no_id(notebook: Path) -> None:
    shown = "\n".join(outputs_of(notebook))
    assert shown, "the notebook is saved with its outputs"
    assert re.findall(r"/(?:home|tmp|usr|opt|Users)/[^\"\s]*", shown) == []
    assert re.findall(r"\b[0-9a-f]{32}\b", shown) == []


def test_the_readme_and_the_continuous_integration_name_commands_that_exist() -> None:
    said = set(re.findall(r"python3 dev\.py (\w+)", (ROOT / "README.md").read_text()))
    assert {"demo", "test", "lab"} <= said <= {"demo", "test", "lab", "bench", "lint", "docs", "build", "clean"}
    assert "python3 dev.py test" in (ROOT / ".ci" / "run").read_text()


def test_links_between_documents_lead_somewhere() -> None:
    for document in (path for path in tracked() if path.suffix == ".md"):
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} → {target}"


# ---------------------------------------------------------------------------------------------------------------- shape


def test_files_are_nouns_and_short() -> None:
    sources = list(PACKAGE.rglob("*.py"))
    assert {path.stem for path in sources} & {"utils", "util", "helpers", "constants", "common", "misc"} == set()
    long = {str(path.relative_to(ROOT)): n for path in sources if (n := len(path.read_text().splitlines())) > 620}
    assert long == {}


def lengths() -> list[int]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    trees = [ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, kinds)]
    return sorted((node.end_lineno or node.lineno) - node.lineno + 1 for node in nodes)


def test_functions_are_short() -> None:
    lines = lengths()
    assert statistics.median(lines) <= 8
    assert lines[int(len(lines) * 0.95)] <= 50

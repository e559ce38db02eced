"""What users install: sdist and wheel, in a new virtual environment, without Node."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import wattle_jupyter

ROOT = Path(__file__).resolve().parent.parent


def call(*command: str | Path, cwd: Path, **env: str) -> str:
    """Output of a command that must succeed, in a clean environment."""
    kept = {key: os.environ[key] for key in ("HOME", "LANG", "TMPDIR") if key in os.environ}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env={**kept, "PATH": "/usr/bin:/bin", **env},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert (ROOT / "wattle_jupyter" / "static" / "widget.js").exists(), "build the front end first: python3 dev.py lint"
    out = tmp_path_factory.mktemp("sdist")
    # the front end is built already
    build = (sys.executable, "-m", "build", "--no-isolation", "--sdist", "--outdir", out)
    call(*build, ROOT, cwd=out, SKIP_JUPYTER_BUILDER="1")
    return next(out.glob("*.tar.gz"))


@pytest.fixture(scope="session")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the sdist, with no `node` or `npm` to be found."""
    out = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(out, filter="data")
    source = next(path for path in out.iterdir() if path.is_dir())
    build = (sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", out)
    call(*build, source, cwd=out, PATH="/nonexistent")
    return next(out.glob("*.whl"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new virtual environment with the wheel in it; what it depends on comes from this one by a path file."""
    venv = tmp_path_factory.mktemp("installed") / "venv"
    call(sys.executable, "-m", "venv", "--without-pip", venv, cwd=venv.parent)
    python = venv / "bin" / "python"
    call(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=venv.parent)
    packages = next((venv / "lib").glob("python*/site-packages"))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return venv


def test_the_wheel_holds_both_front_ends_and_no_sources_of_them(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    data = f"wattle_jupyter-{wattle_jupyter.__version__}.data/data"
    assert "wattle_jupyter/static/widget.js" in names
    assert "wattle_jupyter/py.typed" in names
    assert any(name.startswith("wattle_jupyter/migrations/") and name.endswith(".sql") for name in names)
    assert f"{data}/share/jupyter/labextensions/wattle-jupyter/install.json" in names
    entry = f"{data}/share/jupyter/labextensions/wattle-jupyter/static/remoteEntry"
    assert any(name.startswith(entry) for name in names)
    assert f"{data}/etc/jupyter/jupyter_server_config.d/wattle_jupyter.json" in names
    version = f"wattle_jupyter-{wattle_jupyter.__version__}"
    homes = {Path(name).parts[0] for name in names}
    assert homes == {"wattle_jupyter", f"{version}.data", f"{version}.dist-info"}
    assert not any(name.startswith("wattle_jupyter/labextension") for name in names)


def test_the_sdist_is_enough_to_build_and_test_with(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "dev.py", "js/package-lock.json"} <= names
    assert "wattle_jupyter/static/widget.js" in names
    assert not any(name.startswith(("js/node_modules", ".venv")) for name in names)


def jupyter(installed: Path, main: str, tmp_path: Path) -> str:
    """A Jupyter command of the new environment, which reads no configuration but that environment's own."""
    module, name = main.split(":")
    code = f"import sys; from {module} import {name}; sys.argv = ['jupyter', 'list']; {name}()"
    places = {f"JUPYTER_{key}_DIR": str(tmp_path / key) for key in ("CONFIG", "DATA", "RUNTIME")}
    return call(installed / "bin" / "python", "-c", code, cwd=tmp_path, **places)


def test_the_server_extension_is_enabled_without_a_command(installed: Path, tmp_path: Path) -> None:
    said = jupyter(installed, "jupyter_server.extension.serverextension:main", tmp_path)
    assert "wattle_jupyter enabled" in said.replace("\x1b[32m", "").replace("\x1b[0m", "")
    assert f"wattle_jupyter {wattle_jupyter.__version__}" in said


def test_the_labextension_is_found_and_belongs_to_the_python_package(installed: Path, tmp_path: Path) -> None:
    said = jupyter(installed, "jupyterlab.labextensions:main", tmp_path)
    line = next(line for line in said.splitlines() if "wattle-jupyter v" in line)
    assert f"wattle-jupyter v{wattle_jupyter.__version__}" in line
    assert "enabled" in line
    assert "OK" in line
    assert "(python, wattle_jupyter)" in line


def test_the_installed_package_is_the_one_in_the_wheel(installed: Path, tmp_path: Path) -> None:
    code = "import wattle_jupyter; print(wattle_jupyter.__file__)"
    place = Path(call(installed / "bin" / "python", "-c", code, cwd=tmp_path).strip())
    assert place.is_relative_to(installed)
    assert (place.parent / "static" / "widget.js").is_file()


@pytest.mark.parametrize("name", ["wattle", "jupyter-wattle"])
def test_the_command_runs(installed: Path, tmp_path: Path, name: str) -> None:
    assert wattle_jupyter.__version__ in call(installed / "bin" / name, "--version", cwd=tmp_path)
    assert "retry" in call(installed / "bin" / name, "--help", cwd=tmp_path)

"""dev.py: what a person meets first."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from processes import until

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def dev(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The module, with a clone of its own to work on."""
    spec = importlib.util.spec_from_file_location("dev", ROOT / "dev.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    js = tmp_path / "js"
    (js / "src").mkdir(parents=True)
    (js / "src" / "index.ts").write_text("export {}")
    for name in ("package.json", "package-lock.json"):
        (js / name).write_text("{}")
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / ".venv").mkdir()
    for name, value in {"ROOT": tmp_path, "JS": js, "VENV": tmp_path / ".venv"}.items():
        monkeypatch.setattr(module, name, value)
    return module


def test_an_older_python_is_told_what_to_do() -> None:
    ast.parse((ROOT / "dev.py").read_text(), feature_version=(3, 8))  # it gets as far as the check
    code = f"import sys; sys.version_info = (3, 9, 2); exec(open({str(ROOT / 'dev.py')!r}).read())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "needs Python 3.11 or newer and was started with 3.9" in done.stderr


def test_only_the_standard_library_is_imported() -> None:
    tree = ast.parse((ROOT / "dev.py").read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= set(sys.stdlib_module_names)


def test_an_unknown_verb_is_refused_with_those_that_exist(dev: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        dev.parse(["tset"])
    assert refused.value.code == 2
    assert "demo" in capsys.readouterr().err


def test_options_that_only_jupyterlab_knows_are_handed_on(dev: ModuleType) -> None:
    assert dev.parse(["lab", "--port=9999"]).rest == ["--port=9999"]
    with pytest.raises(SystemExit):
        dev.parse(["test", "--prot=9999"])


def test_an_install_is_repeated_only_when_something_changed(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[str] = []
    monkeypatch.setattr(dev, "pip_install", lambda *what, env=None: installed.append(what[-1]))
    monkeypatch.setattr(dev, "quiet", lambda *command: subprocess.CompletedProcess(command, 0, "", ""))
    dev.install({"lab"})
    dev.install({"lab"})
    assert installed == [".[lab]"]
    dev.install({"test"})  # what is there stays
    dev.install({"lab"})
    assert installed == [".[lab]", ".[lab,test]"]
    (dev.ROOT / "pyproject.toml").write_text("[project]")
    dev.install({"lab"})
    assert installed[-1] == ".[lab]"


def test_a_changed_source_of_the_front_end_is_seen(dev: ModuleType) -> None:
    before = dev.front_end_key()
    (dev.JS / "node_modules" / "x").mkdir(parents=True)
    (dev.JS / "node_modules" / "x" / "index.js").write_text("installed, not ours")
    assert dev.front_end_key() == before
    (dev.JS / "src" / "index.ts").write_text("export const a = 1")
    assert dev.front_end_key() != before


def test_a_command_that_fails_is_named(dev: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(dev.Stop, match="ended with exit code 3"):
        dev.must(sys.executable, "-c", "raise SystemExit(3)")
    assert f"$ {sys.executable} -c" in capfd.readouterr().out


def test_a_missing_package_is_named_with_its_command(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(dev.Stop, match=r"no browser\. Install it.*sudo apt-get install -y .* chromium"):
        dev.install_debian("chromium", why="no browser")


def test_the_lock_is_for_one_at_a_time(dev: ModuleType, tmp_path: Path) -> None:
    with (
        dev.alone(tmp_path / "lock", "taken"),
        pytest.raises(dev.Stop, match="taken"),
        dev.alone(tmp_path / "lock", "taken"),
    ):
        pass
    with dev.alone(tmp_path / "lock", "taken"):
        pass


def phase(dev: ModuleType, said: str, *, ok: bool) -> object:
    made = dev.Phase("python", "true")
    made.ok, made.said = ok, said
    return made


def test_the_summary_fails_if_any_group_failed(dev: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = phase(dev, "3 passed", ok=True), phase(dev, "1 failed", ok=False)
    assert dev.summarize([good], None, chosen=False) == 0
    assert dev.summarize([good, bad], None, chosen=False) == 1
    assert "FAILED  python           1 failed" in capsys.readouterr().out


def test_a_choice_that_selects_nothing_anywhere_fails(dev: ModuleType) -> None:
    def empty() -> object:
        return phase(dev, "exit code 5", ok=False)

    assert dev.summarize([empty(), phase(dev, "3 passed", ok=True)], None, chosen=True) == 0
    assert dev.summarize([empty(), empty()], None, chosen=True) == 1
    assert dev.summarize([empty()], None, chosen=False) == 1


def test_counts_come_from_the_report_of_pytest(dev: ModuleType, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text('<testsuites><testsuite tests="9" failures="1" errors="0" skipped="2"/></testsuites>')
    assert dev.counts(report) == "6 passed, 1 failed, 2 skipped, "
    assert dev.counts(tmp_path / "absent.xml") == ""


def test_a_missing_browser_is_a_failure_in_continuous_integration(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dev, "set_up", lambda verb: None)
    monkeypatch.setattr(dev, "browser_problem", lambda: "no browser")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(dev.Stop, match="a missing browser is a failure"):
        dev.test(dev.parse(["test"]))


def test_what_runs_in_the_sandbox_writes_below_it(dev: ModuleType, tmp_path: Path) -> None:
    env = dev.isolated(tmp_path)
    for key in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "WATTLE_STORE__DIR"):
        assert Path(env[key]).is_relative_to(tmp_path)
        assert Path(env[key]).stat().st_mode & 0o777 == 0o700


def test_a_command_that_hangs_is_ended_with_its_children(dev: ModuleType, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(subprocess.TimeoutExpired):
        dev.run("sh", "-c", f"sleep 600 & echo $! > {pid}; wait", limit=1.0)
    until(lambda: state(int(pid.read_text())) in ("", "Z"))


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""

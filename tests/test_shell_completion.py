"""What a real bash offers at the tab key."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import EngineProcess

pexpect = pytest.importorskip("pexpect")
BIN = Path(sys.executable).parent


@pytest.fixture
def tab(tmp_path: Path) -> Callable[..., list[str]]:
    """``tab("wattle r", store)``: the candidates, as bash has them after the key."""

    def press(line: str, store: Path) -> list[str]:
        environ = {**os.environ, "WATTLE_STORE__DIR": str(store), "PATH": f"{BIN}:{os.environ['PATH']}"}
        shell = pexpect.spawn("bash", ["--norc", "--noprofile"], env=environ, cwd=str(tmp_path), encoding="utf-8")
        shell.sendline("PS1=; bind 'set completion-query-items 0'; bind 'set page-completions off'; stty -echo")
        shell.sendline('eval "$(wattle completion bash)"; echo re""ady')
        shell.expect("ready", timeout=30)
        words = shlex.split(line) + ([""] if line.endswith(" ") else [])
        # what readline does at a tab, without its drawing
        setup = f"COMP_LINE={shlex.quote(line)}; COMP_POINT={len(line)}; COMP_CWORD={len(words) - 1}; COMP_TYPE=63"
        shell.sendline(f"{setup}; COMP_WORDS=({' '.join(map(shlex.quote, words))})")
        shell.sendline('_python_argcomplete wattle; printf "<%s>" "${COMPREPLY[@]}"; echo do""ne')
        shell.expect("done", timeout=30)
        shell.close(force=True)
        return [word.strip() for word in re.findall("<([^<>]*)>", shell.before) if word.strip()]

    return press


def test_verbs_and_options_are_offered_without_an_engine(tab: Callable[..., list[str]], tmp_path: Path) -> None:
    none = tmp_path / "none"
    assert tab("wattle ret", none) == ["retry"]
    assert {"run", "list", "logs", "delete", "completion"} <= set(tab("wattle ", none))
    assert set(tab("wattle run x --", none)) >= {"--wait", "--param", "--mode"}
    assert set(tab("wattle run x --mode ", none)) == {"dependency", "sequential", "parallel"}
    assert tab("wattle status ", none) == []
    assert not none.exists(), "no engine was started for a key press"


def test_names_come_from_the_engine(tab: Callable[..., list[str]], engine: EngineProcess, tmp_path: Path) -> None:
    engine.post("workflows", {"name": "etl", "tasks": {"fetch": "true", "clean": "true"}})
    run = engine.ended(engine.post("workflows/etl/start")["id"])["id"]
    (tmp_path / "flow.wattle.yaml").touch()
    (tmp_path / "notes.txt").touch()
    assert tab("wattle delete e", engine.store) == ["etl"]
    assert set(tab("wattle run ", engine.store)) == {"etl", "flow.wattle.yaml"}
    assert tab("wattle create ", engine.store) == ["flow.wattle.yaml"]
    assert set(tab("wattle status ", engine.store)) == {"last", run[:8]}
    assert set(tab("wattle logs last/", engine.store)) == {"last/fetch", "last/clean"}
    assert set(tab("wattle show etl/c", engine.store)) == {"etl/clean"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell_is_printed(shell: str) -> None:
    said = subprocess.run([BIN / "wattle", "completion", shell], capture_output=True, text=True, check=True).stdout
    assert "wattle" in said
    assert "argcomplete" in said.lower()

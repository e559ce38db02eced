"""Whatever is asked of the real server within and around its own description: never an error of the server's own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import ServerProcess

HOOKS = '''
import schemathesis

KNOWN = {"run": "last", "name": "w", "workflow": "w", "task": "t", "worker": "t"}

@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Now and then a name that exists: made-up ones end at `no such run`."""
    for key, value in (path_parameters or {}).items():
        if isinstance(value, str) and len(value) % 3 == 0:
            path_parameters[key] = KNOWN.get(key, value)
    return path_parameters
'''


def fuzz(server: ServerProcess, folder: Path, examples: int, seconds: int) -> str:
    """Run schemathesis against the server. Returns what it said."""
    server.post("workflows", {"name": "w", "tasks": {"t": {"run": "true"}, "nap": {"run": "sleep 0.1"}}})
    server.ended(str(server.post("workflows/w/start", {})["id"]))
    document = json.loads(server.raw("GET", "openapi.json")[1])
    streams = [p for p in document["paths"] if p.endswith("stream") or p in ("/events", "/events/ws")]
    for path in streams:  # they stay open; other tests are theirs
        del document["paths"][path]
    (folder / "openapi.json").write_text(json.dumps(document))
    (folder / "hooks.py").write_text(HOOKS)
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", str(folder / "openapi.json"),
        "--url", f"http://127.0.0.1:{server.port}/wattle/api", "-H", "Authorization: token secret",
        "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        "--max-examples", str(examples), "--seed", "1", "--mode", "all", "--phases", "examples,coverage,fuzzing",
        "--suppress-health-check", "all", "--no-color", "--request-timeout", "20", "--generation-database", "none",
        "--continue-on-failure",
    ]  # fmt: skip
    own = {k: v for k, v in os.environ.items() if not k.startswith("WATTLE_")} | {"SCHEMATHESIS_HOOKS": "hooks"}
    done = subprocess.run(
        command, cwd=folder, env=own | {"PYTHONPATH": f"{folder}:{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-12_000:]
    assert "Traceback" not in server.said(), server.said()[-4000:]
    return said


def test_no_request_that_the_description_allows_or_nearly_allows_is_an_error_of_the_servers(
    make_server: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    said = fuzz(make_server().launch(), tmp_path, examples=3, seconds=170)
    cases = re.search(r"(\d+) generated, (\d+) passed", said)
    assert cases is not None, said[-2000:]
    assert int(cases[2]) == int(cases[1]) >= 1000


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_same_for_longer(make_server: Callable[..., ServerProcess], tmp_path: Path) -> None:
    fuzz(make_server().launch(), tmp_path, examples=400, seconds=3500)

"""What the server knows and must not tell: its tokens, and the values of its environment. Found nowhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import websocket
from processes import ServerProcess, environment, owned, scratch

from wattle_jupyter.operations import OPERATIONS

TOKEN, HUB_TOKEN, VALUE, PARAM, LOGIN, DEFINED = (f"canary-{uuid.uuid4().hex}" for _ in range(6))
TOLD_NOBODY = (TOKEN, HUB_TOKEN, VALUE)

NOTEBOOK = (
    "%load_ext wattle_jupyter",
    "%%wattle noted\na: 'echo $MY_SETTING | wc -c'\nb <- a: exit 3",
    "%wattle run -w noted",
    "%wattle show noted/a --env",
    "import wattle_jupyter as w\nw.attach('last')",
    "w.attach('last')['a'].environment()",
    "%wattle doctor",
    "%wattle run nothing",
)


class Canaries(ServerProcess):
    token = TOKEN
    credentials: Mapping[str, str] = {"Authorization": f"token {TOKEN}"}


@pytest.fixture(scope="module")
def server() -> Iterator[Canaries]:
    """A server with secrets, on which tasks have run, failed and been refused."""
    with scratch() as folder:
        made = Canaries(folder / "home", folder / "s")
        with owned([made]):
            secrets = {"JUPYTERHUB_API_TOKEN": HUB_TOKEN, "JPY_API_TOKEN": HUB_TOKEN, "JUPYTER_TOKEN": TOKEN}
            config = f"c.IdentityProvider.token = {TOKEN!r}\n"
            made.launch(config=config, MY_SETTING=VALUE, AWS_SECRET_KEY=VALUE, **secrets)
            yield made
            assert made.end() == 0, made.said()


@pytest.fixture(scope="module")
def run(server: Canaries) -> str:
    tasks = {
        "env": {"run": "env | grep -c canary; env | grep -o '^JUPYTERHUB.*\\|^JPY.*\\|^JUPYTER_TOKEN.*'; true"},
        "left": {"run": 'echo rows=3 >> "$WATTLE_OUTPUT"', "outputs": {"rows": "a number"}},
        "shown": {
            "run": "echo {{ api_token }} > /dev/null; curl https://ada:" + LOGIN + "@example.invalid/ || true",
            "env": {"DB_PASSWORD": DEFINED},
        },
        "missing": {"run": "true", "outputs": {"f": "out/nothing.csv"}},
    }
    run = server.run(tasks, params={"api_token": PARAM}, env={"SLACK_TOKEN": DEFINED}, on_failure="continue")
    server.ended(run)
    server.request("POST", "runs", {"workflow": "nothing"})
    server.request("POST", "runs", b"{", {"Idempotency-Key": "k"})
    server.request("GET", f"runs/{run}/tasks/none?token={TOKEN}")
    return run


def everything(server: Canaries, run: str) -> Iterator[tuple[str, bytes]]:
    """Every answer to a request that only reads."""
    task = server.task(run, "env")
    names = {"run": run, "name": "w", "workflow": "w", "worker": "env", "task": "env", "hash": "0" * 64}
    for operation in OPERATIONS:
        path = re.sub(r"{(\w+)}", lambda found: names[found[1]], operation.path)
        if operation.path.endswith("outputs/{name}"):
            path = f"runs/{run}/tasks/left/outputs/rows"
        if operation.verb == "GET" and operation.media != "text/event-stream" and operation.path != "events/ws":
            yield path, server.raw("GET", path)[1]
    for other in ("left", "shown", "missing"):
        yield other, server.raw("GET", f"runs/{run}/tasks/{other}/environment")[1]
    for stream in ("events?since=0", f"runs/{run}/tasks/env/logs/stream"):
        connection, answer = server.open("GET", stream)
        with closing(connection):
            yield stream, answer.read1(1 << 20)
    url = f"ws://127.0.0.1:{server.port}{server.base}events/ws"
    socket = websocket.create_connection(url, header=dict(server.credentials), timeout=20)
    with closing(socket):
        socket.send(json.dumps({"type": "since", "seq": 0}))
        socket.send(json.dumps({"type": "subscribe", "log": task["attempt"], "offset": 0}))
        said: list[Any] = []
        while not any("log_end" in str(message) for message in said):
            said.append(socket.recv())
            yield "events/ws", said[-1] if isinstance(said[-1], bytes) else str(said[-1]).encode()


def files(*folders: Path) -> Iterator[tuple[str, bytes]]:
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                yield str(path.relative_to(folder)), path.read_bytes()


def holds(found: Iterator[tuple[str, bytes]], *secrets: str) -> list[tuple[str, str]]:
    return [(where, secret) for where, content in found for secret in secrets if secret.encode() in content]


def test_no_answer_of_the_server_holds_a_token_or_a_value_of_its_environment(server: Canaries, run: str) -> None:
    assert holds(everything(server, run), *TOLD_NOBODY) == []


def test_no_file_of_the_store_and_no_line_of_the_servers_log_does(server: Canaries, run: str) -> None:
    found = list(files(server.store))
    assert len(found) > 8
    assert holds(iter(found), *TOLD_NOBODY) == []
    assert holds(iter([("log", server.said().encode())]), *TOLD_NOBODY, PARAM, LOGIN, DEFINED) == []
    backup = server.post("backups")
    assert holds(files(server.store / "backups"), *TOLD_NOBODY) == [], backup


def test_a_task_has_the_environment_of_the_server_without_its_tokens(server: Canaries, run: str) -> None:
    said = server.get(f"runs/{run}/tasks/env/logs")["text"].split()
    assert said == ["3"]  # MY_SETTING, AWS_SECRET_KEY and the SLACK_TOKEN of the definition: no token of Jupyter's


def test_how_a_task_is_started_is_told_without_what_looks_secret(server: Canaries, run: str) -> None:
    shown = server.raw("GET", f"runs/{run}/tasks/shown/environment")[1]
    assert holds(iter([("shown", shown)]), PARAM, LOGIN, DEFINED) == []
    assert "•••" in shown.decode("unicode_escape") or "•••" in shown.decode()


def test_the_audit_log_holds_nothing_of_a_definition(server: Canaries, run: str) -> None:
    told = (server.store / "audit.log").read_bytes()
    assert run.encode() in told
    assert holds(iter([("audit", told)]), PARAM, LOGIN, DEFINED) == []


def test_a_saved_notebook_and_the_doctor_hold_none(server: Canaries, tmp_path: Path) -> None:
    cells = [
        {"cell_type": "code", "id": f"c{n}", "metadata": {}, "source": text, "outputs": [], "execution_count": None}
        for n, text in enumerate(NOTEBOOK)
    ]
    book = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "book.ipynb").write_text(json.dumps(book))
    mine = environment(server.home, WATTLE_STORE__DIR=str(server.store), MY_SETTING=VALUE, JUPYTER_TOKEN=TOKEN)
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--allow-errors", "--inplace"]
    done = subprocess.run([*command, "book.ipynb"], cwd=tmp_path, env=mine, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    text = (tmp_path / "book.ipynb").read_text()
    assert text.count("execution_count") == len(NOTEBOOK) or "completed" in text
    assert "application/vnd.wattle.run.v1+json" in text
    assert holds(iter([("notebook", text.encode()), ("said", done.stderr)]), *TOLD_NOBODY) == []
    for words in (["doctor"], ["doctor", "--json"], ["ps"], ["show", "noted"]):
        done = subprocess.run(
            [sys.executable, "-m", "wattle_jupyter", *words], env=mine, cwd=tmp_path, capture_output=True, check=False
        )
        assert holds(iter([(words[0], done.stdout + done.stderr)]), *TOLD_NOBODY) == []


def test_the_command_line_of_no_process_of_ours_holds_one(server: Canaries, run: str) -> None:
    """Every user of the machine may read those."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            assert not any(secret.encode() in words for secret in TOLD_NOBODY), words

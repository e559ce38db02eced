"""JupyterHub: the extension under a hub's base URL, for its users and nobody else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hubs import Hub, Member, running
from processes import until

from wattle_jupyter.operations import OPERATIONS

pytestmark = pytest.mark.timeout(300)

KERNEL = """
import os, sys
from jupyter_client import BlockingKernelClient
from jupyter_core.paths import jupyter_runtime_dir
client = BlockingKernelClient(connection_file=os.path.join(jupyter_runtime_dir(), f"kernel-{sys.argv[1]}.json"))
client.load_connection_file()
client.start_channels()
client.wait_for_ready(timeout=60)
said = []
def hook(message):
    content = message["content"]
    shown = content.get("data", {}).get("text/plain")
    said.append(content.get("text") or shown or "\\n".join(content.get("traceback", [])))
reply = client.execute_interactive(sys.argv[2], output_hook=hook, timeout=60)
client.stop_channels()
print("\\n".join(filter(None, said)))
sys.exit(reply["content"]["status"] != "ok")
"""
CELL = """
import wattle_jupyter
get_ipython().run_line_magic("load_ext", "wattle_jupyter")
get_ipython().run_cell_magic("wattle", "etl", "hello: echo hello from the kernel")
get_ipython().run_line_magic("wattle", "run etl -w")
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with running("ada", "bob") as made:
        made.start_servers()
        yield made
        assert "Traceback" not in made.said(), made.said()


@pytest.fixture
def ada(hub: Hub) -> Member:
    return hub.members[0]


@pytest.fixture
def bob(hub: Hub) -> Member:
    return hub.members[1]


def execute(member: Member, code: str) -> str:
    """Run code in a kernel of the user's server. Returns what it printed."""
    jupyter = f"{member.hub.base}user/{member.name}/api/kernels"
    kernel = member.elsewhere("POST", jupyter)["id"]
    done = member.python(KERNEL, kernel, code)
    member.elsewhere("DELETE", f"{jupyter}/{kernel}")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_extension_answers_under_the_base_url_of_the_hub(ada: Member, bob: Member) -> None:
    for member in (ada, bob):
        info = member.get("info")
        assert (info["user"], info["role"]) == (member.name, "owner")
        (server,) = member.request("GET", "openapi.json")[1]["servers"]
        assert server["url"] == f"/science/user/{member.name}/wattle/api"
    assert ada.get("info")["store"] != bob.get("info")["store"]


def test_a_kernel_and_a_terminal_reach_the_server_of_their_user(ada: Member, bob: Member) -> None:
    said = execute(ada, CELL)
    assert "completed" in said
    done = ada.python("import sys; from wattle_jupyter.cli import main; sys.argv[1:] = ['run', 'etl', '-w']; main()")
    assert done.returncode == 0, done.stdout + done.stderr
    runs = ada.get("runs")["data"]
    assert [(run["workflow"], run["state"], run["user"]) for run in runs] == [("etl", "completed", "ada")] * 2
    assert {run["cause"] for run in runs} == {"cell", "cli"}
    assert bob.get("runs")["data"] == []


def test_no_token_of_the_hub_reaches_a_task(ada: Member) -> None:
    run = ada.run({"env": {"run": "env"}})
    ada.ended(run)
    said = ada.get(f"runs/{run}/tasks/env/logs")["text"]
    assert "WATTLE_RUN=" in said
    assert not re.search("JUPYTERHUB_|JPY_|CONFIGPROXY|token", said, re.I), said


def test_a_user_of_the_hub_gets_nothing_from_the_server_of_another(ada: Member, bob: Member) -> None:
    before = bob.get("runs")["pagination"]["total"]
    stranger = Member.__new__(Member)
    stranger.__dict__.update(bob.__dict__, credentials=ada.credentials)
    for operation in OPERATIONS:
        path = re.sub(r"{\w+}", "w", operation.path)
        body = {} if operation.verb in ("POST", "PUT") else None
        for who in (stranger.credentials, {"Authorization": "token none"}, {"Authorization": ""}):
            status, said, _ = stranger.raw(operation.verb, path, body, who)
            if status == 503 and b"<html" in said:  # the hub's proxy lost the connection, and nothing got there
                status, said, _ = stranger.raw(operation.verb, path, body, who)
            assert status == 403, (operation.verb, path, status, who, said)
    assert bob.get("runs")["pagination"]["total"] == before


def test_the_files_and_the_socket_of_a_user_are_closed_to_the_accounts_of_others(ada: Member, bob: Member) -> None:
    if ada.uid is None:
        pytest.skip("this process cannot give the users of the hub accounts of their own: needs root and unshare")
    assert {path.stat().st_uid for path in ada.store.iterdir()} == {ada.uid}
    look = (
        "import os, socket, sys\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n"
        "        s = socket.socket(socket.AF_UNIX)\n"
        "        look = os.listdir if os.path.isdir(path) else s.connect if path.endswith('.sock') else open\n"
        "        look(path)\n"
        "        print('open', path)\n"
        "    except PermissionError:\n"
        "        pass\n"
    )
    paths = [str(ada.store), *map(str, ada.store.iterdir())]
    assert ada.python(look, *paths).stdout.count("open") == len(paths)
    ada.home.chmod(0o755)  # many sites have open homes: the store does not rely on them
    for folder in (ada.home / ".local", ada.home / ".local/share", ada.home / ".local/share/jupyter"):
        folder.chmod(0o755)
    done = bob.python(look, *paths)
    assert (done.returncode, done.stdout) == (0, ""), done


def test_a_task_survives_the_stop_of_its_users_server_and_starts_once(ada: Member) -> None:
    task = "echo began >> starts; while [ ! -e gate ]; do sleep 0.05; done; echo went on"
    run = ada.run(
        {"long": {"run": task, "working_dir": str(ada.home)}, "after": {"run": "echo after", "needs": ["long"]}}
    )
    ada.running(run, "long")
    until((ada.home / "starts").exists)
    ada.stop_server()
    (ada.home / "gate").touch()
    ada.start_server()
    assert ada.ended(run)["state"] == "completed"
    assert (ada.home / "starts").read_text() == "began\n"
    assert ada.get(f"runs/{run}/tasks/long/logs")["text"] == "went on\n"


def heard(member: Member) -> datetime:
    """When the hub heard of the user's server last. A request to that server would be activity itself."""
    return datetime.fromisoformat(member.server()["last_activity"])


def heard_again(member: Member, since: datetime, seconds: float) -> None:
    """Wait until the hub heard of it so much later."""
    until(lambda: heard(member) > since + timedelta(seconds=seconds))


def silent(member: Member, *, while_hearing: Member) -> bool:
    """Does the hub hear nothing of the one server in four seconds of the other's activity?"""
    quiet = heard(member)
    heard_again(while_hearing, heard(while_hearing), 4)
    return heard(member) == quiet


def work(member: Member, gate: Path) -> str:
    run = member.run({"t": {"run": f"while [ ! -e {gate} ]; do sleep 0.1; done"}})
    member.running(run, "t")
    return run


def test_the_hub_hears_of_a_server_only_while_work_is_pending_there(ada: Member, bob: Member) -> None:
    """Else a culler of idle servers would end the one too early and the other never."""
    gates = {member: member.home / "gate-2" for member in (ada, bob)}
    for busy, idle in ((ada, bob), (bob, ada)):
        run = work(busy, gates[busy])
        until(lambda busy=busy, idle=idle: silent(idle, while_hearing=busy))  # what was asked of it before is over
        gates[busy].touch()
        assert busy.ended(run)["state"] == "completed"

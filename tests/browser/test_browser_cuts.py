"""A connection that is cut again and again: no event and no byte of a log is lost, and none comes twice."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import ROOT
from playwright.sync_api import Browser, Page
from processes import ServerProcess, until
from wiretap import Wiretap

CUTS = 100
CHATTY = ["one", "two", "three"]
# Numbered lines of uneven length, until the test has cut enough.
TALK = "i=0; while [ ! -e enough ]; do i=$((i+1)); printf '%s %d ähm %*d\\n' {name} $i $((i % 90)) $i; sleep 0.01; done"


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The client without its views, for a page."""
    made = tmp_path_factory.mktemp("follow") / "follow.js"
    js = ROOT / "js"
    command = [js / "node_modules" / ".bin" / "esbuild", "tests/follow.ts", "--bundle", "--format=iife"]
    subprocess.run([*command, f"--outfile={made}"], cwd=js, check=True, capture_output=True)
    return made.read_text()


@contextlib.contextmanager
def following(browser: Browser, port: int, script: str, run: str, attempts: list[str]) -> Iterator[Page]:
    """A page of the server behind ``port`` that follows the run."""
    context = browser.new_context()
    page = context.new_page()
    for address in (f"login?token={ServerProcess.token}", "login"):  # logs in; then any page that may connect
        page.goto(f"http://127.0.0.1:{port}/{address}")
    page.evaluate(_CONFIG, json.dumps({"baseUrl": "/"}))
    page.evaluate(script)
    page.evaluate("([run, attempts]) => window.follow(run, attempts)", [run, attempts])
    yield page
    context.close()


_CONFIG = """text => {
  const config = document.createElement('script');
  Object.assign(config, { id: 'jupyter-config-data', type: 'application/json', textContent: text });
  document.body.append(config);
}"""


def published(server: ServerProcess, last: int) -> list[list[Any]]:
    """Every event up to ``last``, as a second reader gets them without a cut."""
    connection, response = server.open("GET", "events?since=0")
    found: list[list[Any]] = []
    with contextlib.closing(connection):
        while not found or found[-1][0] < last:
            line = response.readline().decode()
            assert line, "the stream ended"
            if line.startswith("data:"):
                event = json.loads(line[5:])
                found.append([event["seq"], event["kind"], event["run"]])
    return found


def test_a_connection_that_is_cut_a_hundred_times_loses_nothing(
    make_server: Callable[..., ServerProcess], browser: Browser, script: str, tmp_path: Path
) -> None:
    server = make_server().launch()
    dice = random.Random(4)
    tasks: dict[str, Any] = {name: TALK.format(name=name) for name in CHATTY}
    run = server.run({**tasks, "after": {"run": "echo after", "needs": CHATTY}}, "chatty", working_dir=str(tmp_path))
    attempts = [server.running(run, name)["attempt"] for name in CHATTY]
    with Wiretap(server.port) as wire, following(browser, wire.port, script, run, attempts) as page:
        for lives in range(1, CUTS + 1):
            page.wait_for_function("lives => followed.lives >= lives", arg=lives)
            if lives % 3 == 0:  # something happens just now
                server.run({"quick": "true"}, f"w{lives % 5}")
            if lives % 4:  # most cuts fall into the flow of bytes, some into what is said after the greeting
                size = page.evaluate("attempt => followed.logs[attempt].size", dice.choice(attempts))
                page.wait_for_function("size => Object.values(followed.logs).some(log => log.size > size)", arg=size)
            assert until(wire.cut) == 1
            if dice.random() < 0.8:  # the network says that it is back; else the client finds out by itself
                page.evaluate("() => window.dispatchEvent(new Event('online'))")
        (tmp_path / "enough").touch()
        server.ended(run)
        page.wait_for_function("() => followed.state === 'completed'")
        page.wait_for_function("() => Object.values(followed.logs).every(log => log.ends > 0)")
        quick = [one["id"] for one in server.get("runs?page_size=200")["data"] if one["workflow"] != "chatty"]
        newest = max(server.ended(one)["seq"] for one in [*quick, run])
        page.wait_for_function("newest => followed.events.at(-1)?.[0] >= newest", arg=newest)
        followed = page.evaluate("() => followed")

    assert wire.cuts == CUTS
    assert followed["lives"] == CUTS + 1
    assert followed["resets"] == 1  # what was missed came as events, nothing was read anew
    first, last = followed["events"][0][0], followed["events"][-1][0]
    assert followed["events"] == [event for event in published(server, last) if event[0] >= first]
    assert followed["tasks"] == dict.fromkeys([*CHATTY, "after"], "completed")
    for attempt in attempts:
        log = followed["logs"][attempt]
        whole = (server.store / "attempts" / attempt / "log").read_bytes()
        assert log["text"] == whole.decode()
        assert [log["size"], log["gaps"], log["ends"], log["problems"]] == [len(whole), 0, 1, []]
        assert [int(line.split()[1]) for line in log["text"].splitlines()] == [*range(1, log["text"].count("\n") + 1)]
    sizes = [followed["logs"][attempt]["size"] for attempt in attempts]
    print(f"{CUTS} cuts, {len(followed['events'])} events, {sizes} bytes")

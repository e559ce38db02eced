"""What tasks left comes as a file, never as a page: no browser runs it in the name of the server."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import pytest
from processes import ServerProcess

PAGE = "<!doctype html><script>document.title = 'taken'</script>"


def left_by_tasks(server: ServerProcess) -> str:
    """A run whose tasks left a page, a log that is one, and a value."""
    tasks = {
        "page": {"run": f'printf %s "{PAGE}" | tee page.html', "outputs": {"html": "./page.html"}},
        "value": {"run": "printf '%s\\n' 'text=<script>' >> \"$WATTLE_OUTPUT\"", "outputs": {"text": "a text"}},
    }
    found = server.run(tasks, working_dir=str(server.home))
    assert server.ended(found)["state"] == "completed"
    return found


@pytest.fixture(scope="module")
def run(server: ServerProcess) -> str:
    return left_by_tasks(server)


def check(server: ServerProcess, path: str) -> None:
    status, _, headers = server.raw("GET", path)
    assert status == 200, path
    assert headers["Content-Disposition"].startswith("attachment; "), path
    assert headers["X-Content-Type-Options"] == "nosniff"
    policy = [part.strip() for part in headers["Content-Security-Policy"].split(";")]
    assert "sandbox" in policy
    assert "default-src 'none'" in policy
    assert headers.get_content_type() not in ("text/html", "image/svg+xml", "application/xhtml+xml", "text/xml")


EACH = ("tasks/page/outputs/html", "tasks/page/logs?download=1", "tasks/value/outputs/text")


@pytest.mark.parametrize("path", EACH)
def test_bytes_of_a_task_are_a_file_that_runs_nothing(server: ServerProcess, run: str, path: str) -> None:
    check(server, f"runs/{run}/{path}")


def test_an_object_is_one_too(server: ServerProcess) -> None:
    name = sha256(PAGE.encode()).hexdigest()
    assert server.raw("PUT", f"objects/{name}", PAGE.encode(), {"Content-Type": "application/octet-stream"})[0] == 201
    check(server, f"objects/{name}")


def test_a_server_that_follows_says_the_same(make_server: Callable[..., ServerProcess]) -> None:
    owner = make_server().launch()
    follower = make_server(owner.store).launch()
    assert follower.get("info")["role"] == "follower"
    found = left_by_tasks(owner)
    for path in EACH:
        check(follower, f"runs/{found}/{path}")


def test_no_answer_at_all_is_a_page(server: ServerProcess, run: str) -> None:
    for path in ("info", "runs", f"runs/{run}", "openapi.json", "nothing", "runs/none"):
        _, _, headers = server.raw("GET", path)
        assert headers.get_content_type() == "application/json"
        assert "sandbox" in headers["Content-Security-Policy"]

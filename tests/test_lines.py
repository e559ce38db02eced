"""Logs as lines: live, of one task and of a whole run, in threads and beside an event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from processes import EngineProcess, until

from wattle_jupyter.client import Client
from wattle_jupyter.errors import InvalidRequest
from wattle_jupyter.lines import Lines, LogText, RunSource, TaskLine, beside, instant, overwritten
from wattle_jupyter.run import Run, runs

Submit = Callable[..., Run]


@pytest.fixture
def client(engine: EngineProcess) -> Client:
    return Client(engine.store, start=False)


@pytest.fixture
def submit(client: Client, tmp_path: Path) -> Submit:
    def start(**tasks: object) -> Run:
        spec = {"name": "w", "tasks": tasks, "working_dir": str(tmp_path), "concurrent": True}
        return Run(client, client.submit(spec=spec))

    return start


def gated(before: str, gate: str, after: str) -> str:
    return f"{before}; while [ ! -e {gate} ]; do sleep 0.02; done; {after}"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (" 10%\r 50%\r100%", "100%"),
        ("working hard\rdone", "doneing hard"),
        ("::wattle progress=1/3::\r[2/3] a                ", "[2/3] a"),
        ("from Windows\r", "from Windows"),
        ("as it is  ", "as it is  "),
        ("", ""),
    ],
)
def test_a_line_is_shown_as_a_terminal_shows_it(line: str, shown: str) -> None:
    assert overwritten(line) == shown
    assert repr(LogText(f"{line}\nnext")) == f"{shown}\nnext"
    assert LogText(line) == line


def test_a_task_is_streamed_line_by_line_while_it_writes(submit: Submit, tmp_path: Path) -> None:
    run = submit(a=gated("echo one; printf tw", "gate", "echo o; printf end"))
    lines = iter(run["a"].stream())
    assert next(lines) == "one"
    assert run["a"].status == "running"
    (tmp_path / "gate").touch()
    assert list(lines) == ["two", "end"]
    assert list(run["a"].stream(tail=1)) == ["end"]


def test_a_task_that_has_not_begun_is_waited_for(submit: Submit) -> None:
    run = submit(a="sleep 0.2", b={"run": "echo late", "needs": ["a"]})
    assert list(run["b"].stream()) == ["late"]


def test_a_run_is_streamed_with_the_name_of_the_task_before_each_line(submit: Submit) -> None:
    run = submit(a="echo one; printf 'caf\\303\\251'", long={"run": "echo two", "needs": ["a"]})
    lines = sorted(run.stream())
    assert lines == ["a    │ café", "a    │ one", "long │ two"]
    assert [(line.task, line.text) for line in lines] == [("a", "café"), ("a", "one"), ("long", "two")]
    assert sorted(run.stream()) == lines, "a run that has ended tells the same"
    assert sorted(run.stream(tail=1)) == [lines[0], lines[2]]


def test_every_attempt_of_a_run_is_streamed_once(submit: Submit) -> None:
    run = submit(a={"run": "echo try; exit 1", "retries": 2, "retry_delay": 0})
    assert list(run.stream()) == ["a │ try"] * 3


def test_many_lines_of_many_tasks_come_whole_and_in_order(submit: Submit) -> None:
    run = submit(**{f"t{n}": "seq 20000" for n in range(4)})
    got: dict[str, list[str]] = {}
    for line in run.stream():
        got.setdefault(line.task, []).append(line.text)
    assert got == {f"t{n}": [str(i) for i in range(1, 20001)] for n in range(4)}


def test_leaving_the_loop_leaves_the_run_as_it_is(submit: Submit) -> None:
    run = submit(a="echo hi; sleep 600")
    for line in run.stream():
        assert line.text == "hi"
        break
    for line in run["a"].stream():
        assert line == "hi"
        break
    assert run["a"].status == "running"
    run.cancel().wait()


def test_a_stream_can_be_closed_from_another_thread(submit: Submit) -> None:
    run = submit(a="echo hi; sleep 600")
    stream = run.stream()
    got: list[str] = []
    reading = threading.Thread(target=lambda: got.extend(stream))
    reading.start()
    until(lambda: run["a"].logs() == "hi\n")
    stream.close()
    reading.join(30)
    assert not reading.is_alive()
    run.cancel().wait()


def test_lines_come_beside_a_running_loop(submit: Submit) -> None:
    async def both() -> list[list[str]]:
        run = submit(a="echo one; sleep 0.3; echo two", b="echo three")
        return await asyncio.gather(collect(run["a"].stream()), collect(run.stream()))

    async def collect(lines: object) -> list[str]:
        return [str(line) async for line in lines]  # type: ignore[attr-defined]

    task, whole = asyncio.run(both())
    assert task == ["one", "two"]
    assert sorted(whole) == ["a │ one", "a │ two", "b │ three"]


def test_a_loop_that_is_left_lets_the_thread_go(submit: Submit) -> None:
    async def first(run: Run) -> str:
        async for line in run["a"].stream():
            return line
        return ""

    run = submit(a="echo hi; sleep 600")
    assert asyncio.run(first(run)) == "hi"
    until(lambda: not [t for t in threading.enumerate() if t.name == "wattle-lines"])
    run.cancel().wait()


def test_a_slow_loop_is_not_flooded() -> None:
    class Endless:
        read = 0

        def __iter__(self) -> Iterator[int]:
            while True:
                self.read += 1
                yield self.read

        def close(self) -> None:
            """Nothing is open."""

    async def some(source: Endless) -> list[int]:
        lines = beside(source)
        got = [await anext(lines) for _ in range(3)]
        await asyncio.sleep(0.05)
        await lines.aclose()  # type: ignore[attr-defined]  # it is a generator
        return got

    source = Endless()
    assert asyncio.run(some(source)) == [1, 2, 3]
    assert source.read < 1000


def test_an_error_in_the_thread_reaches_the_loop(client: Client) -> None:
    async def collect() -> list[str]:
        return [line async for line in Lines(RunSource(client, "00000000"))]

    with pytest.raises(Exception, match="no run 00000000"):
        asyncio.run(collect())


def test_a_stream_goes_on_with_the_next_owner(make_engine: Callable[..., EngineProcess], tmp_path: Path) -> None:
    first = make_engine().launch()
    client = Client(first.store, start=False)
    spec = {"name": "w", "working_dir": str(tmp_path), "tasks": {"a": gated("echo one", "gate", "echo two")}}
    lines = iter(Run(client, client.submit(spec=spec)).stream())
    assert next(lines).text == "one"
    first.process.kill()
    first.process.wait()
    make_engine(first.store).launch()
    (tmp_path / "gate").touch()
    assert [line.text for line in lines] == ["two"]


# ---------------------------------------------------------------------------------------------------------------- since


def test_only_what_came_after_a_time_is_read(submit: Submit, tmp_path: Path) -> None:
    run = submit(a=gated("echo old; echo older", "gate", "echo new; echo newer"), b="echo long ago")
    until(lambda: str(run["a"].logs()).endswith("older\n"))
    time.sleep(0.3)  # the time index has a resolution of 0.1 s
    now = time.time()
    (tmp_path / "gate").touch()
    run.wait()
    assert run["a"].logs(since=now) == "new\nnewer\n"
    assert run["a"].logs(since=now, tail=1) == "newer\n"
    assert run["a"].logs(since=now, tail=9) == "new\nnewer\n"
    assert run["a"].logs(since="1h") == "old\nolder\nnew\nnewer\n"
    assert run["a"].logs(since=time.time() + 60) == ""
    assert run.logs(since=now) == "── a ──\nnew\nnewer"
    assert list(run.stream(since=now)) == ["a │ new", "a │ newer"]


@pytest.mark.parametrize(("text", "ago"), [("90s", 90), ("10m", 600), ("1.5h", 5400), ("1d", 86400), ("2 h", 7200)])
def test_a_time_can_be_given_as_how_long_ago(text: str, ago: float) -> None:
    assert instant(text, 1_000_000.0) == 1_000_000.0 - ago


def test_a_time_can_be_a_date() -> None:
    assert instant("1970-01-02T00:00:00Z", 0.0) == 86400
    assert instant("1970-01-02T00:00:00+01:00", 0.0) == 82800


@pytest.mark.parametrize("text", ["", "yesterday", "10", "5w", "-3m"])
def test_what_is_no_time_is_refused_in_words(text: str) -> None:
    with pytest.raises(InvalidRequest, match="write 90s, 10m, 2h, 1d or 2026-01-31T18:30"):
        instant(text, 0.0)


# --------------------------------------------------------------------------------------------------------------- tables


def test_lists_of_runs_and_tasks_show_themselves_as_tables(submit: Submit, client: Client) -> None:
    run = submit(a="exit 3", b={"run": "true", "needs": ["a"]}).wait()
    text, html = repr(run.tasks), run.tasks._repr_html_()
    assert [line.split()[:3] for line in text.splitlines()] == [
        ["state", "task", "took"], ["✗", "failed", "a"], ["–", "skipped", "b"],
    ]  # fmt: skip
    assert "<td style='text-align:left'>✗ failed</td>" in html
    assert [task.task for task in run.failed] == ["a"]
    assert run["a"].duration is not None
    assert run["b"].duration is None
    assert run.duration is not None
    found = runs("w", status="failed", limit=1, client=client)
    assert [r.id for r in found] == [run.id]
    assert repr(found).splitlines()[1].startswith(run.id[:8])
    assert "a failed: exit 3" in found._repr_html_()
    assert repr(runs("nothing", client=client)) == "no runs"


def test_text_in_a_table_is_not_taken_for_html(submit: Submit) -> None:
    run = submit(a={"run": "true"}).wait()
    views = run.tasks._views
    views[0]["reason"] = "<script>alert(1)</script>"
    assert "<script>" not in run.tasks.__class__(run, views)._repr_html_()


def test_a_long_name_is_cut_before_its_lines() -> None:
    line = TaskLine("a" * 40, "x", 24)
    assert line == "a" * 23 + "… │ x"
    assert line.task == "a" * 40


def test_attempts_that_came_and_went_before_anybody_looked_are_streamed_too(submit: Submit) -> None:
    run = submit(a={"run": "echo try; exit 1", "retries": 2, "retry_delay": 0}, b="echo once")
    run.wait()
    assert sorted(run.stream()) == ["a │ try"] * 3 + ["b │ once"]
    assert list(run.stream(tail=1)) in (["a │ try", "b │ once"], ["b │ once", "a │ try"])

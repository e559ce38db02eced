"""Run: look, wait, await, stop, retry; and an output that is the same for all runs that went the same way."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import EngineProcess, until

from wattle_jupyter import run as runs_module
from wattle_jupyter.client import Client
from wattle_jupyter.errors import NotFound, RunFailed
from wattle_jupyter.lines import LogText, read_log, read_tail
from wattle_jupyter.run import Detached, Run, attach, runs
from wattle_jupyter.wire import RUN_MIME

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


def test_a_run_is_waited_for_and_tells_how_it_went(submit: Submit) -> None:
    run = submit(a="echo one; echo two", b={"run": "true", "needs": ["a"]})
    assert run.wait() is run
    assert (run.workflow, run.status, run["a"].status, run.reason) == ("w", "completed", "completed", "")
    assert [task.task for task in run] == ["a", "b"]
    assert repr(run) == "<Run of w: 2 tasks>"
    assert repr(run["a"]) == "<Task a of <Run of w: 2 tasks>>"


def test_waiting_for_what_has_ended_returns_at_once(submit: Submit, client: Client) -> None:
    run = submit(a="true").wait()
    assert attach(run.id[:8], client=client).wait().status == "completed"


def test_progress_is_told_of_every_state_that_a_task_ends_in(submit: Submit) -> None:
    seen: dict[str, str] = {}
    run = submit(a="true", b={"run": "true", "needs": ["a"]})
    run.wait(progress=lambda views: seen.update({view["task"]: view["state"] for view in views}))
    assert seen == {"a": "completed", "b": "completed"}


def test_a_failed_run_raises_only_if_asked_to(submit: Submit) -> None:
    run = submit(a="exit 3").wait()
    assert (run.status, run["a"].reason) == ("failed", "exit 3")
    with pytest.raises(RunFailed, match=r"w failed: .*\n  a: exit 3"):
        run.wait(check=True)


def test_a_failed_run_says_in_its_own_words_why(submit: Submit) -> None:
    run = submit(a="echo one; echo the disk is on fire; exit 3", **{f"b{n}": "exit 1" for n in range(5)}).wait()
    with pytest.raises(RunFailed) as caught:
        run.checked()
    _, first, *_, more, cure = str(caught.value).splitlines()
    assert first == "  a: exit 3: the disk is on fire"
    assert (more, cure) == ("  and 1 more", '  all of a log: `run["a"].logs()`')


def test_a_wait_may_end_before_the_run_does(submit: Submit) -> None:
    run = submit(a="sleep 600")
    with pytest.raises(TimeoutError, match=r"w was still \w+ after 0\.1 s; it goes on"):
        run.wait(timeout=0.1)
    assert not run.status.final
    assert run.cancel().wait(timeout=60).status == "cancelled"


def test_a_run_can_be_awaited_while_the_loop_goes_on(submit: Submit) -> None:
    async def both() -> tuple[Run, int]:
        run, ticks = submit(a="sleep 0.3"), 0
        waiting = asyncio.ensure_future(wait_for(run))
        while not waiting.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return waiting.result(), ticks

    async def wait_for(run: Run) -> Run:
        return await run

    run, ticks = asyncio.run(both())
    assert run.status == "completed"
    assert ticks > 3


def test_an_interrupt_while_waiting_detaches_and_says_so_in_one_line(submit: Submit) -> None:
    run = submit(a="sleep 600")

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Detached) as caught:
        run.wait(progress=interrupt)
    back = f'Back to it: `wattle_jupyter.attach("{run.id[:8]}")`; end it: `%wattle cancel {run.id[:8]}`'
    assert caught.value._render_traceback_() == [f"Detached; the run of w goes on. {back}"]
    with pytest.raises(KeyboardInterrupt) as plain:
        run.wait(progress=interrupt, quiet=True)
    assert not isinstance(plain.value, Detached)
    run.cancel().wait()


def test_a_cancelled_await_ends_in_a_loop_that_nothing_else_wakes(submit: Submit) -> None:
    run = submit(a="sleep 600")

    async def interrupted() -> None:
        waiting = asyncio.ensure_future(_awaited(run))
        await asyncio.sleep(0)
        signal.signal(signal.SIGALRM, lambda *_: waiting.cancel())  # as ipykernel takes an interrupt
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(asyncio.CancelledError):
            await waiting

    before = signal.getsignal(signal.SIGALRM)
    try:
        asyncio.run(interrupted())
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not run.status.final
    run.cancel().wait()


def test_an_interrupt_of_an_await_in_a_terminal_ends_it(submit: Submit) -> None:
    run = submit(a="sleep 600")
    loop = asyncio.new_event_loop()  # as IPython does it, which leaves interrupts to the loop
    loop.call_later(0.2, signal.raise_signal, signal.SIGINT)
    try:
        with pytest.raises(Detached, match="Detached; the run of w goes on"):
            loop.run_until_complete(_awaited(run))
        assert asyncio.all_tasks(loop) == set()
    finally:
        loop.close()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    run.cancel().wait()


async def _awaited(run: Run) -> Run:
    return await run


def test_an_await_that_is_cancelled_detaches(submit: Submit, capsys: pytest.CaptureFixture[str]) -> None:
    run = submit(a="sleep 600")

    async def give_up() -> None:
        async def wait_for() -> None:
            await run

        waiting = asyncio.ensure_future(wait_for())
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(give_up())
    assert "Detached; the run of w goes on" in capsys.readouterr().err
    assert not run.status.final
    run.cancel().wait()


def test_an_error_while_awaiting_arrives(submit: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    run = submit(a="true")

    def gone(*_: object) -> None:
        raise NotFound("gone")

    monkeypatch.setattr(Run, "_follow", gone)

    async def wait_for() -> None:
        await run

    with pytest.raises(NotFound, match="gone"):
        asyncio.run(wait_for())


def test_a_task_can_be_stopped_and_tried_again(submit: Submit, tmp_path: Path) -> None:
    run = submit(a="test -e flag || sleep 600")
    until(lambda: run["a"].status == "running")
    run["a"].stop()
    assert run.wait()["a"].status == "cancelled"
    (tmp_path / "flag").touch()
    run["a"].retry()
    assert run.wait().status == "completed"


def test_what_failed_is_tried_again(submit: Submit, tmp_path: Path) -> None:
    run = submit(a="test -e flag").wait()
    (tmp_path / "flag").touch()
    assert run.retry().wait().status == "completed"


def test_a_task_that_is_not_there_is_named_with_what_was_meant(submit: Submit) -> None:
    with pytest.raises(NotFound, match="w has no task `claen`; did you mean `clean`"):
        submit(clean="true")["claen"]


def test_values_that_a_task_left_are_there(submit: Submit) -> None:
    run = submit(a={"run": "echo n=3 >> $WATTLE_OUTPUT", "outputs": {"n": "how many"}}).wait()
    assert run["a"].outputs() == {"n": "3"}


# ----------------------------------------------------------------------------------------------------------------- logs


@pytest.mark.parametrize(("tail", "text"), [(None, "one\ntwo\nthrée\n"), (2, "two\nthrée\n"), (9, "one\ntwo\nthrée\n")])
def test_a_log_is_read_whole_or_from_its_end(submit: Submit, tail: int | None, text: str) -> None:
    run = submit(a="printf 'one\\ntwo\\nthrée\\n'").wait()
    assert run.logs("a", tail) == text
    assert repr(run.logs("a", tail)) == text
    assert isinstance(run["a"].logs(), LogText)


def test_a_long_log_is_whole_over_its_pages(submit: Submit, client: Client) -> None:
    run = submit(a="seq 400000").wait()
    assert read_log(client, run.id, "a") == "".join(f"{n}\n" for n in range(1, 400001))
    assert read_log(client, run.id, "a", 20_000) == "".join(f"{n}\n" for n in range(380001, 400001))


def test_the_end_of_a_log_says_where_to_go_on(submit: Submit, client: Client, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = submit(a=f"printf 'one\\ntwo\\nthr'; while [ ! -e {gate} ]; do sleep 0.02; done; echo ee")
    until(lambda: read_log(client, run.id, "a").endswith("thr"))
    text, attempt, end = read_tail(client, run.id, "a", 2)
    assert (text, attempt, end) == ("two\nthr", client.task(run.id, "a")["attempt"], 11)
    gate.touch()
    assert "".join(client.log_stream(run.id, "a", offset=end, attempt=attempt)) == "ee\n"


def test_a_task_that_never_started_has_an_empty_log(submit: Submit) -> None:
    run = submit(a="false", b={"run": "true", "needs": ["a"]}).wait()
    assert run.logs("b") == ""
    assert run.logs("b", 5) == ""
    assert "── b ──" not in run.logs()


# ---------------------------------------------------------------------------------------------------------------- looks


def test_runs_that_went_the_same_way_have_equal_outputs(submit: Submit) -> None:
    first, second = (submit(a="true", b={"run": "exit 3", "needs": ["a"]}).wait() for _ in "12")
    (one, about), (other, _) = first._repr_mimebundle_(), second._repr_mimebundle_()
    assert json.dumps(one) == json.dumps(other)
    assert first.id not in json.dumps(one)
    assert about["wattle"]["run"] == first.id
    assert set(one) == {"text/plain", "image/svg+xml", RUN_MIME}
    assert "exit 3" in one["text/plain"]
    assert one[RUN_MIME]["workflow"] == "w"


def test_a_run_that_nobody_waited_for_is_shown_as_its_plan(submit: Submit) -> None:
    run = submit(a="true")
    plan = run._repr_mimebundle_()[0]
    until(lambda: run.status.final)
    assert run._repr_mimebundle_()[0] == plan
    assert "completed" in run.wait()._repr_mimebundle_()[0]["image/svg+xml"]
    assert "completed" not in plan["image/svg+xml"]


def test_a_kernel_gets_the_live_view_too(submit: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs_module, "has_front_end", lambda: True)
    bundle, _ = submit(a="true")._repr_mimebundle_()
    assert bundle["application/vnd.jupyter.widget-view+json"]["version_major"] == 2


def test_runs_are_listed_newest_first(submit: Submit, client: Client) -> None:
    made = [submit(a="true").wait().id for _ in range(2)]
    assert [run.id for run in runs("w", client=client)][:2] == made[::-1]
    assert {run.status for run in runs("w", "completed", client=client)} == {"completed"}
    assert attach("last", client=client).id == made[-1]

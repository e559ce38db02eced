"""The verbs: what a command line means, what it says when it is wrong, what it prints."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from processes import EngineProcess, until

from wattle_jupyter import owner, tables, verbs
from wattle_jupyter.errors import NotFound, WattleError
from wattle_jupyter.run import Run, did_you_mean
from wattle_jupyter.verbs import BadUsage, Help, Scene, do, parse

TABLE = yaml.safe_load((Path(__file__).parent / "fixtures" / "bad_lines.yaml").read_text())


def scene(said: list[str] | None = None, **options: object) -> Scene:
    lines = said if said is not None else []
    return Scene(write=lines.append, **options)  # type: ignore[arg-type]  # of the test's own making


@pytest.mark.parametrize("row", TABLE["without an engine"], ids=lambda row: row["line"])
def test_a_bad_line_gives_a_clear_message_and_starts_no_engine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, row: dict[str, str]
) -> None:
    def no_engine(*_: object, **__: object) -> None:
        raise AssertionError("an engine was looked for")

    monkeypatch.setattr(owner, "find", no_engine)
    monkeypatch.chdir(tmp_path)
    if "file" in row:
        Path(shlex.split(row["line"])[1]).write_bytes(row["file"].encode("latin-1"))
    with pytest.raises(WattleError) as caught:
        do(shlex.split(row["line"]), scene())
    assert str(caught.value) == row["message"].rstrip("\n")
    assert isinstance(caught.value, BadUsage) == (row.get("code", 2) == 2)


def test_an_open_quote_is_named() -> None:
    with pytest.raises(BadUsage, match=r"%wattle: no closing quotation in: run 'etl"):
        verbs.split("run 'etl", "%wattle")


@pytest.mark.parametrize("verb", [verb.name for verb in verbs.TABLE])
def test_every_verb_has_help_with_examples_that_can_be_parsed(verb: str) -> None:
    with pytest.raises(Help) as shown:
        parse([verb, "-h"], "wattle")
    examples = re.findall(r"(?m)^  wattle (.*)$", str(shown.value))
    assert examples
    for example in examples:
        assert parse(example.partition(" >>")[0].split(), "wattle").verb == verb


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"]])
def test_no_words_at_all_show_all_verbs(words: list[str]) -> None:
    text = do(words, scene()).text
    assert all(f"\n  {verb.name}" in text for verb in verbs.TABLE)


def test_ls_is_list() -> None:
    assert parse(["ls"], "wattle").do is parse(["list"], "wattle").do


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.1", 0.1), ("3", 3), ("true", True), ('["a"]', ["a"]), ("ab", "ab"), ("", ""), ("a=b", "a=b"), ("NaN", "NaN")],
)
def test_a_parameter_is_json_where_it_can_be(text: str, value: object) -> None:
    assert verbs.parameter(f"x={text}") == ("x", value)


@given(st.text())
def test_any_text_can_be_a_parameter(text: str) -> None:
    name, value = verbs.parameter(f"x={text}")
    assert name == "x"
    json.dumps(value, allow_nan=False)


def test_a_file_is_told_from_a_name() -> None:
    assert [verbs.is_file(name) for name in ("etl", "etl.v2", "etl.yaml", "./etl", "x.toml")] == [
        False, False, True, True, True,
    ]  # fmt: skip


def test_a_file_starts_in_its_own_folder_and_takes_params_from_the_line(tmp_path: Path) -> None:
    path = tmp_path / "etl.wattle.yaml"
    path.write_text("tasks:\n  a: echo {{ x }}\n")
    spec = verbs.load_file(str(path), {"x": 3, "unused": 1})
    assert (spec["name"], spec["working_dir"], spec["params"]) == ("etl", str(tmp_path), {"x": 3})


@pytest.mark.parametrize(("name", "text"), [("m.json", '{"tasks": {"a": "echo"}}'), ("m.toml", 'tasks.a = "echo"')])
def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8-sig")
    assert verbs.load_file(str(tmp_path / name))["name"] == "m"


def test_serve_is_not_for_notebooks() -> None:
    with pytest.raises(BadUsage, match="a kernel starts the engine by itself"):
        do(["serve"], scene(notebook=True))


def test_doctor_looks_without_starting_or_making_anything(tmp_path: Path) -> None:
    outcome = do(["doctor", "--store", str(tmp_path / "none")], scene())
    assert f"{tmp_path / 'none'} (not made yet; the first run makes it)" in outcome.text
    assert "none; one is started when it is needed" in outcome.text
    assert list(tmp_path.iterdir()) == []


def test_doctor_reads_the_settings_as_a_server_would(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WATTLE_SCHEDULER__SLOTZ", "3")
    outcome = do(["doctor", "--store", str(tmp_path / "none")], scene())
    assert "no server can start with these settings: the environment (WATTLE_SCHEDULER__SLOTZ)" in outcome.text
    assert "did you mean `slots`?" in outcome.text
    assert outcome.code == 1


def test_doctor_says_what_is_wrong_and_how_to_mend_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "owner.json").write_text("{")
    outcome = do(["doctor", "--store", str(tmp_path), "--json"], scene())
    problems = "\n".join(json.loads(outcome.text)["problems"])
    assert "chmod 700" in problems
    assert "owner.json is not JSON; delete it" in problems
    assert outcome.code == 1


# --------------------------------------------------------------------------------------------------------------- tables


@pytest.mark.parametrize(
    ("took", "text"),
    [
        (0.04, "< 0.1 s"),
        (0.1, "0.1 s"),
        (9.94, "9.9 s"),
        (12.3, "12 s"),
        (200, "3 min 20 s"),
        (3600 * 2 + 301, "2 h 05 min"),
    ],
)
def test_a_duration_reads_well(took: float, text: str) -> None:
    minutes, rest = divmod(took, 60)
    hours, minutes = divmod(int(minutes), 60)
    end = f"2026-01-01T{hours:02}:{minutes:02}:{rest:06.3f}Z"
    assert tables.seconds("2026-01-01T00:00:00.000Z", end) == text


def test_a_duration_that_is_unknown_is_empty() -> None:
    assert tables.seconds(None, "2026-01-01T00:00:00.000Z") == ""


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert tables.columns(("a", "bb"), [("long", "x"), ("y", "")]) == "a     bb\nlong  x\ny"


def test_a_slip_of_the_finger_is_forgiven() -> None:
    assert did_you_mean("clena", ["fetch", "clean"]) == "; did you mean `clean`?"
    assert did_you_mean("zzz", ["fetch", "clean"]) == "; there are: fetch, clean"
    assert did_you_mean("zzz", []) == ""


# ------------------------------------------------------------------------------------------- against the real engine

ETL = """
name: etl
tasks:
  fetch: echo got {{ n }}
  clean: {run: "echo cleaned", needs: [fetch]}
params: {n: 1}
"""


@pytest.fixture
def place(engine: EngineProcess, tmp_path: Path) -> Scene:
    """A terminal on the engine's store, with the workflow `etl` stored."""
    (tmp_path / "etl.yaml").write_text(ETL)
    there = scene(store=engine.store)
    do(["create", str(tmp_path / "etl.yaml")], there)
    return there


def _row(workflow: str, place: Scene) -> str:
    return next(line for line in do(["list"], place).text.splitlines() if line.startswith(f"{workflow} "))


def test_a_workflow_that_never_ran_is_listed_as_such(place: Scene) -> None:
    place.client.define({"name": "idle", "tasks": {"a": {"run": "true"}}})
    assert _row("idle", place).endswith("none yet")


def test_a_workflow_runs_to_its_end_and_every_verb_can_tell_of_it(place: Scene) -> None:
    outcome = do(["run", "etl", "-w", "-p", "n=7"], place)
    assert outcome.code == 0
    assert outcome.text.startswith("etl: completed")
    assert "fetch" in do(["status", "last"], place).text
    assert do(["logs", "last/fetch"], place).text == "got 7"
    assert do(["logs", "last", "--tail", "1"], place).text == "── fetch ──\ngot 7\n── clean ──\ncleaned"
    assert _row("etl", place).endswith("completed")
    assert json.loads(do(["ps", "--json"], place).text) == []
    assert "2 tasks, mode dependency" in do(["show", "etl"], place).text
    assert "<svg" in do(["graph", "etl", "--svg"], place).text


def test_waiting_says_each_change_of_state(place: Scene) -> None:
    said: list[str] = []
    place.write = said.append
    do(["run", "etl", "-w"], place)
    assert any("✓ completed" in line and "fetch" in line for line in said)
    assert any("✓ completed" in line and "clean" in line for line in said)


def test_a_log_is_followed_to_its_end(place: Scene) -> None:
    said: list[str] = []
    place.write = said.append
    do(["run", "etl"], place)
    do(["logs", "last/clean", "-f"], place)
    assert "\n".join(said).endswith("cleaned")


def test_a_log_is_followed_from_its_last_lines_without_a_gap_or_a_torn_line(place: Scene, tmp_path: Path) -> None:
    said: list[str] = []
    gate, path = tmp_path / "gate", tmp_path / "slow.yaml"
    path.write_text(f"tasks:\n  a: printf 'one\\ntwo\\nthr'; while [ ! -e {gate} ]; do sleep 0.02; done; echo ee\n")
    do(["run", str(path)], place)
    until(lambda: do(["logs", "last/a"], place).text.endswith("thr"))

    def write(text: str) -> None:
        said.append(text)
        gate.touch()  # the rest is written once the beginning was shown

    place.write = write
    do(["logs", "last/a", "-f", "--tail", "2"], place)
    assert said == ["two", "three"]


def test_a_failed_run_has_exit_code_1_and_can_be_retried(place: Scene, tmp_path: Path) -> None:
    said: list[str] = []
    place.write = said.append
    path = tmp_path / "bad.yaml"
    path.write_text(f"tasks:\n  once: test -e {tmp_path}/flag\n")
    outcome = do(["run", str(path), "-w"], place)
    assert (outcome.code, outcome.text.split()[:2]) == (1, ["bad:", "failed"])
    assert said[-1].startswith("what once wrote: `wattle logs ")
    (tmp_path / "flag").touch()
    do(["retry", "last/once"], place)
    assert do(["attach", "last"], place).code == 0


def test_a_run_can_be_cancelled_and_a_task_stopped(place: Scene, tmp_path: Path) -> None:
    path = tmp_path / "long.yaml"
    path.write_text("tasks:\n  a: sleep 600\n  b: sleep 600\n")
    do(["run", str(path)], place)
    assert do(["stop", "last/a"], place).text == "a: asked to stop"
    do(["cancel", "last"], place)
    assert "cancelled" in do(["attach", "last"], place).text
    assert do(["cancel", "last"], place).text == "long: cancelled"


def test_what_has_ended_is_not_said_to_be_asked(place: Scene) -> None:
    do(["run", "etl", "-w"], place)
    assert do(["stop", "last/clean"], place).text == "clean: completed already, nothing to stop"
    assert do(["cancel", "last"], place).text == "etl: completed already, nothing to end"


def test_a_line_about_what_is_not_there_says_what_was_meant(make_engine: Callable[..., EngineProcess]) -> None:
    there = scene(store=make_engine().launch().store)
    there.client.define(yaml.safe_load(ETL))
    run = Run(there.client, there.client.submit("etl")).wait().id[:8]
    said = {}
    for row in TABLE["with an engine"]:
        with pytest.raises(WattleError) as caught:
            do(row["line"].split(), there)
        said[row["line"]] = str(caught.value).replace(run, "{run}")
    assert said == {row["line"]: row["message"] for row in TABLE["with an engine"]}


def test_a_file_without_a_suffix_is_not_taken_for_a_workflow_silently(
    place: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("etl.yam").touch()
    with pytest.raises(NotFound, match=r"no workflow `etl.yam`; the name of a workflow file ends in .yaml"):
        do(["run", "etl.yam"], place)


def test_a_run_that_is_gone_is_not_taken_for_its_workflow(place: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object, **__: object) -> None:
        raise NotFound("no run '7c2efb85'")

    monkeypatch.setattr(Run, "wait", gone)
    with pytest.raises(NotFound, match="no run '7c2efb85'"):
        do(["run", "etl", "-w"], place)


def test_a_task_that_is_not_there_is_named_with_what_was_meant(place: Scene) -> None:
    do(["run", "etl", "-w"], place)
    for verb in ("stop", "logs", "retry"):
        with pytest.raises(WattleError, match="did you mean `clean`"):
            do([verb, "last/claen"], place)


def test_one_is_singular() -> None:
    assert [tables.some(n, "task") for n in (0, 1, 2, 1200)] == ["0 tasks", "1 task", "2 tasks", "1,200 tasks"]

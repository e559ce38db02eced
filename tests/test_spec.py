from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from wattle_jupyter import spec
from wattle_jupyter.errors import SpecError, TooLarge
from wattle_jupyter.model import Output, Task, Workflow

T = TypeVar("T")
FIXTURES = Path(__file__).parent / "fixtures"
BAD: list[dict[str, str]] = yaml.safe_load((FIXTURES / "bad_specs.yaml").read_text(encoding="utf-8"))
DAG_TEST: dict[str, Any] = json.loads((FIXTURES / "dag_test.json").read_text(encoding="utf-8"))


def one(task: object, **head: object) -> Task:
    return spec.load({"name": "w", "tasks": {"a": task}, **head}).tasks["a"]


def attempt(act: Callable[[], T]) -> T | SpecError:
    try:
        return act()
    except SpecError as error:
        return error


# ------------------------------------------------------------------------------------------- what is wrong with specs


@pytest.mark.parametrize("row", BAD, ids=[row["case"] for row in BAD])
def test_a_bad_spec_is_told_exactly_so(row: dict[str, str]) -> None:
    with pytest.raises(SpecError) as caught:
        spec.load(spec.from_text(row["spec"], ".yaml"))
    assert str(caught.value) == row["says"]


def test_no_message_comes_from_a_library() -> None:
    said = "\n".join(row["says"] for row in BAD).lower()
    foreign = [
        "pydantic",
        "input should",
        "valid string",
        "extra inputs",
        "token",
        "scanner",
        "traceback",
        "mapping values",
    ]
    assert [word for word in foreign if word in said] == []


def test_problems_carry_path_reason_cure_and_the_nearest_known_line() -> None:
    lines = {"tasks.a": 3, "tasks.a.retries": 5, "mode": 1}
    data = {"name": "w", "mode": "x", "tasks": {"a": {"run": "x", "retries": -1, "tymeout": 1}}}
    with pytest.raises(SpecError) as caught:
        spec.load(data, lines=lines)
    assert [(p.path, p.line) for p in caught.value.problems] == [
        ("mode", 1),
        ("tasks.a.tymeout", 3),
        ("tasks.a.retries", 5),
    ]
    assert caught.value.details["problems"][1]["cure"] == "did you mean `timeout`?"


def test_a_flood_of_problems_is_cut_off() -> None:
    with pytest.raises(SpecError) as caught:
        spec.load({"name": "w", "tasks": {f"t{i}": {"run": "x", "needs": ["gone"]} for i in range(500)}})
    assert len(caught.value.problems) == 101
    assert str(caught.value).endswith("and 400 more problems; cure these first")


def test_a_workflow_may_have_100_000_tasks_and_not_one_more() -> None:
    tasks = {f"t{i}": ["true"] for i in range(100_000)}
    assert len(spec.load({"name": "w", "tasks": tasks}).tasks) == 100_000
    with pytest.raises(TooLarge, match="100,001 tasks; the limit is 100,000"):
        spec.load({"name": "w", "tasks": {**tasks, "more": ["true"]}})


WORDS = st.sampled_from(
    [
        "name",
        "tasks",
        "workers",
        "run",
        "needs",
        "inputs",
        "outputs",
        "env",
        "params",
        "mode",
        "retries",
        "path",
        "a",
        "b",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | WORDS, inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(JSON | st.fixed_dictionaries({"name": st.just("w"), "tasks": st.dictionaries(WORDS, JSON, max_size=3)}))
def test_whatever_comes_in_is_a_workflow_or_a_spec_error(data: object) -> None:
    found = attempt(lambda: spec.load(data))
    spec.free_names(data)
    if isinstance(found, Workflow):
        assert spec.load(spec.dump(found)) == found
    else:
        assert all(problem.reason and "something else" not in problem.reason for problem in found.problems)


# ---------------------------------------------------------------------------------------------------- round trips

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,9}", fullmatch=True)
KEYS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,9}", fullmatch=True)
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=10)
PATHS = TEXT.filter(str.strip)
SECONDS = st.floats(0, 1e6)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
PARAMS = st.recursive(
    st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
RUNS = (
    st.lists(TEXT.map(lambda s: s.replace("{", "")), max_size=3).map(lambda words: ["prog", *words])
    | TEXT.map(lambda s: "echo " + s.replace("{", "")).map(str.strip)
    | st.sampled_from(
        ["train.py --lr 3", "a.sh > log", "echo {{ p0 }}", "set -e\nls | wc", "plot.R 'a b'", "x '' \"y z\""]
    )
)
OUTPUTS = (
    st.none()
    | st.sampled_from(["x.csv", "a/b", "number of rows"])
    | PATHS.map(lambda s: s.replace("{", "")).filter(str.strip).map(lambda s: {"path": s})
    | st.builds(lambda text, need: {"description": text, "required": need}, TEXT, st.booleans())
)


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    mode = draw(st.sampled_from(["dependency", "sequential", "parallel"]))
    tasks: dict[str, Any] = {}
    for name in names:
        before = list(tasks)
        task: dict[str, Any] = {"run": draw(RUNS), "outputs": draw(st.dictionaries(KEYS, OUTPUTS, max_size=2))}
        task["env"] = draw(st.dictionaries(KEYS, TEXT.map(lambda s: s.replace("{", "")), max_size=2))
        if before:
            task["needs"] = draw(st.lists(st.sampled_from(before), unique=True))
            sources = [f"{up}/{key}" for up in before for key in tasks[up]["outputs"]]
            if sources and mode != "parallel":
                task["inputs"] = {
                    f"i{i}": s for i, s in enumerate(draw(st.lists(st.sampled_from(sources), max_size=3)))
                }
                if draw(st.booleans()):
                    task["env"]["FROM"] = "{{ " + draw(st.sampled_from(sources)).replace("/", ".") + " }}"
        extra = {"retries": st.integers(0, 9), "retry_delay": SECONDS, "retry_backoff": st.floats(1, 9),
                 "grace": SECONDS,
                 "timeout": st.floats(1, 1e6), "priority": st.sampled_from(["high", "low"]), "exit_file": st.booleans(),
                 "working_dir": PATHS}  # fmt: skip
        if draw(st.integers(0, 4)) == 0:
            del task["run"]
            task["call"] = {"object": "0f" * 32, "source": draw(TEXT), "params": draw(st.sampled_from([[], ["p0"]]))}
        tasks[name] = task | draw(st.fixed_dictionaries({}, optional=extra))
    optional = {"working_dir": PATHS.map(lambda s: "/" + s), "on_failure": st.sampled_from(["stop", "cancel"]),
                "max_parallel": st.integers(1, 9), "concurrent": st.booleans(), "description": TEXT, "python": PATHS,
                "priority": st.sampled_from(["high", "low"])}  # fmt: skip
    head = draw(st.fixed_dictionaries({}, optional=optional))
    params = {"p0": 1, **draw(st.dictionaries(KEYS, PARAMS, max_size=2))}
    return {"name": draw(NAMES), "mode": mode, "params": params, **head, "tasks": tasks}


class Quoted(yaml.SafeDumper):
    """All text in quotes: what PyYAML leaves bare is a number in YAML 1.2 now and then."""


Quoted.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


@settings(max_examples=150, deadline=None)
@given(specs())
def test_a_workflow_comes_back_from_its_canonical_form(data: dict[str, Any]) -> None:
    workflow = spec.load(data)
    form = json.loads(json.dumps(spec.dump(workflow)))
    assert spec.load(form) == workflow == spec.restore(form)
    assert list(spec.load(form).tasks) == list(workflow.tasks)
    assert spec.dump(spec.load(form)) == form
    assert spec.digest(spec.load({**form, "name": "other"})) == spec.digest(workflow)
    assert workflow == spec.load(spec.from_text(yaml.dump(form, Dumper=Quoted, sort_keys=False), ".yaml"))


def test_a_number_that_no_database_holds_is_refused() -> None:
    with pytest.raises(SpecError, match="does not fit into 64 bits; write it as text"):
        spec.load({"name": "w", "params": {"n": 2**63}, "tasks": {"a": "true"}})


def test_defaults_are_left_out_of_the_canonical_form() -> None:
    assert spec.dump(spec.load({"name": "w", "tasks": {"a": {"run": ["true"], "retries": 0, "needs": []}}})) == {
        "name": "w",
        "tasks": {"a": {"run": ["true"]}},
    }


def test_the_digest_sees_every_change_but_the_name_and_the_order_of_params() -> None:
    base = {"name": "w", "params": {"a": 1, "b": 2}, "tasks": {"x": "true", "y": "true"}}
    digest = spec.digest(spec.load(base))
    assert digest == spec.digest(spec.load({**base, "name": "v", "params": {"b": 2, "a": 1}}))
    others = [{**base, "params": {"a": 1}}, {**base, "tasks": {"y": "true", "x": "true"}}, {**base, "mode": "parallel"}]
    assert len({digest, *(spec.digest(spec.load(other)) for other in others)}) == 4
    assert len(digest) == 32


# ------------------------------------------------------------------------------------ the Wattle Scheduler format


def test_a_file_in_the_wattle_scheduler_format_loads_unchanged_and_comes_back() -> None:
    workflow = spec.load(DAG_TEST)
    assert spec.wattle_format(workflow) == DAG_TEST
    assert workflow.on_failure == "cancel"
    assert workflow.tasks["clean"] == Task(
        name="clean",
        run=("python", "clean.py"),
        env={"LEVEL": "2"},
        inputs={"rows": "extract/rows"},
        outputs={"clean": Output(path="clean.csv", required=False)},
    )
    assert spec.load(spec.dump(workflow)) == workflow


def test_that_file_means_the_same_in_yaml_and_toml() -> None:
    toml = "name = 'w'\n[[workers]]\nname = 'a'\ncommand = 'echo'\nargs = ['x']\n"
    text = "name: w\nworkers:\n- name: a\n  command: echo\n  args: [x]\n"
    assert spec.load(spec.from_text(toml, ".toml")) == spec.load(spec.from_text(text, ".yml"))


def test_braces_are_text_in_that_format() -> None:
    worker = {
        "name": "a",
        "command": "docker",
        "args": ["ps", "--format", "{{.Names}} \\{{"],
        "env_vars": {"F": "{{ x }}"},
    }
    workflow = spec.load({"name": "w", "workers": [worker]})
    assert spec.free_names({"name": "w", "workers": [worker]}) == set()
    assert spec.wattle_format(workflow)["workers"] == [worker]


def test_an_output_that_is_a_description_is_a_value_there() -> None:
    worker = {"name": "a", "command": "true", "outputs": {"rows": "Number of rows.", "file": "out.csv"}}
    workflow = spec.load({"name": "w", "workers": [worker]})
    assert workflow.tasks["a"].outputs == {
        "rows": Output(description="Number of rows.", required=False),
        "file": Output(path="out.csv", required=False),
    }
    assert spec.wattle_format(workflow)["workers"] == [worker]


def test_a_command_with_blanks_and_no_arguments_is_a_command_line() -> None:
    workflow = spec.load({"name": "w", "workers": [{"name": "a", "command": "echo a > b"}]})
    assert workflow.tasks["a"].run == "echo a > b"
    assert spec.wattle_format(workflow)["workers"] == [{"name": "a", "command": "sh", "args": ["-c", "echo a > b"]}]


# ------------------------------------------------------------------------------------------------- commands, values


@pytest.mark.parametrize(
    ("given", "run", "script"),
    [
        ("python x.py 'a b'", ("python", "x.py", "a b"), None),
        ("train.py --lr 3", ("train.py", "--lr", "3"), "train.py"),
        ("./run.sh > log", "./run.sh > log", "./run.sh"),
        ("plot.R {{ p }}", "plot.R {{ p }}", "plot.R"),
        ("cd x && train.py", "cd x && train.py", None),
        ("echo train.py", ("echo", "train.py"), None),
        ("ls *.csv", "ls *.csv", None),
        (["a", 1, 2.5], ("a", "1", "2.5"), None),
        (["train.py"], ("train.py",), None),
    ],
)
def test_a_command_goes_to_the_shell_only_if_it_must(given: object, run: object, script: str | None) -> None:
    task = one(given, params={"p": 1})
    assert (task.run, task.script) == (run, script)


@pytest.mark.parametrize(
    ("given", "seconds"), [("90s", 90), ("5m", 300), ("1h30m", 5400), ("1.5h", 5400), ("1d", 86400), (7, 7), (0.5, 0.5)]
)
def test_durations_are_seconds(given: object, seconds: float) -> None:
    assert one({"run": "x", "timeout": given}).timeout == seconds


@pytest.mark.parametrize(
    ("given", "output"),
    [
        ("report.html", Output(path="report.html")),
        ("out/model", Output(path="out/model")),
        (None, Output()),
        ("the score", Output(description="the score")),
        ({"path": "results"}, Output(path="results")),
        ({"path": "x.csv", "required": False}, Output(path="x.csv", required=False)),
    ],
)
def test_an_output_is_a_file_if_it_looks_like_a_path(given: object, output: Output) -> None:
    assert one({"run": "x", "outputs": {"o": given}}).outputs["o"] == output


def test_values_in_the_environment_become_text() -> None:
    assert one({"run": "x", "env": {"A": 1, "B": 2.5, "C": True, "D": "x"}}).env == {
        "A": "1",
        "B": "2.5",
        "C": "true",
        "D": "x",
    }


def test_templates_make_data_edges() -> None:
    tasks = {"a.b": {"run": "x", "outputs": ["k", "l"]}, "c": {"run": "echo {{ a.b.k }}", "env": {"L": "{{ a.b.l }}"}}}
    assert spec.load({"name": "w", "tasks": tasks}).tasks["c"].references == ("a.b/k", "a.b/l")


def test_a_task_with_one_output_is_that_output_in_templates() -> None:
    tasks = {
        "a": {"run": "true", "outputs": ["n"]},
        "b": {"run": "echo {{ a }} {{a|raw}} \\{{ a }}", "env": {"X": "{{ a }}"}},
    }
    workflow = spec.load({"name": "w", "tasks": tasks})
    assert workflow.tasks["b"].run == "echo {{ a.n }} {{a.n|raw}} \\{{ a }}"
    assert workflow.tasks["b"].env == {"X": "{{ a.n }}"}
    assert workflow.tasks["b"].upstream == ("a",)
    with_param = spec.load({"name": "w", "params": {"a": 1}, "tasks": tasks})
    assert with_param.tasks["b"].upstream == ()


def test_a_task_with_a_result_is_that_in_templates_whatever_else_it_leaves() -> None:
    tasks = {"a": {"run": "true", "outputs": ["n", "result"]}, "b": "echo {{ a }}"}
    assert spec.load({"name": "w", "tasks": tasks}).tasks["b"].run == "echo {{ a.result }}"
    tasks["a"] = {"run": "true", "outputs": ["n", "m"]}
    with pytest.raises(SpecError, match="names a task, not one of its outputs"):
        spec.load({"name": "w", "tasks": tasks})


def test_the_given_name_goes_before_the_one_in_the_data() -> None:
    assert spec.load({"name": "one", "tasks": {"a": "x"}}, name="two").name == "two"


def test_arrows_in_task_names_are_needs() -> None:
    tasks = {"a": "x", "b <- a": {"run": "x"}, "c <- a": {"run": "x", "needs": "b"}}
    assert spec.load({"name": "w", "tasks": tasks}).tasks["c"].needs == ("a", "b")


def test_free_names_are_those_that_nothing_defines() -> None:
    tasks = {
        "a": "x {{ lr }} {{ b.k }} {{ n }}",
        "b <- a": {"run": ["{{ m }}"], "env": {"E": "{{ e }}"}},
        "c": 5,
        "d": "{{ (",
    }
    assert spec.free_names({"tasks": tasks, "params": {"n": 1}, "env": {"W": "{{ w }}"}}) == {"lr", "m", "e", "w"}


# ------------------------------------------------------------------------------------------------------- notations


@pytest.mark.parametrize(
    ("text", "value"),
    [("no", "no"), ("1:30", "1:30"), ("0123", "0123"), ("0x1F", 31), ("0o17", 15), ("1e3", 1000.0),
     ("E0", "E0"), ("-E5", "-E5"), (".", "."), ("5.", 5.0), (".5", 0.5),
     ("12e4567", "12e4567"), ("true", True), ("~", None), ("'5'", "5"), ("1_000", "1_000"),
     ("2026-01-01", "2026-01-01"),
     ("9" * 40, "9" * 40), ("-", None), ("!!str 5", "5")],
)  # fmt: skip
def test_yaml_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    assert spec.from_text(f"- {text}" if text != "-" else "-", ".yaml") == [value]


@pytest.mark.parametrize(
    ("text", "suffix", "message"),
    [
        ('{"a": 1,\n"a": 2}', ".json", "line 2: the key `a` is there twice in one object; keep one of them"),
        ('{"a":\nNaN}', ".json", "line 2: NaN is not JSON; write a number, text or null"),
        ('{"a":\n}', ".json", "line 2: not valid JSON at character 1: expecting value"),
        ("[" * 100_000, ".json", "nested deeper than 50 levels; make it flatter"),
        ("[" + "9" * 5000 + "]", ".json", "a number with too many digits; write it as text"),
        ("a = 1\na = 2", ".toml", "line 2: not valid TOML: cannot overwrite a value"),
        ("a = \n", ".toml", "line 1: not valid TOML: invalid value"),
        ("a: " + "[" * 60 + "]" * 60, ".yaml", "line 1: nested deeper than 50 levels; make it flatter"),
        ("a: \x01", ".yaml", "line 1: a character that YAML does not allow (a control character, "
         "or half of a surrogate pair); remove it"),
        ("a:\n  b: '\ud800'", ".yaml", "line 2: half of a surrogate pair; remove it"),
        ("a: [x,\nb", ".yaml", "line 1: brackets that are not closed, or a text that starts with `[`; "
         "put the text in quotes, or write `|` and the text indented on the next lines"),
    ],
)  # fmt: skip
def test_a_text_that_cannot_be_read_is_refused_with_its_line(text: str, suffix: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        spec.from_text(text, suffix)
    assert str(caught.value) == message


def test_aliases_work_but_cannot_be_a_bomb() -> None:
    assert spec.from_text("a: &x {k: 1}\nb: *x\n", ".yaml") == {"a": {"k": 1}, "b": {"k": 1}}
    levels = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(SpecError, match="aliases that expand to more"):
        spec.from_text("\n".join(["a0: &a0 [x]", *levels]), ".yaml")


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab: \n\t-[]{}&*!|>'\"#%@`,?<x1.\\", max_size=40))
def test_any_text_is_data_or_a_spec_error_with_a_line(text: str) -> None:
    found = attempt(lambda: spec.from_text(text, ".yaml"))
    assert not isinstance(found, SpecError) or found.problems[0].line is not None


def test_an_empty_workflow_object_is_the_default_of_every_field() -> None:
    assert spec.load({"name": "w", "tasks": {"a": ["x"]}}) == Workflow(
        name="w", tasks={"a": Task(name="a", run=("x",))}
    )

"""What the benchmarks are made of. What they measure is nobody's assertion: `python3 dev.py bench` prints it."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import __main__ as command  # noqa: E402
from benchmarks import (  # noqa: E402
    dags,
    growth,
    machine,
    memory,
    pairing,
    panels,
    peers,
    probe,
    report,
    soak,
    trend,
    turns,
    workshop,
)
from benchmarks.pairing import Row, Target  # noqa: E402
from wattle_jupyter import spec  # noqa: E402


@pytest.mark.parametrize("shape", dags.SHAPES)
def test_a_shape_is_a_workflow_of_ours_and_comes_back_from_its_file(shape: str, tmp_path: Path) -> None:
    dag = dags.SHAPES[shape](50)
    assert len(dag) == 50
    assert dags.read_text(str(dags.write_text(dag, tmp_path / "dag"))) == dag
    workflow = spec.load(dags.spec(dag, "w", tmp_path))
    assert {name: list(task.upstream) for name, task in workflow.tasks.items()} == dag


def test_the_floor_in_c_runs_a_dag_in_order(tmp_path: Path) -> None:
    loop = workshop.spawn_loop(tmp_path)
    file = dags.write_text(dags.layered(30), tmp_path / "dag")
    subprocess.run([loop, file, "4"], check=True, timeout=30)
    file.write_text("a\nb nothing\n")
    assert subprocess.run([loop, file, "4"], capture_output=True, check=False).returncode == 2


def test_runs_take_turns_and_ratios_are_of_the_same_turn() -> None:
    order: list[str] = []
    times = {"ours": iter([1.0, 2.0, 9.0]), "theirs": iter([2.0, 4.0, 9.0])}

    def measure(who: str) -> float:
        order.append(who)
        return next(times[who])

    samples = pairing.alternate({w: lambda w=w: measure(w) for w in times}, rounds=3, seconds=60)  # type: ignore[misc]
    assert order == ["ours", "theirs"] * 3
    rows = pairing.rows("w", samples, scale=1000, beside="theirs", targets=[Target("ours", "theirs", most=0.4)])
    assert [(r.who, r.median, r.ratio, r.met) for r in rows] == [
        ("ours", 2000.0, 0.5, False),
        ("theirs", 4000.0, None, None),
    ]


def test_two_turns_are_taken_however_long_they_take() -> None:
    assert pairing.alternate({"a": lambda: 1.0}, rounds=9, seconds=0.0) == {"a": [1.0, 1.0]}


def test_tables_go_between_their_marks_and_plots_are_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    marks = ("x", "old"), ("summary", "old")
    blocks = [f"<!-- bench:{name} -->\n{text}\n<!-- end of bench:{name} -->\n" for name, text in marks]
    page.write_text("one\n" + "two\n".join(blocks))
    monkeypatch.setattr(report, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(report, "PAGES", (page, tmp_path / "absent.md"))
    rows = [
        Row("a & b", "wattle", 1.5, 1.0, ratio=0.5, beside="ninja", target="≤ 1 ×", met=True, more={"cpu": 0.25}),
        Row("a & b", "ninja", 3.0, 2.5),
    ]
    machine = dict.fromkeys(("at", "cores", "cpu", "memory_gib", "kernel", "file_system", "python", "load"), "m")
    report.save("x", "Title <1>", "Note.", [row.as_dict() for row in rows], machine)
    text = page.read_text()
    assert "old" not in text
    assert "| a & b | wattle (cpu 0.25) | 1.5 ms/task | 1 | 1 | 0.50 × ninja | ≤ 1 × | met |" in text
    assert "| Title <1>, a & b | wattle : ninja | 0.5 × | ≤ 1 × | met |" in text
    assert text.startswith("one\n")
    assert "\ntwo\n" in text
    picture = ET.fromstring((tmp_path / "results" / "x.svg").read_text())
    assert picture.get("aria-label") == "Title <1>"
    assert json.loads((tmp_path / "results" / "x.json").read_text())["rows"][0]["ratio"] == 0.5


def test_every_benchmark_has_a_title_and_its_marks_on_the_page() -> None:
    page = (ROOT / "docs" / "performance.md").read_text()
    for name in (*command.NAMES, *command.LONG):
        module = __import__(f"benchmarks.{name}", fromlist=["run"])
        assert module.TITLE
        assert module.NOTE
        assert callable(module.run)
        assert f"<!-- bench:{name} -->" in page
        assert f"<!-- end of bench:{name} -->" in page


def test_an_unknown_benchmark_is_refused_with_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["nothing"])
    assert "no benchmark nothing; there are noop, " in capsys.readouterr().err


def test_a_program_that_fails_is_told_with_its_last_words() -> None:
    with pytest.raises(workshop.CannotRun, match="ended with exit code 3:\nsaid this"):
        workshop.timed(["sh", "-c", "echo said this; exit 3"])


# -------------------------------------------------------------------------------------------------------------- growth


@pytest.mark.parametrize("power", [0.0, 1.0, 1.5])
def test_the_exponent_is_that_of_the_larger_half(power: float) -> None:
    start = [(10.0, 500.0), (30.0, 480.0), (100.0, 470.0)]  # what each piece of work costs once
    points = start + [(x, 3 * x**power) for x in (300.0, 1e3, 3e3, 1e4)]
    assert trend.exponent(points) == pytest.approx(power)
    assert trend.exponent(points[-2:]) == pytest.approx(power)


def test_a_few_wild_samples_hardly_change_the_robust_slope() -> None:
    points = [(float(x), 100 + 2.0 * x) for x in range(40)]
    wild = [(x, y + (1e6 if x % 5 == 0 else 0.0)) for x, y in points]
    assert trend.robust_slope(wild) == pytest.approx(2.0)
    assert trend.robust_slope([(1.0, 5.0)]) == 0.0


def test_a_curve_that_bends_is_said_to_bend() -> None:
    straight = growth.Curve("processor", "A run of n tasks", "tasks", "s", ((10, 0.1), (1_000, 10.0), (10_000, 100.0)))
    bent = growth.Curve("one run", "A store with n runs", "runs", "ms", ((10, 1.0), (100, 30.0), (1_000, 3_000.0)))
    rows = [json.loads(json.dumps(curve.as_dict())) for curve in (straight, bent)]
    assert growth.table(rows).splitlines()[2:] == [
        "| A run of n tasks: processor | 10 tasks | 0.1 s | 10 k tasks | 100 s | 1.00 |  |",
        "| A store with n runs: one run | 10 runs | 1 ms | 1 k runs | 3,000 ms | 2.00 | bends |",
    ]
    picture = ET.fromstring(growth.plot("Growth <n>", rows))
    assert picture.get("aria-label") == "Growth <n>"
    assert len(list(picture.iter("{http://www.w3.org/2000/svg}polyline"))) == 2


def test_a_benchmark_may_have_a_table_and_a_picture_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("<!-- bench:growth -->\n<!-- end of bench:growth -->\n")
    monkeypatch.setattr(report, "PAGES", (page,))
    rows = [growth.Curve("one run", "A store with n runs", "runs", "ms", ((10, 1.0), (100, 2.0))).as_dict()]
    about = dict.fromkeys(("at", "cores", "cpu", "memory_gib", "kernel", "file_system", "python", "load"), "m")
    report.save("growth", growth.TITLE, growth.NOTE, rows, about, growth.LOOK)
    assert "| A store with n runs: one run | 10 runs | 1 ms | 100 runs | 2 ms | 0.30 |  |" in page.read_text()
    assert growth.LOOK.how in page.read_text()
    assert "polyline" in (tmp_path / "growth.svg").read_text()


@pytest.mark.parametrize(
    ("log", "points"),
    [(True, [(12.0, 0.4), (900.0, 70.0)]), (False, [(0.5, -3.0), (7.0, 130.0)]), (False, [(1.0, 0.0)])],
)
def test_lines_of_a_panel_lie_within_its_axes(log: bool, points: list[tuple[float, float]]) -> None:
    for numbers in zip(*points, strict=True):
        axis = panels.Axis(numbers, 200, log=log)
        assert all(0 <= axis.at(number) <= 200 for number in numbers)
        assert axis.ticks == sorted(axis.ticks)
    assert "polyline" in panels.draw("t", [panels.Panel("p", "x", "y", {"a": points}, log)])


# ---------------------------------------------------------------------------------------------------- soak and memory


def sample(at: float, **more: float) -> soak.Sample:
    values = dict.fromkeys((field.name for field in dataclasses.fields(soak.Sample)), 1)
    return soak.Sample(**{**values, "at": at, **more})  # type: ignore[arg-type]


def test_growth_is_counted_after_the_warm_up_and_rest_is_compared_with_rest() -> None:
    warm_up = [sample(60.0 * n, server_mib=20.0 * n) for n in range(10)]
    after = [sample(60.0 * n, server_mib=200 + n / 60) for n in range(10, 40)]
    ends = sample(0, errors=0, zombies=0), sample(2500, errors=2, zombies=0, server_descriptors=1, keeper_descriptors=2)
    found = {f"{t.what}: {t.who}": t for t in soak.trends(warm_up + after, *ends)}
    memory_ = found["memory: server, its own"]
    assert memory_.per_hour == pytest.approx(1.0)
    assert memory_.met
    assert found["open descriptors: server"].met
    assert not found["open descriptors: keeper"].met
    assert not found["what must not be: errors"].met
    assert found["what must not be: zombies"].met
    rows = [json.loads(json.dumps(t.as_dict())) for t in found.values()]
    assert "| what must not be: errors | 0 | 1 | 1 | 2 | 0 | 0 | missed |" in soak.table(rows)
    assert ET.fromstring(soak.plot("Soak", rows)).get("aria-label") == "Soak"


def test_a_soak_reads_what_prometheus_is_told(tmp_path: Path) -> None:
    text = (
        'wattle_loop_lag_seconds_bucket{le="0.01"} 90.0\nwattle_loop_lag_seconds_bucket{le="0.025"} 95.0\n'
        'wattle_loop_lag_seconds_bucket{le="+Inf"} 98.0\nwattle_attempts_ended_total{state="completed"} 7.0\n'
        'wattle_attempts_ended_total{state="failed"} 2.0\n'
    )
    assert turns.above(text, soak.TURN) == 3
    assert soak.attempts_ended(text) == 9
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "log").write_bytes(b"12345")
    (tmp_path / "b").write_bytes(b"1")
    assert soak.measured(tmp_path) == (6, 2)


def test_turns_are_counted_from_one_look_to_the_next() -> None:
    def told(lag: int, work: int) -> str:
        return "".join(
            f'wattle_loop_{what}_seconds_bucket{{le="{bound}"}} {count}\n'
            for what, more in (("lag", lag), ("work", work))
            for bound, count in (("0.01", 90.0), ("+Inf", 90.0 + more))
        )

    assert turns.Blocked.told(told(7, 3)).since(turns.Blocked.told(told(2, 2))) == turns.Blocked(turns=5, work=1)
    assert str(turns.Blocked(5, 1)) == "5 (1)"


def test_what_a_process_has_is_read_from_the_system() -> None:
    child = subprocess.Popen(["true"])
    try:
        until = time.monotonic() + 30
        while not machine.zombies({os.getpid()}) and time.monotonic() < until:
            time.sleep(0.01)
        assert machine.zombies({os.getpid()}) >= 1
    finally:
        child.wait()
    here = machine.memory(os.getpid())
    assert 1 < here.own <= here.rss
    before = machine.descriptors(os.getpid())
    with Path(__file__).open():
        assert machine.descriptors(os.getpid()) == before + 1
    assert machine.threads(os.getpid()) >= 1


@pytest.mark.parametrize(
    ("files", "place"),
    [
        (["/x/wattle_jupyter/handlers/runs.py", "/usr/lib/python3/json/decoder.py"], "wattle_jupyter.handlers.runs"),
        (["/x/site-packages/tornado/ioloop.py", "/x/site-packages/tornado/iostream.py"], "tornado"),
        (["/x/wattle_jupyter/spec.py", "<frozen importlib._bootstrap_external>"], "code of modules"),
        (["/x/site-packages/six.py"], "six"),
        ([json.decoder.__file__], "json"),
        (["<string>"], "<string>"),
    ],
)
def test_what_was_allocated_has_a_place_in_the_code(files: list[str], place: str) -> None:
    assert probe.place(files) == place


def test_a_process_says_what_it_holds_when_it_is_asked(tmp_path: Path) -> None:
    code = (
        f"import sys, time; sys.path.insert(0, {str(ROOT)!r})\nfrom pathlib import Path\nfrom benchmarks import probe\n"
        "probe.watch(Path('held'))\nkept = b'x' * 5_000_000\nprint(flush=True)\ntime.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        held = probe.ask(tmp_path / "held")
    finally:
        process.kill()
        process.communicate()
    assert 5_000_000 <= held["<string>"] < 6_000_000


def test_what_grew_most_is_named_first_and_little_things_are_not() -> None:
    before, after = {"a": 1 << 20}, {"a": 4 << 20, "b": 1000, "c": 5 << 20}
    assert list(memory.more_than(before, after).items()) == [("c", 5.0), ("a", 3.0)]


def test_the_brief_picture_of_the_peers_has_each_of_them_once() -> None:
    rows = [
        Row("layered 1000, beside Luigi", "wattle", 1.0, 1.0, unit="s"),
        Row("layered 1000, beside Luigi", "Luigi", 18.0, 17.0, unit="s"),
        Row("layered 1000, beside doit", "wattle", 2.0, 1.0, unit="s"),
        Row("layered 1000, beside doit", "doit", 1.1, 1.0, unit="s"),
        Row("independent 1000, beside doit", "doit", 99.0, 99.0, unit="s"),
    ]
    picture = ET.fromstring(peers.brief([row.as_dict() for row in rows]))
    words = [text.text for text in picture.findall(".//{*}text")]
    assert words[2:] == ["doit", "1.1 s", "wattle", "1.5 s", "Luigi", "18 s"]

"""What the benchmarks are made of. What they measure is nobody's assertion: `python3 dev.py bench` prints it."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import __main__ as command  # noqa: E402
from benchmarks import dags, pairing, report, workshop  # noqa: E402
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
    assert "| x: wattle | ninja | 0.5 × | ≤ 1 × |" in text
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

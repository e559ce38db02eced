"""The view of a run in its cell, in a real JupyterLab."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from lab import Lab, Notebook
from playwright.sync_api import expect
from processes import until

Open = Callable[..., Notebook]

LOAD = "%load_ext wattle_jupyter"


def steps(name: str) -> str:
    """The first task goes on until the test says so and writes in colour; the second fails until it is mended."""
    return rf"""%%wattle {name}
first:
  run: |
    printf '\033[1;31mred\033[0m plain \033[38;5;28mgreen\033[0m\n'
    i=0
    while [ ! -e go-{name} ]; do i=$((i+1)); echo "line $i"; sleep 0.05; done
    echo done
second <- first:
  run: |
    echo about to fail
    echo 'cannot open the file' >&2
    [ -e mended-{name} ] || exit 3
third <- second: echo third
beside <- first: echo beside
"""


def test_states_and_log_change_live_and_a_failure_explains_itself(lab: Lab, open_notebook: Open) -> None:
    notebook = open_notebook(lab, LOAD, steps("live"), "%wattle run live")
    notebook.run_all()
    notebook.expect_state("first", "running")
    notebook.expect_state("third", "created")
    log = notebook.open_log("first")
    expect(log.get_by_text("line 3", exact=True)).to_be_visible()
    assert "ansi-1" in (log.locator(".jp-mod-bold", has_text="red").get_attribute("style") or "")
    notebook.shoot("running")

    (lab.notebooks / "go-live").touch()
    expect(log.get_by_text("done", exact=True)).to_be_visible()
    notebook.expect_state("first", "completed")
    notebook.expect_state("beside", "completed")
    notebook.expect_state("second", "failed")
    notebook.expect_state("third", "skipped")
    notebook.expect_run("failed")
    notebook.view.get_by_role("button", name="Close").click()
    failures = notebook.view.locator(".jp-wattle-failures")
    expect(failures).to_contain_text("exit 3")
    expect(failures.get_by_text("cannot open the file")).to_be_visible()
    notebook.shoot("failed")
    notebook.theme("Dark")
    notebook.shoot("failed-dark")

    (lab.notebooks / "mended-live").touch()
    notebook.view.get_by_role("button", name="Retry failed").click()
    notebook.expect_run("completed")
    expect(failures).to_have_count(0)
    expect(notebook.task("second")).to_contain_text("#2")
    notebook.open_log("second")
    notebook.view.get_by_label("Attempt").select_option(index=0)
    expect(notebook.view.locator(".jp-wattle-log")).to_contain_text("cannot open the file")
    notebook.shoot("retried-dark")


def test_a_notebook_that_is_a_task_shows_its_cells_and_how_many_are_done(lab: Lab, open_notebook: Open) -> None:
    wait = "import os, time\nwhile not os.path.exists('go-cells'): time.sleep(0.05)"
    sources = ["days = 30", "print('days', days)", wait, "print('after')"]
    cells = [
        {"cell_type": "code", "id": f"c{i}", "source": source, "outputs": [], "execution_count": None,
         "metadata": {"tags": ["parameters"] if i == 0 else []}}
        for i, source in enumerate(sources)
    ]  # fmt: skip
    report = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (lab.notebooks / "report.ipynb").write_text(json.dumps(report))
    cell = "%%wattle cells\nreport: report.ipynb days=7\nsend <- report: wc -l {{ report }}"
    notebook = open_notebook(lab, LOAD, cell, "%wattle run cells")
    notebook.run_all()
    notebook.expect_state("report", "running")
    log = notebook.open_log("report")
    expect(log.get_by_text("days 7", exact=True)).to_be_visible()
    expect(log.get_by_text("[3/4] import os, time")).to_be_visible()
    expect(notebook.task("report")).to_contain_text("50 %")
    expect(notebook.view.locator(".jp-wattle-panel-head")).to_contain_text("2/4")
    notebook.shoot("cells")
    (lab.notebooks / "go-cells").touch()
    notebook.expect_run("completed")
    expect(log.get_by_text("4 of 4 cells done")).to_be_visible()


FAR = r"""%%wattle far
load:
  run: |
    printf '\rload:  25%%|██▌       | 25/100 [00:10<00:30,  2.5it/s]'
    while [ ! -e go-far ]; do sleep 0.05; done
    printf '\rload:  75%%|███████▌  | 75/100 [00:30<00:10,  2.5it/s]'
    while [ ! -e end-far ]; do sleep 0.05; done
count: "echo ::wattle progress=66::; while [ ! -e end-far ]; do sleep 0.05; done"
silent: "while [ ! -e end-far ]; do sleep 0.05; done"
report <- load, count: echo done
"""


def test_how_far_running_tasks_are_is_seen_in_graph_table_and_panel(lab: Lab, open_notebook: Open) -> None:
    notebook = open_notebook(lab, LOAD, FAR, "%wattle run far")
    notebook.run_all()
    expect(notebook.task("load")).to_contain_text("running · 25 %", timeout=30_000)
    expect(notebook.task("count")).to_contain_text("running · 66 %", timeout=30_000)
    expect(notebook.task("silent")).not_to_contain_text("%")
    notebook.open_log("load")
    bar = notebook.view.locator(".jp-wattle-panel-head").get_by_role("progressbar", name="Progress of load")
    expect(bar).to_have_attribute("aria-valuetext", "25 %, 25/100")
    left = re.compile("25/100 · .* left")
    expect(notebook.view.locator(".jp-wattle-panel-far")).to_contain_text(left, timeout=30_000)
    notebook.shoot("far")
    notebook.theme("Dark")
    notebook.shoot("far-dark")
    assert notebook.serious(".jp-wattle-run") == []
    (lab.notebooks / "go-far").touch()
    expect(bar).to_have_attribute("aria-valuenow", "75", timeout=30_000)
    expect(notebook.task("load")).to_contain_text("running · 75 %")
    notebook.view.get_by_role("button", name="Table", exact=True).click()
    row = notebook.view.locator(".jp-wattle-list-row[data-task=load]")
    expect(row).to_contain_text("running 75 %")
    notebook.shoot("far-table-dark")
    notebook.theme("Light")
    assert notebook.serious(".jp-wattle-run") == []
    notebook.shoot("far-table")
    (lab.notebooks / "end-far").touch()
    notebook.expect_run("completed")
    expect(row).not_to_contain_text("%")
    expect(bar).to_have_count(0)


def test_a_run_is_cancelled_only_after_a_question(lab: Lab, open_notebook: Open) -> None:
    notebook = open_notebook(lab, LOAD, "%%wattle endless\na: sleep 600\nb <- a: echo never", "%wattle run endless")
    notebook.run_all()
    notebook.expect_state("a", "running")
    notebook.view.get_by_role("button", name="Cancel", exact=True).click()
    notebook.view.get_by_role("button", name="Keep").click()
    notebook.view.get_by_role("button", name="Cancel", exact=True).click()
    expect(notebook.view.get_by_role("alertdialog")).to_be_visible()
    notebook.shoot("cancel-asks")
    assert lab.state(notebook.run) == "running"
    notebook.view.get_by_role("button", name="Cancel run").click()
    notebook.expect_run("cancelled")
    notebook.expect_state("a", "cancelled")
    expect(notebook.view.get_by_role("button", name="Cancel", exact=True)).to_have_count(0)
    notebook.shoot("cancelled")


def test_one_task_is_stopped_and_retried_by_keyboard_alone(lab: Lab, open_notebook: Open) -> None:
    cell = "%%wattle keys\na: '[ -e keys-go ] || sleep 600'\nb <- a: echo b"
    notebook = open_notebook(lab, LOAD, cell, "%wattle run keys")
    notebook.run_all()
    notebook.expect_state("a", "running")
    notebook.task("a").focus()
    notebook.page.keyboard.press("ArrowRight")
    expect(notebook.task("b")).to_be_focused()
    notebook.page.keyboard.press("ArrowLeft")
    notebook.shoot("focus")
    notebook.page.keyboard.press("Enter")
    notebook.view.get_by_role("button", name="Stop").focus()
    notebook.page.keyboard.press("Enter")
    notebook.expect_state("a", "cancelled")
    (lab.notebooks / "keys-go").touch()
    notebook.view.get_by_role("button", name="Retry", exact=True).focus()
    notebook.page.keyboard.press("Enter")
    notebook.expect_run("completed")


def test_a_long_log_opens_at_its_end_while_it_is_written(lab: Lab, open_notebook: Open) -> None:
    cell = "%%wattle tail\na: 'seq 1 200000; while [ ! -e tail-go ]; do sleep 0.05; done; echo over'"
    notebook = open_notebook(lab, LOAD, cell, "%wattle run tail")
    notebook.run_all()
    run = notebook.run
    path = f"runs/{run}/tasks/a/logs?offset=-1&limit=4"
    until(lambda: lab.get(path)["size"] == len("".join(f"{n}\n" for n in range(1, 200001))))
    log = notebook.open_log("a")
    expect(log.get_by_text("200000", exact=True)).to_be_visible()
    notebook.shoot("tail")
    lines = log.locator(".jp-wattle-log-lines")
    lines.evaluate("box => { box.scrollTop = 0 }")
    expect(log.get_by_text("1", exact=True)).to_be_visible()
    expect(log.get_by_role("button", name="Follow", exact=True)).to_have_attribute("aria-pressed", "false")
    (lab.notebooks / "tail-go").touch()
    notebook.expect_run("completed")
    expect(log.get_by_text("1", exact=True)).to_be_visible()  # it did not jump away
    log.get_by_role("button", name="Follow", exact=True).click()
    expect(log.get_by_text("over", exact=True)).to_be_visible()
    expect(log.locator("[role=status]")).to_have_text(re.compile(r"^200,001 lines"))


def test_tasks_that_reopen_their_output_leave_the_log_whole(lab: Lab, open_notebook: Open) -> None:
    cell = r"""%%wattle reopen
stderr: 'echo one; echo two > /dev/stderr; echo three'
tee: 'echo one; echo two | tee /dev/stderr; echo three'
option: 'echo one; printf "b\na\n" | sort -o /dev/stdout; echo three'
"""
    notebook = open_notebook(lab, LOAD, cell, "%wattle run reopen")
    notebook.run_all()
    notebook.expect_run("completed")
    expected = {
        "stderr": ["one", "two", "three"],
        "tee": ["one", "two", "two", "three"],
        "option": ["one", "a", "b", "three"],
    }
    for task, lines in expected.items():
        log = notebook.open_log(task)
        expect(log.locator("[role=status]")).to_contain_text(f"{len(lines)} lines, ")
        assert notebook.log_text() == lines
        notebook.view.get_by_role("button", name="Close").click()


def test_narrow_and_dark_pages_show_a_list(lab: Lab, open_notebook: Open) -> None:
    notebook = open_notebook(lab, LOAD, steps("narrow"), "%wattle run narrow", viewport={"width": 480, "height": 900})
    (lab.notebooks / "go-narrow").touch()
    notebook.command("application:toggle-left-area")
    notebook.run_all()
    notebook.expect_run("failed")
    expect(notebook.view.get_by_role("listbox")).to_be_visible()
    notebook.shoot("narrow")
    notebook.open_log("second")
    notebook.theme("Dark")
    notebook.shoot("narrow-dark")
    too_wide = "view => view.scrollWidth > view.clientWidth"
    assert notebook.view.evaluate(too_wide) is False


PAYLOADS = [
    "<script>window.__pwned=1</script>",
    "<img src=x onerror=window.__pwned=2>",
    "<svg onload=window.__pwned=3>",
    "</svg><script>window.__pwned=4</script>",
    "\"><img src=x onerror='window.__pwned=5'>",
    "javascript:window.__pwned=6",
    "<iframe srcdoc='<script>parent.__pwned=7</script>'></iframe>",
    "</title><script>window.__pwned=8</script>",
    "<a href=javascript:window.__pwned=9 autofocus onfocus=window.__pwned=9>x</a>",
    "]]><script>window.__pwned=10</script>",
    "\u001b]8;;javascript:window.__pwned=11\u0007link\u001b]8;;\u0007",
    "<math><mtext><style><img src onerror=window.__pwned=12></style></mtext></math>",
    r"\{{constructor.constructor('window.__pwned=13')()}}",
]


WRITES = """
import os, sys
with open(os.environ["WATTLE_OUTPUT"], "a") as out:
    out.write("value=<img src=x onerror=window.__pwned=20>\\n")
for line in sys.argv[1:]:
    print(line)
"""


def test_what_people_and_tasks_write_is_never_executed(lab: Lab, open_notebook: Open) -> None:
    (lab.notebooks / "writes.py").write_text(WRITES)
    command = ["python3", "writes.py", *PAYLOADS]
    tasks = {
        "says": {"run": command, "outputs": {"value": "a value"}},
        "misses": {"run": command, "outputs": {"file": {"path": f"none/{PAYLOADS[1]}"}}},
    }
    params = {f"p{i}": text for i, text in enumerate(PAYLOADS)}
    folder = str(lab.notebooks)
    run = lab.run(tasks, "evil", params=params, description=PAYLOADS[0], working_dir=folder)
    notebook = open_notebook(lab, LOAD, f"%wattle attach {run}")
    notebook.run_all()
    notebook.expect_run("failed")
    expect(notebook.view.locator(".jp-wattle-failures")).to_contain_text("<img src=x onerror=window.__pwned=2>")
    for task in ("says", "misses"):
        notebook.open_log(task)
        lines = notebook.view.locator(".jp-wattle-log-line")
        expect(lines).to_have_count(len(PAYLOADS))
        assert lines.first.text_content() == PAYLOADS[0] + "\n"
        notebook.view.get_by_role("button", name="Close").click()
    notebook.open_log("says")
    expect(notebook.view.locator(".jp-wattle-outputs")).to_contain_text("window.__pwned=20")
    notebook.shoot("payloads")
    assert notebook.page.evaluate("window.__pwned") is None


def test_a_notebook_from_a_stranger_is_shown_and_never_executed(lab: Lab, open_notebook: Open) -> None:
    tasks = [{"task": text, "state": "failed", "reason": text} for text in PAYLOADS]
    edges = [{"src": PAYLOADS[0], "dst": text, "kind": "data"} for text in PAYLOADS[1:]]
    saved = {"version": 1, "workflow": PAYLOADS[1], "state": "failed", "tasks": tasks, "edges": edges}
    final = {**saved, "svg": f"<svg>{PAYLOADS[0]}</svg>"}
    wattle = {"run": PAYLOADS[1], "store": PAYLOADS[2], "final": final}
    output = {
        "output_type": "display_data",
        "data": {"application/vnd.wattle.run.v1+json": saved, "text/plain": PAYLOADS[0]},
        "metadata": {"wattle": wattle},
    }
    notebook = open_notebook(lab, ("1", [output]))
    expect(notebook.view).to_be_visible()
    expect(notebook.view.locator(".jp-wattle-node")).to_have_count(len(PAYLOADS))
    expect(notebook.view).to_have_attribute("data-live", "false")  # what is no id is not asked for
    notebook.shoot("stranger")
    assert notebook.page.evaluate("window.__pwned") is None

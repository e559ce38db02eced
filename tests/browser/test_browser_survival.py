"""The promise: a run started from a cell outlives kernel, page and server, and its view finds it again."""

from __future__ import annotations

from collections.abc import Callable

from lab import Lab, Notebook
from playwright.sync_api import expect
from processes import until

Open = Callable[..., Notebook]

LINES = 400
MIDDLE = [f"part{n}" for n in range(4)]

# Each process writes a witness that it started, and numbered lines for about 20 s unless the test shortens that.
CHATTY = f"""
import pathlib, sys, time, uuid
name = sys.argv[1]
(pathlib.Path("witness") / f"{{name}}-{{uuid.uuid4().hex}}").touch()
for n in range({LINES}):
    print(f"{{name}} line {{n}}", flush=True)
    if not any(pathlib.Path(f"hurry-{{who}}").exists() for who in (name, "all")):
        time.sleep(0.05)
print(f"{{name}} done")
"""

PARTS = "\n".join(f"{part} <- source: python3 chatty.py {part}" for part in MIDDLE)
WORKFLOW = (
    f"%%wattle chatty\nsource: python3 chatty.py source\n{PARTS}\nsink <- {', '.join(MIDDLE)}: python3 chatty.py sink"
)


def lines_of(task: str) -> list[str]:
    return [f"{task} line {n}" for n in range(LINES)] + [f"{task} done"]


def log_in_api(lab: Lab, run: str, task: str) -> list[str]:
    text, offset = "", 0
    while True:
        page = lab.get(f"runs/{run}/tasks/{task}/logs?offset={offset}")
        text, offset = text + page["text"], page["next_offset"]
        if page["end"] and offset == page["size"]:
            return text.splitlines()


def lines_written(lab: Lab, run: str, task: str) -> int:
    return int(lab.get(f"runs/{run}/tasks/{task}/logs")["text"].count("\n"))


def test_a_run_survives_kernel_page_and_server(own_lab: Lab, open_notebook: Open) -> None:
    lab = own_lab
    (lab.notebooks / "chatty.py").write_text(CHATTY)
    (lab.notebooks / "witness").mkdir()
    notebook = open_notebook(lab, "%load_ext wattle_jupyter", WORKFLOW, "%wattle run chatty")
    # a server that is killed answers nothing: the page says so in the console
    notebook.tolerate(
        r"ERR_CONNECTION|WebSocket|Failed to fetch|NetworkError|Connection lost|Bad Gateway|kernels?|status"
    )
    notebook.run_all()
    notebook.expect_state("source", "running")
    run = notebook.run
    log = notebook.open_log("source")
    expect(log.get_by_text("source line 10", exact=True)).to_be_visible()

    notebook.restart_kernel()
    seen = lines_written(lab, run, "source")
    until(lambda: lines_written(lab, run, "source") > seen)
    notebook.expect_run("running")

    notebook.save()
    notebook.page.reload()
    notebook.ready()
    notebook.expect_state("source", "running")
    notebook.open_log("source")
    (lab.notebooks / "hurry-source").touch()
    notebook.expect_state("source", "completed")
    notebook.expect_state("part0", "running")
    log = notebook.open_log("part0")
    expect(log.get_by_text("part0 line 10", exact=True)).to_be_visible()

    lab.kill()
    expect(notebook.view.locator(".jp-wattle-link")).to_have_text("reconnecting")
    notebook.shoot("reconnecting")
    lab.launch()
    expect(notebook.view.locator(".jp-wattle-link")).to_have_text("live", timeout=60_000)
    seen = lines_written(lab, run, "part0")
    expect(log.get_by_text(f"part0 line {seen + 5}", exact=True)).to_be_visible(timeout=60_000)
    notebook.shoot("reconnected")
    (lab.notebooks / "hurry-all").touch()

    notebook.expect_run("completed")
    for task in ("source", *MIDDLE, "sink"):
        notebook.expect_state(task, "completed")
        assert log_in_api(lab, run, task) == lines_of(task)
    for task in ("part0", "sink"):
        if notebook.view.locator(".jp-wattle-panel-name").text_content() != task:
            notebook.open_log(task)
        expect(notebook.view.locator(".jp-wattle-log [role=status]")).to_contain_text(f"{LINES + 1} lines, ")
        assert notebook.log_text() == lines_of(task)
    witnesses = [path.name.rpartition("-")[0] for path in (lab.notebooks / "witness").iterdir()]
    assert sorted(witnesses) == sorted(["source", *MIDDLE, "sink"])
    notebook.shoot("survived")

"""What a saved notebook shows when nothing that made it is there any more."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from lab import Lab, Notebook
from playwright.sync_api import expect
from processes import environment, until
from sanitiser import parts, sanitised

Open = Callable[..., Notebook]

CELLS = ("%load_ext wattle_jupyter", "%%wattle kept\na: echo a\nb <- a: exit 4\nc <- b: echo c", "%wattle run kept")
STATES = {"a": "completed", "b": "failed", "c": "skipped"}
RUN_MIME = "application/vnd.wattle.run.v1+json"


def run_outputs(document: Any) -> list[Any]:
    outputs = [output for cell in document["cells"] for output in cell["outputs"]]
    return [output for output in outputs if RUN_MIME in output.get("data", {})]


def test_the_end_of_a_run_is_saved_and_shown_without_kernel_server_or_trust(own_lab: Lab, open_notebook: Open) -> None:
    lab = own_lab
    notebook = open_notebook(lab, *CELLS)
    notebook.run_all()
    notebook.expect_run("failed")
    until(lambda: "final" in run_outputs(notebook.save())[0]["metadata"]["wattle"])
    [output] = run_outputs(lab.read(notebook.path))
    final = output["metadata"]["wattle"]["final"]
    assert {task["task"]: task["state"] for task in final["tasks"]} == STATES
    assert final["state"] == "failed"
    assert all(word in final["svg"] for word in ("<svg", ">a<", "failed", "skipped"))
    assert parts(sanitised(final["svg"])) == parts(final["svg"])
    assert {task["state"] for task in output["data"][RUN_MIME]["tasks"]} == {None}  # the plan: always the same
    notebook.close()

    # a copy of the file that this server never saw executed is not trusted
    copy = lab.notebooks / "copied.ipynb"
    text = (lab.notebooks / notebook.path).read_text()
    copy.write_text(text.replace('"cell-0"', '"cell-x"').replace("kept", "copy"))
    stranger = open_notebook(lab, path="copied.ipynb")
    expect(stranger.view).to_be_visible()
    stranger.expect_run("failed")
    retry = stranger.view.get_by_role("button", name="Retry failed")
    expect(retry).to_be_disabled()
    expect(retry).to_have_attribute("title", "The notebook is not trusted: run the cell or trust the notebook first")
    for task, state in STATES.items():
        stranger.expect_state(task, state)
    stranger.shoot("untrusted")
    stranger.close()

    # another store: this server has never heard of the run
    unknown = lab.notebooks / "unknown.ipynb"
    unknown.write_text(text.replace(notebook_run(text), "f" * 32))
    lost = open_notebook(lab, path="unknown.ipynb")
    lost.tolerate("404")
    expect(lost.view).to_contain_text("Shown as it was saved.")
    lost.command("kernelmenu:shutdown")
    lost.page.wait_for_function("() => !document.querySelector('.jp-Notebook').textContent.includes('[*]')")
    for task, state in STATES.items():
        lost.expect_state(task, state)
    retry = lost.view.get_by_role("button", name="Retry failed")
    expect(retry).to_be_disabled()
    expect(retry).to_have_attribute("title", "Not connected")
    lost.task("b").click()
    expect(lost.view.locator(".jp-wattle-panel")).to_contain_text("Logs need a connection to the server.")
    lost.shoot("saved")


def notebook_run(text: str) -> str:
    return str(run_outputs(json.loads(text))[0]["metadata"]["wattle"]["run"])


def test_nbconvert_shows_the_drawing(lab: Lab, open_notebook: Open) -> None:
    cells = (CELLS[0], CELLS[1].replace("kept", "drawn"), "%wattle run -w drawn")
    notebook = open_notebook(lab, *cells)
    notebook.run_all()
    notebook.expect_run("failed")
    notebook.save()
    command = [sys.executable, "-m", "nbconvert", "--to", "html", notebook.path]
    subprocess.run(command, cwd=lab.notebooks, env=environment(lab.home), check=True, capture_output=True)
    html = (lab.notebooks / notebook.path).with_suffix(".html")
    page = notebook.context.new_page()
    page.goto(html.as_uri(), wait_until="domcontentloaded")
    drawings = page.locator(".jp-OutputArea-output img[src^='data:image/svg+xml']")
    expect(drawings).to_have_count(2)
    for shown in drawings.all():
        assert shown.evaluate("image => image.decode().then(() => image.naturalWidth * image.naturalHeight)") > 0
    drawing = base64.b64decode((drawings.last.get_attribute("src") or "").partition(",")[2]).decode()
    assert all(word in drawing for word in ("completed", "failed", "skipped"))
    page.close()


def test_a_site_that_sanitises_shows_the_same_drawing(lab: Lab, open_notebook: Open) -> None:
    notebook = open_notebook(lab, CELLS[0], CELLS[1].replace("kept", "shared"), "%wattle run -w shared")
    notebook.run_all()
    notebook.expect_run("failed")
    document = notebook.save()
    [output] = [
        one for cell in document["cells"][2:] for one in cell["outputs"] if "image/svg+xml" in one.get("data", {})
    ]
    svg, text = ("".join(output["data"][kind]) for kind in ("image/svg+xml", "text/plain"))
    assert all(word in text for word in ("shared", "[failed: exit 4]", "[skipped"))
    page = notebook.context.new_page()
    pictures = []
    for shown in (svg, sanitised(svg)):
        page.set_content(f"<!doctype html><body>{shown}</body>")
        expect(page.locator("svg text").first).to_be_visible()
        pictures.append(page.screenshot())
    assert pictures[0] == pictures[1]
    page.close()

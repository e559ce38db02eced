"""The log of a task in a real page: of any length, while it is written, with the keyboard."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from desk import Desk
from lab import SLOW, Lab, Notebook
from playwright.sync_api import Browser, Locator, expect
from processes import until

Open = Callable[..., Notebook]
NUMBERS = itertools.count()

# Rows that can be seen whole, from above: number of the line, its text, its distance from the upper edge.
SEEN = """box => {
  const edge = box.getBoundingClientRect();
  const rows = [...box.querySelectorAll('.jp-wattle-log-line')].filter(row => {
    const at = row.getBoundingClientRect();
    return at.height > 0 && at.top >= edge.top - 1 && at.bottom <= edge.bottom + 1;
  });
  return rows.map(row => [Number(row.querySelector('a').dataset.number), row.textContent.trimEnd(),
    Math.round(row.getBoundingClientRect().top - edge.top)]);
}"""


@pytest.fixture
def desk(request: pytest.FixtureRequest, lab: Lab, browser: Browser) -> Iterator[Desk]:
    made = Desk(lab, browser, re.sub(r"\W", "", request.node.name)[:40])
    try:
        yield made.open()
        assert not made.complained(), made.complained()
    finally:
        made.close()


def open_log(desk: Desk, run: str, task: str = "a") -> Locator:
    """The lines of its log, on the page of the run."""
    desk.command("wattle:open-run", run=run)
    desk.run_page.locator(f"[data-task={task}]").first.click()
    lines = desk.run_page.locator(".jp-wattle-log-lines")
    expect(lines.locator(".jp-wattle-log-line").first).to_be_visible()
    return lines


def seen(lines: Locator) -> list[tuple[int, str, int]]:
    return [(number, text, top) for number, text, top in lines.evaluate(SEEN)]


def sees(lines: Locator, text: str) -> None:
    until(lambda: any(text in row for _, row, _ in seen(lines)), SLOW / 1000)


def status(desk: Desk) -> Locator:
    return desk.run_page.locator(".jp-wattle-log-bar [role=status]")


def put_log(lab: Lab, run: str, size: int) -> int:
    """Give task `a` of a run that ended a log of this size; how many lines it has. Each says its number."""
    path = Path(lab.store) / "attempts" / lab.task(run, "a")["attempt"] / "log"
    path.unlink()
    line = 100
    with path.open("wb") as log:
        for start in itertools.count(0, 10_000):
            if start * line >= size:
                return start
            log.write(b"".join(b"%-98d.\n" % (start + i + 1) for i in range(10_000)))
    raise AssertionError


def begun(lab: Lab, command: str) -> str:
    """A run of a workflow of its own: those of one workflow wait for each other."""
    return lab.run({"a": command}, f"log-{next(NUMBERS)}")


def ended(lab: Lab, command: str) -> str:
    run = begun(lab, command)
    lab.ended(run)
    return run


def test_a_log_of_any_length_is_read_everywhere(lab: Lab, desk: Desk) -> None:
    run = ended(lab, "echo short")
    count = put_log(lab, run, 120_000_000)
    lines = open_log(desk, run)
    sees(lines, f"{count} ")
    expect(status(desk)).to_have_text(re.compile(rf"^{count:,} lines, "))
    lines.evaluate("box => { box.scrollTop = box.scrollHeight / 2 }")  # as the bar is dragged
    until(lambda: abs(seen(lines)[0][0] - count / 2) < count / 100)
    number, text, _ = seen(lines)[0]
    assert text.split()[0] == str(number)
    lines.hover()
    for _ in range(5):
        desk.page.mouse.wheel(0, 180)
    until(lambda: seen(lines)[0][0] == number + 50)  # no line is jumped over
    lines.focus()
    desk.page.keyboard.press(":")
    desk.page.keyboard.type("777,777")
    desk.page.keyboard.press("Enter")
    expect(lines.locator(".jp-mod-picked")).to_contain_text("777777 ")
    desk.page.keyboard.press("g")
    until(lambda: seen(lines)[0][0] == 1)
    desk.page.keyboard.press("G")
    sees(lines, f"{count} ")
    assert desk.page.evaluate("document.querySelectorAll('.jp-wattle-log-line').length") < 200


def test_text_and_patterns_are_found_in_the_whole_log(lab: Lab, desk: Desk) -> None:
    run = ended(
        lab, r"seq 1 60000; printf '\033[31mred %s\033[0m fish\n' one two; seq 60001 90000; printf 'Red herring'"
    )
    lines = open_log(desk, run)
    lines.focus()
    keys = desk.page.keyboard
    keys.press("g")
    until(lambda: seen(lines)[0][0] == 1)
    keys.press("/")
    keys.type("RED ")
    found, said = lines.locator(".jp-mod-found"), desk.run_page.locator(".jp-wattle-log-find [role=status]")
    expect(found).to_have_text("red one fish\n")
    expect(found.locator("mark")).to_have_text("red ")
    expect(said).to_have_text("1 of 3 lines")
    keys.press("Enter")
    expect(found).to_have_text("red two fish\n")
    keys.press("Shift+Enter")
    keys.press("Shift+Enter")
    expect(found).to_have_text("Red herring")
    expect(said).to_have_text("3 of 3 lines, from the other end")
    desk.picture("log-find")
    desk.run_page.get_by_role("button", name="Upper and lower case matter").click()
    expect(said).to_contain_text("no line")
    desk.run_page.get_by_role("button", name="Upper and lower case matter").click()
    desk.run_page.get_by_role("button", name="A regular expression").click()
    field = desk.run_page.get_by_label("Find in the log")
    desk.tolerate("status of 400")
    field.fill("red (one|two")
    expect(said).to_contain_text("is not a regular expression")
    field.fill("ed t.o f")
    expect(found).to_have_text("red two fish\n")
    expect(found.locator("mark")).to_have_text(["ed two", " f"])
    keys.press("Escape")
    expect(field).to_have_count(0)
    expect(lines).to_be_focused()


def test_errors_are_gone_to_one_after_the_other(lab: Lab, desk: Desk) -> None:
    run = ended(lab, "seq 1 500; echo 'ValueError: bad row'; echo '0 errors'; seq 1 500; echo 'Killed'; seq 1 500")
    lines = open_log(desk, run)
    lines.focus()
    desk.page.keyboard.press("g")
    until(lambda: seen(lines)[0][0] == 1)
    for key, text in [("e", "ValueError: bad row"), ("e", "Killed"), ("E", "ValueError: bad row")]:
        desk.page.keyboard.press(key)
        expect(lines.locator(".jp-mod-found")).to_have_text(text + "\n")


def test_what_is_selected_stays_while_lines_stream_in(lab: Lab, desk: Desk) -> None:
    """Of a task that writes without a pause, also when it is scrolled out of sight."""
    run = begun(lab, "i=0; while :; do i=$((i+1)); echo line $i; [ $((i % 20)) = 0 ] && sleep 0.02; done")
    lines = open_log(desk, run)
    until(lambda: len(seen(lines)) > 8)
    text = lines.evaluate("""box => {
      const row = box.querySelectorAll('.jp-wattle-log-line')[10];
      const text = [...row.childNodes].find(node => node.nodeType === 3);
      getSelection().setBaseAndExtent(text, 0, text, text.data.trimEnd().length);
      return text.data.trimEnd();
    }""")
    tops = until(lambda: [top for _, shown, top in seen(lines) if shown == text])
    later = int(text.split()[1]) + 500
    until(lambda: int(status(desk).inner_text().split()[0].replace(",", "")) > later, 60)
    assert desk.page.evaluate("getSelection().toString().trimEnd()") == text
    assert [top for _, shown, top in seen(lines) if shown == text] == tops  # nothing moved either
    lines.hover()
    for _ in range(10):
        desk.page.mouse.wheel(0, -400)
    until(lambda: not any(shown == text for _, shown, _ in seen(lines)))
    assert desk.page.evaluate("getSelection().toString().trimEnd()") == text  # it is not drawn, yet it is selected
    desk.page.evaluate("getSelection().removeAllRanges()")
    desk.run_page.get_by_role("button", name="Not following").click()
    expect(desk.run_page.get_by_role("button", name="Follow", exact=True)).to_have_attribute("aria-pressed", "true")
    lab.post(f"runs/{run}/cancel")


def test_a_selection_over_rows_that_are_not_drawn_is_copied_whole(lab: Lab, desk: Desk) -> None:
    desk.context.grant_permissions(["clipboard-read", "clipboard-write"])
    run = ended(lab, r"for i in $(seq 1 400); do printf '\033[3%dmline %d\033[0m\n' $((i % 8)) $i; done")
    lines = open_log(desk, run)
    lines.focus()
    desk.page.keyboard.press("g")
    until(lambda: seen(lines)[0][0] == 1)
    lines.evaluate("""async box => {
      const row = n => [...box.querySelectorAll('.jp-wattle-log-line')].find(row => row.textContent === `line ${n}\\n`);
      const letters = n => row(n).querySelector('span').firstChild;
      const start = letters(3);
      getSelection().setBaseAndExtent(start, 2, start, 4);
      box.scrollTop = 200 * 18;
      while (!row(205)) await new Promise(done => requestAnimationFrame(done));
      getSelection().extend(letters(205), 4);
    }""")
    desk.page.keyboard.press("Control+c")
    copied = desk.page.evaluate("navigator.clipboard.readText()")
    expected = ["ne 3", *(f"line {n}" for n in range(4, 205)), "line"]
    assert copied.split("\n") == expected


def test_lines_are_picked_copied_and_linked_by_their_numbers(lab: Lab, desk: Desk, browser: Browser) -> None:
    desk.context.grant_permissions(["clipboard-read", "clipboard-write"])
    run = ended(lab, r"for i in $(seq 1 3000); do printf '\033[1mline\033[0m %d\n' $i; done")
    lines = open_log(desk, run)
    lines.focus()
    keys = desk.page.keyboard
    keys.press(":")
    keys.type("1500")
    keys.press("Enter")
    expect(lines.locator(".jp-mod-picked")).to_have_text("line 1500\n")
    lines.get_by_label("Line 1,502", exact=True).click(modifiers=["Shift"])
    expect(lines.locator(".jp-mod-picked")).to_have_count(3)
    keys.press("c")
    expect(status(desk)).to_have_text("3 lines copied")
    assert desk.page.evaluate("navigator.clipboard.readText()") == "line 1500\nline 1501\nline 1502\n"
    keys.press("y")
    expect(status(desk)).to_have_text("Link copied")
    link = str(desk.page.evaluate("navigator.clipboard.readText()"))
    assert f"/lab?wattle-run={run}&wattle-task=a&wattle-attempt=" in link
    other = Desk(lab, browser, "linked")
    try:
        other.page.goto(f"{link}&token={lab.token}")
        for _ in range(2):
            picked = other.page.locator(".jp-wattle-page:visible .jp-mod-picked")
            expect(picked).to_have_text("line 1500\n", timeout=SLOW)
            expect(picked).to_be_in_viewport()
            other.page.reload()
        expect(other.page.locator(".jp-wattle-page:visible .jp-mod-picked")).to_have_text("line 1500\n", timeout=SLOW)
    finally:
        other.close()


def test_when_lines_were_written_is_shown_on_demand(lab: Lab, desk: Desk) -> None:
    run = ended(lab, "echo one; sleep 1.5; echo two")
    lines = open_log(desk, run)
    lines.focus()
    gutter = lines.locator(".jp-wattle-log-gutter")
    expect(gutter.last).to_have_attribute("data-time", "")
    desk.page.keyboard.press("t")
    expect(gutter.last).to_have_attribute("data-time", re.compile(r"^\d\d:\d\d:\d\d\.\d$"))
    desk.page.keyboard.press("t")
    expect(gutter.last).to_have_attribute("data-time", re.compile(r"^\+0:00:0[1-9]\.\d$"))
    expect(gutter.first).to_have_attribute("data-time", re.compile(r"^\+0:00:0\d\.\d$"))


def test_a_line_of_ten_megabytes_does_not_stop_the_page(lab: Lab, desk: Desk) -> None:
    run = ended(lab, "echo before; head -c 10000000 /dev/zero | tr '\\0' x; echo; echo after")
    lines = open_log(desk, run)
    sees(lines, "after")
    sees(lines, "before")
    cut = lines.locator(".jp-wattle-log-cut")
    expect(cut).to_have_attribute("aria-label", "… 10.0 MB in this line: download the log to see all of it")
    with desk.page.expect_download() as download:
        cut.evaluate("link => link.click()")
    assert re.fullmatch(r"log-\d+-a-1.log", download.value.suggested_filename)
    assert os.path.getsize(download.value.path()) == 10_000_014
    desk.page.keyboard.press("w")
    assert len(lines.evaluate("box => box.innerText")) < 100_000


def test_following_yields_to_who_scrolls_and_says_how_to_come_back(lab: Lab, desk: Desk) -> None:
    go = lab.notebooks / "follow-go"
    run = begun(lab, f"seq 1 500; while [ ! -e {go} ]; do sleep 0.05; done; seq 501 600")
    lines = open_log(desk, run)
    sees(lines, "500")
    lines.hover()
    desk.page.mouse.wheel(0, -2000)
    back = desk.run_page.get_by_role("button", name="Not following")
    expect(back).to_be_visible()
    before = seen(lines)
    go.touch()
    expect(status(desk)).to_contain_text("600 lines")
    assert seen(lines) == before
    desk.picture("log-paused")
    lines.focus()
    desk.page.keyboard.press("G")
    sees(lines, "600")


def test_a_log_is_followed_on_in_another_theme(lab: Lab, open_notebook: Open) -> None:
    cell = """%%wattle logtheme
a: 'i=0; while [ ! -e logtheme-go ]; do i=$((i+1)); echo line $i; sleep 0.05; done; echo over'"""
    notebook = open_notebook(lab, "%load_ext wattle_jupyter", cell, "%wattle run logtheme")
    notebook.run_all()
    log = notebook.open_log("a")
    expect(log.get_by_text("line 40", exact=True)).to_be_visible()
    for theme in ("Dark", "Light"):  # the page is hidden for a moment, and hidden boxes say that they are scrolled
        notebook.theme(theme)
        later = lab.get(f"runs/{notebook.run}/tasks/a/logs?offset=-1&limit=4")["size"] // len("line 40\n") + 20
        expect(log.get_by_text(f"line {later}", exact=True)).to_be_visible()
    (lab.notebooks / "logtheme-go").touch()
    expect(log.get_by_text("over", exact=True)).to_be_visible()
    expect(log.get_by_role("button", name="Not following")).to_have_count(0)


def test_the_log_fits_narrow_dark_and_contrasting_pages(lab: Lab, open_notebook: Open) -> None:
    styles = r"\033[1;38;5;208mbold orange\033[0m \033[3;4;34mleaning\033[0m \033[7mreverse\033[0m\n"
    text = f"printf '{styles}'; seq 1 40; echo a long line $(seq 1 40)"
    cell = f"%%wattle logfits\na: {text!r}"
    notebook = open_notebook(
        lab, "%load_ext wattle_jupyter", cell, "%wattle run logfits", viewport={"width": 420, "height": 900}
    )
    notebook.command("application:toggle-left-area")
    notebook.run_all()
    notebook.expect_run("completed")
    log = notebook.open_log("a")
    expect(log.locator("[role=status]").first).to_contain_text("42 lines")
    for theme in ("Light", "Dark"):
        notebook.theme(theme)
        notebook.shoot(f"log-narrow-{theme.lower()}")
        assert log.evaluate("log => log.scrollWidth <= log.clientWidth")
    for button in log.locator("button, a.jp-wattle-button").all():
        assert button.get_attribute("aria-label") or button.inner_text()
    notebook.page.emulate_media(forced_colors="active")
    notebook.shoot("log-forced-colors")

"""A scripted session in a real JupyterLab: runs, failures, retries, restarts, killed servers, huge logs.

    python3 dev.py session --minutes 30

Two pages are watched all the time: a notebook, which is reloaded now and then, and a desk with sidebar and tabs of
runs, which never is. At the end no page may have reported an error but those that a dead server must make, each run
must be shown as the API has it, the heap of the pages must not have grown with time, and no process may be left.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

from conftest import SWITCHES
from desk import Desk
from lab import RESULTS, Lab, Notebook, chromium, end_kernels
from playwright.sync_api import Error, Locator, expect, sync_playwright
from processes import clear, scratch, until
from witness import Console, Heap, disagreement, processes_of

LARGE = 2_000
SLOW = 300_000  # ms; a session is to find faults, not slow machines
LOG_LINES, LOG_LINE = 10_737_419, 100  # a GiB of lines with their number
MOST_GROWTH = 1.0  # MB of heap per minute
MOST_HEAP = 400.0  # MB

ETL = """%%wattle etl
fetch_orders: 'for i in $(seq 20); do echo "order $i"; sleep 0.03; done'
fetch_rates: echo 42 rates
clean <- fetch_orders, fetch_rates: sleep 0.2; echo clean
model_a <- clean: sleep 0.4; echo a
model_b <- clean: sleep 0.3; echo b
model_c <- clean: sleep 0.2; echo c
compare <- model_a, model_b, model_c: echo compared
report <- compare: echo done
"""
FLAKY = r"""%%wattle flaky
load: printf '\033[32mloaded\033[0m\n'
check <- load: 'echo looking; [ -e mended ] || { echo "no such table" >&2; exit 3; }'
again:
  run: '[ -e "again-$WATTLE_TASK_RUN" ] && exit 0; touch "again-$WATTLE_TASK_RUN"; exit 1'
  retries: 2
  retry_delay: 0.1s
publish <- check, again: echo published
"""
STREAM = """%%wattle stream
source: 'i=0; while [ ! -e go ]; do i=$((i+1)); echo "reading $i"; sleep 0.02; done; echo "all of it"'
left <- source: echo left
right <- source: sleep 0.2; echo right
merge <- left, right: echo merged
"""
DEFINE_LARGE = f"""
from wattle_jupyter import client
tasks = {{}}
for layer in range(20):
    for i in range({LARGE // 20}):
        needs = [f"t{{layer - 1}}_{{(i + k) % {LARGE // 20}}}" for k in (0, 7)] if layer else []
        tasks[f"t{{layer}}_{{i}}"] = {{"run": ["echo", f"{{layer}} {{i}}"], "needs": needs}}
client.find().define({{"name": "large", "tasks": tasks}});
"""
GIGABYTE = f"""
import sys
for first in range(0, {LOG_LINES}, 10_000):
    lines = (f"line {{n:08d}} ".ljust({LOG_LINE - 1}, ".") for n in range(first, min(first + 10_000, {LOG_LINES})))
    sys.stdout.write("\\n".join(lines) + "\\n")
"""
CELLS = {
    "load": "%load_ext wattle_jupyter",
    "define-etl": ETL,
    "define-flaky": FLAKY,
    "define-stream": STREAM,
    "define-large": DEFINE_LARGE,
    "define-gigabyte": "%%wattle gigabyte\nwrite: python3 gigabyte.py",
    "etl": "%wattle run etl",
    "flaky": "%wattle run flaky",
    "stream": "%wattle run stream",
    "large": "%wattle run large",
    "gigabyte": "%wattle run gigabyte",
}
_SHOW = """([at, name]) => {
  const panel = [...window.jupyterapp.shell.widgets('main')].find(w => w.sessionContext);
  panel.content.activeCellIndex = at;
  panel.content.scrollToItem(at, 'center');
  panel.content.widgets[at].node.dataset.session = name;
}"""
_TO_MIDDLE = "box => { box.scrollTop = (box.scrollHeight - box.clientHeight) / 2 }"
_RUN_OF = """at => {
  const panel = [...window.jupyterapp.shell.widgets('main')].find(w => w.sessionContext);
  return panel.content.model.cells.get(at).outputs.toJSON().map(one => one.metadata?.wattle?.run).find(Boolean) ?? null;
}"""


class Session:
    """The acts. Each leaves the page as it found it, and its runs at their ends."""

    def __init__(self, lab: Lab, notebook: Notebook, desk: Desk, console: Console, seed: int) -> None:
        self.lab, self.notebook, self.desk, self.console = lab, notebook, desk, console
        self.chance = random.Random(seed)
        self.heaps = {"notebook, reloaded at times": Heap(notebook.page), "desk, never reloaded": Heap(desk.page)}
        self.names = list(CELLS)
        self.faults: list[str] = []
        self.took: dict[str, list[float]] = defaultdict(list)
        self.done: Counter[str] = Counter()

    # ------------------------------------------------------------------------------------------------- what a user does

    def prepare(self) -> None:
        for name in self.names:
            if name == "load" or name.startswith("define"):
                self._execute(name)

    def _execute(self, name: str) -> Locator:
        """Run the cell and wait for the kernel. Returns the cell."""
        at = self.names.index(name)
        page = self.notebook.page
        page.evaluate(_SHOW, [at, name])
        page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-cell').then(() => null)")
        self.notebook.ready()
        return page.locator(f"[data-session={name}]")

    def start(self, name: str) -> tuple[str, Locator]:
        """A new run of the workflow: its id, and its view in the cell."""
        at = self.names.index(name)
        before = self.notebook.page.evaluate(_RUN_OF, at)
        self._execute(name)
        run = until(lambda: (new := self.notebook.page.evaluate(_RUN_OF, at)) != before and new, SLOW / 1000)
        self.done["runs"] += 1
        return str(run), self.view(name)

    def view(self, name: str) -> Locator:
        self.notebook.page.evaluate(_SHOW, [self.names.index(name), name])
        return self.notebook.page.locator(f"[data-session={name}] .jp-wattle-run")

    def come_back(self, name: str) -> Locator:
        """After a reload: the view of the cell, live again."""
        self.notebook.ready()
        view = self.view(name)
        expect(view).to_have_attribute("data-live", "true", timeout=SLOW)
        return view

    def finish(self, view: Locator, run: str, state: str) -> None:
        expect(view.locator(".jp-wattle-title .jp-wattle-state")).to_have_text(state, timeout=SLOW)
        self.lab.ended(run, SLOW / 1000)
        self.agree(view, run)

    def agree(self, view: Locator, run: str) -> None:
        if problem := disagreement(self.lab, view, run):
            self.faults.append(problem)

    @contextlib.contextmanager
    def streaming(self) -> Iterator[tuple[str, Locator]]:
        """A run that goes on until the end of the block, and then to its end."""
        (self.lab.notebooks / "go").unlink(missing_ok=True)
        run, view = self.start("stream")
        task_is(view, "source", "running")
        yield run, view
        (self.lab.notebooks / "go").touch()
        self.finish(self.view("stream"), run, "completed")
        log = self.lab.get(f"runs/{run}/tasks/source/logs?offset=0&limit=1048576")["text"].splitlines()
        if log != [f"reading {n}" for n in range(1, len(log))] + ["all of it"]:
            self.faults.append(f"run {run[:8]}: the log of `source` has not each line once and in order")

    # ------------------------------------------------------------------------------------------------------------- acts

    def a_run_completes(self) -> None:
        run, view = self.start("etl")
        view.locator("[data-task=fetch_orders]").click()
        expect(view.get_by_text("order 20", exact=True)).to_be_visible()
        view.get_by_role("button", name="Close").click()
        self.finish(view, run, "completed")

    def a_run_fails_and_is_retried(self) -> None:
        (self.lab.notebooks / "mended").unlink(missing_ok=True)
        run, view = self.start("flaky")
        self.finish(view, run, "failed")
        self.done["failures"] += 1
        expect(view.locator(".jp-wattle-failures")).to_contain_text("no such table")
        (self.lab.notebooks / "mended").touch()
        view.get_by_role("button", name="Retry failed").click()
        self.done["retries"] += 1
        self.finish(view, run, "completed")

    def a_run_is_cancelled(self) -> None:
        (self.lab.notebooks / "go").unlink(missing_ok=True)
        run, view = self.start("stream")
        task_is(view, "source", "running")
        view.get_by_role("button", name="Cancel", exact=True).click()
        view.get_by_role("button", name="Cancel run").click()
        self.finish(view, run, "cancelled")

    def one_task_is_stopped_and_retried(self) -> None:
        with self.streaming() as (_, view):
            view.locator("[data-task=source]").click()
            view.get_by_role("button", name="Stop").first.click()
            task_is(view, "source", "cancelled")
            view.get_by_role("button", name="Retry", exact=True).first.click()
            self.done["retries"] += 1
            task_is(view, "source", "running")
            view.get_by_role("button", name="Close").click()

    def the_kernel_is_restarted(self) -> None:
        with self.streaming() as (_, view):
            self.notebook.restart_kernel()
            self.done["kernel restarts"] += 1
            task_is(view, "source", "running")
        self._execute("load")

    def the_page_is_reloaded(self) -> None:
        with self.streaming():
            self.notebook.save()
            self.notebook.page.reload()
            self.done["reloads"] += 1
            task_is(self.come_back("stream"), "source", "running")
        self._execute("load")

    def the_server_is_killed(self) -> None:
        with self.streaming() as (_, view):
            self.notebook.save()
            kernels = self.kernels()
            with self.console.outage():
                self.lab.kill()
                self.done["server kills"] += 1
                expect(view.locator(".jp-wattle-link")).to_have_text("reconnecting", timeout=SLOW)
                self.lab.launch()
                for page in (view, self.desk.sidebar):
                    expect(page.locator(".jp-wattle-link").first).to_have_text("live", timeout=SLOW)
                end_kernels(kernels)
                task_is(view, "source", "running")
                self.notebook.page.reload()
                self.come_back("stream")
        self._execute("load")

    def the_theme_is_switched(self) -> None:
        run, view = self.start("etl")
        for name in ("Dark", "Light"):
            self.notebook.theme(name)
            self.desk.theme(name)
        self.done["theme switches"] += 4
        self.finish(view, run, "completed")

    def the_window_is_narrow(self) -> None:
        self.notebook.page.set_viewport_size({"width": 390, "height": 844})
        try:
            self.notebook.command("application:toggle-left-area")
            run, view = self.start("etl")
            self.finish(view, run, "completed")
        finally:
            self.notebook.command("application:toggle-left-area")
            self.notebook.page.set_viewport_size({"width": 1280, "height": 1000})
        self.agree(self.view("etl"), run)

    def runs_are_found_in_the_sidebar(self) -> None:
        self.lab.run({"a": "echo a", "b <- a": "exit 4"}, "searched", working_dir=str(self.lab.notebooks))
        box = self.desk.sidebar.get_by_role("searchbox")
        box.fill("searched")
        expect(self.desk.rows.first).to_contain_text("searched")
        run = str(self.desk.rows.first.get_attribute("data-run"))
        self.desk.see(run, "failed")
        self.compare_page(run)
        box.fill("")
        self.done["runs"] += 1
        self.done["failures"] += 1

    def two_thousand_tasks_run(self) -> None:
        run, view = self.start("large")
        self.desk.command("wattle:open-run", run=run)
        all_done = re.compile(rf"^{LARGE:,} of {LARGE:,} tasks")
        expect(view.locator(".jp-wattle-counts")).to_have_text(all_done, timeout=SLOW)
        self.finish(view, run, "completed")
        self.agree(self.desk.run_page, run)
        self.desk.command("application:close")

    def a_gigabyte_of_log_is_opened_in_its_middle(self) -> None:
        run, view = self.start("gigabyte")
        size = LOG_LINES * LOG_LINE
        path = f"runs/{run}/tasks/write/logs?offset=-1&limit=4"
        until(lambda: self.lab.get(path)["size"] == size, SLOW / 1000)
        self.finish(view, run, "completed")
        view.locator("[data-task=write]").click()
        lines = view.locator(".jp-wattle-log-line")
        expect(lines.last).to_contain_text(f"line {LOG_LINES - 1:08d}", timeout=SLOW)
        view.locator(".jp-wattle-log-lines").evaluate(_TO_MIDDLE)
        numbers = until(lambda: middle(lines.all_text_contents()), 60)
        wanted = list(range(numbers[0], numbers[0] + len(numbers)))
        if numbers != wanted:
            self.faults.append(f"the middle of a large log shows the lines {numbers[:40]}")
        self.sample()
        self.done["gigabyte logs"] += 1
        view.get_by_role("button", name="Close").click()

    # ---------------------------------------------------------------------------------------------------------- judging

    def kernels(self) -> set[int]:
        return {one.pid for one in processes_of(self.lab.home) if one.pid != self.lab.pid}

    def sample(self) -> None:
        for heap in self.heaps.values():
            heap.sample()

    def compare_page(self, run: str) -> None:
        """Open the run's own page at the desk, compare, close it."""
        self.desk.command("wattle:open-run", run=run)
        expect(self.desk.run_page.get_by_text(run[:8], exact=True)).to_be_visible()
        self.agree(self.desk.run_page, run)
        self.desk.command("application:close")

    def compare_all(self) -> int:
        """Every run that the API has, in the list and on its page."""
        number, page, seen = 0, 1, True
        while seen:
            seen = self.lab.get(f"runs?page_size=200&page={page}")["data"]
            for run in seen:
                self.desk.sidebar.get_by_role("searchbox").fill(run["id"][:12])
                try:
                    self.desk.see(run["id"], run["state"])
                except AssertionError as error:
                    self.faults.append(f"run {run['id'][:8]} in the list is not {run['state']}: {first_line(error)}")
                self.compare_page(run["id"])
            number, page = number + len(seen), page + 1
        self.desk.sidebar.get_by_role("searchbox").fill("")
        return number

    # ----------------------------------------------------------------------------------------------------------- course

    ONCE = (a_gigabyte_of_log_is_opened_in_its_middle, two_thousand_tasks_run)
    OFTEN = (
        *(a_run_completes, a_run_fails_and_is_retried, a_run_is_cancelled, one_task_is_stopped_and_retried),
        *(the_kernel_is_restarted, the_page_is_reloaded, the_server_is_killed, the_theme_is_switched),
        *(the_window_is_narrow, runs_are_found_in_the_sidebar),
    )

    def play(self, seconds: float) -> None:
        """Each act once; then the everyday ones in random order and the large run now and then, until time is up."""
        end = time.monotonic() + seconds
        acts: list[Callable[[Session], None]] = [*self.ONCE, *self.OFTEN]
        while acts or time.monotonic() < end:
            if not acts:
                acts = self.chance.sample(self.OFTEN, len(self.OFTEN))
                acts += [Session.two_thousand_tasks_run] if self.chance.random() < 0.5 else []
            self.act(acts.pop(0))

    def act(self, act: Callable[[Session], None]) -> None:
        name = act.__name__.replace("_", " ")
        begin = time.monotonic()
        try:
            act(self)
        except (AssertionError, Error) as error:
            self.faults.append(f"{name}: {first_line(error)}")
            self.recover(name)
        self.took[name].append(time.monotonic() - begin)
        self.sample()
        heaps = ", ".join(f"{heap.samples[-1][1]:.0f}" for heap in self.heaps.values())
        told = f"{name}  (heaps {heaps} MB; {len(self.faults)} faults)"
        print(f"{time.strftime('%H:%M:%S')}  {self.took[name][-1]:6.1f} s  {told}", flush=True)

    def recover(self, name: str) -> None:
        """Whatever state the act left: pictures, no open run, a fresh notebook."""
        number = len(self.faults)
        for page, kind in ((self.notebook.page, "notebook"), (self.desk.page, "desk")):
            with contextlib.suppress(Error):
                RESULTS.mkdir(exist_ok=True)
                page.screenshot(path=str(RESULTS / f"session-fault-{number}-{kind}.png"))
        print(f"   fault: {self.faults[-1]}", flush=True)
        if self.lab.process.poll() is not None:
            with self.console.outage():
                self.lab.launch()
        (self.lab.notebooks / "go").touch()
        for run in self.lab.get("runs?status=running&page_size=200")["data"]:
            self.lab.request("POST", f"runs/{run['id']}/cancel")
        self.notebook.page.reload()
        self.notebook.ready()
        self._execute("load")


def middle(texts: list[str]) -> list[int] | None:
    """Numbers of the lines, if they are from the middle of the log and complete."""
    numbers = [int(found.group(1)) for text in texts if (found := re.search(r"line (\d{8}) \.+", text))]
    return numbers if len(numbers) > 10 and 0.4 < numbers[0] / LOG_LINES < 0.6 else None


def task_is(view: Locator, task: str, state: str) -> None:
    expect(view.locator(f"[data-task={task}].jp-mod-{state}").first).to_be_visible(timeout=SLOW)


def first_line(error: BaseException) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", " | ".join(str(error).strip().splitlines()[:6]))


def report(session: Session, console: Console, compared: int, left: list[str]) -> int:
    print(f"\n{'act':<46}{'times':>6}{'median s':>10}{'longest s':>11}")
    for name, took in session.took.items():
        print(f"{name:<46}{len(took):>6}{sorted(took)[len(took) // 2]:>10.1f}{max(took):>11.1f}")
    print("\n" + ", ".join(f"{count} {name}" for name, count in sorted(session.done.items())))
    print(f"{compared} runs compared in the list and on their pages\n")
    print(f"{'errors in the console that a dead server must make':<76}{'count':>6}")
    for name, count in sorted(console.expected().items()):
        print(f"{name:<76}{count:>6}")
    headings = "".join(f"{name:>9}" for name in ("first", "median", "largest", "last"))
    print(f"\n{'heap after garbage collection':<32}{headings}{'per minute':>13}   DOM nodes")
    for name, heap in session.heaps.items():
        used = [one for _, one, _ in heap.samples]
        nodes = [n for _, _, n in heap.samples]
        figures = "".join(f"{one:>6.1f} MB" for one in (used[0], sorted(used)[len(used) // 2], max(used), used[-1]))
        print(f"{name:<32}{figures}{heap.slope():>+10.2f} MB   {nodes[0]} → {nodes[-1]}")
    faults = session.faults + [f"console: {text}" for text in console.faults()]
    faults += [f"left running: {one}" for one in left]
    for name, heap in session.heaps.items():
        if heap.slope() > MOST_GROWTH and len(heap.samples) > 20:
            faults.append(f"the heap of the {name} grows by {heap.slope():.2f} MB per minute")
        if heap.largest() > MOST_HEAP:
            faults.append(f"the heap of the {name} was {heap.largest():.0f} MB")
    print(f"\n{len(faults)} faults")
    for fault, count in Counter(faults).items():
        print(f"  {count} × {fault}")
    return int(bool(faults))


def stopped(lab: Lab) -> list[str]:
    """End the server as a user does. What still runs when all that waits had its time."""
    lab.end()
    with contextlib.suppress(AssertionError):
        until(lambda: not processes_of(lab.home.parent), 90)  # the keeper stays for a minute
    return [f"{one.pid} {' '.join(one.cmdline())[:120]}" for one in processes_of(lab.home.parent)]


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="session", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10_000)
    options = parser.parse_args(words)
    print(f"seed {options.seed}", flush=True)
    with scratch() as folder, sync_playwright() as playwright:
        lab = Lab(folder / "home", folder / "s")
        try:
            lab.patience = SLOW / 1000
            expect.set_options(timeout=SLOW)
            lab.launch()
            (lab.notebooks / "gigabyte.py").write_text(GIGABYTE)
            browser = playwright.chromium.launch(executable_path=chromium(), args=SWITCHES)
            console = Console()
            notebook = Notebook(lab, browser, lab.write("session", *CELLS.values()))
            desk = Desk(lab, browser, "desk")
            for page in (notebook.page, desk.page):
                page.set_default_timeout(SLOW)
                console.listen(page)
            notebook.open()
            desk.open()
            desk.show()
            session = Session(lab, notebook, desk, console, options.seed)
            session.prepare()
            session.play(options.minutes * 60)
            compared = session.compare_all()
            session.sample()
            desk.picture("session-desk")
            browser.close()
            left = stopped(lab)
            if re.search(r"Traceback", lab.said()):
                session.faults.append(f"the server printed a traceback:\n{lab.said()[-3000:]}")
            return report(session, console, compared, left)
        finally:
            with contextlib.suppress(AssertionError, AttributeError):
                lab.end()
            clear(lab.store)


if __name__ == "__main__":
    os.environ.pop("PYTHONPATH", None)  # it is for this process alone
    sys.exit(main(sys.argv[1:]))

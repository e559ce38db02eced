"""A notebook being executed: what its cells print is printed, and each cell that ended is saved.

A module of its own because it imports nbclient, which takes as long as a kernel takes to start: meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import nbformat
from jupyter_client.asynchronous.client import AsyncKernelClient
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode

from wattle_jupyter import parameters, passing
from wattle_jupyter.kernelprocess import KernelProcess, KernelTrouble

OUTPUTS = 3600
"""Seconds that the outputs of a cell may come after its end: a gigabyte of them takes its time."""

STOPPED = 128 + signal.SIGTERM
"""As a shell says it."""

_SKIPPED = "skip-execution"
_INJECTED = "injected-parameters"
_TASK = Path(__file__).with_name("task.py")
_BOOT = (  # the kernel may be one that does not have this package: tasks have it all the same
    '__import__("importlib.util").util.find_spec("wattle_jupyter") or '
    f'__import__("runpy").run_path({str(_TASK)!r})["be_the_package"]()'
)


_QUIET = (  # else ipykernel's control thread may wait ten seconds at the end, for a thread that has ended before
    'setattr(__import__("ipykernel.iostream", fromlist=["OutStream"]).OutStream, "flush", lambda stream: None)'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Params of the workflow, inputs of the task with their kind and text, and arguments of the command."""

    params: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    told: Mapping[str, Any] = field(default_factory=dict)


class NotebookRun(NotebookClient):
    """Executes ``notebook`` and keeps saving it to ``copy``. ``name`` is how to speak of it."""

    def __init__(self, notebook: NotebookNode, copy: Path, name: str) -> None:
        super().__init__(notebook, timeout=None, iopub_timeout=OUTPUTS, skip_cells_with_tag=_SKIPPED)
        self._copy, self._name = copy, name
        self._place = "before the first cell"
        self._stopped = False
        self._leaves = False  # does the kernel end by the will of a cell?
        self.on_cell_executed = self._heed_the_exit
        self._line_open = False  # does what was printed last go on?
        self._rest = 0.0  # no save before this time

    async def run(self, kernel: KernelProcess, given: Given) -> int:
        """Exit code: 0, 1 if a cell failed or the kernel ended, or STOPPED. Raises KernelTrouble if none is ready."""
        self.reset_execution_trackers()
        self._keep()  # whether it can be saved is known before hours have passed
        self._heed_the_end()
        self.kc = client = kernel.client()
        try:
            about = await kernel.ready(client)
            self.nb.metadata["language_info"] = about["language_info"]
            injected = self._inject(given, str(about["language_info"].get("name", "")))
            code = await self._execute(client, injected)
            await self._end(kernel, client)
            return code
        except (DeadKernelError, asyncio.CancelledError):  # nbclient takes the second for the first
            if not self._stopped:
                self._say(f"the kernel ended {self._place} ({kernel.how_it_ended()})")
                return 1
            self._say(f"stopped {self._place}")
            return STOPPED
        finally:
            self.set_widgets_metadata()
            self._keep()
            client.stop_channels()

    # ---------------------------------------------------------------------------------------------------- what goes in

    def _inject(self, given: Given, language: str) -> Injected | None:
        """Put a cell with what is given after the one with the defaults. Raises KernelTrouble if it cannot be."""
        if language != "python":
            if given.told:
                listed = ", ".join(f"`{name}`" for name in given.told)
                cure = "pass an input: the notebook finds it in the variable WATTLE_INPUT_X of its environment"
                raise KernelTrouble(
                    f"only notebooks in Python take parameters ({listed}), not one in {language}; {cure}"
                )
            return None
        self.nb.cells = [cell for cell in self.nb.cells if _INJECTED not in _tags(cell)]  # it may be a copy itself
        at = next((i for i, cell in enumerate(self.nb.cells) if parameters.TAG in _tags(cell)), None)
        takes = parameters.assigned(self.nb.cells[at].source) if at is not None else frozenset()
        values = parameters.given(given.params, given.inputs, given.told, takes)
        if not values:
            return None
        unknown = ", ".join(name for name in given.told if name not in takes)
        if at is None and given.told:
            self._say(f"{self._name} has no cell tagged `{parameters.TAG}`: {unknown} set before all cells")
        elif unknown:  # it may be a slip of the pen
            self._say(f"the cell of {self._name} tagged `{parameters.TAG}` has no default for {unknown}; set as given")
        cell = nbformat.v4.new_code_cell(  # type: ignore[no-untyped-call]  # it has no types
            parameters.cell(values), metadata={"tags": [_INJECTED]}
        )
        index = 0 if at is None else at + 1
        self.nb.cells.insert(index, cell)
        return Injected(index, parameters.hidden(values))

    # ------------------------------------------------------------------------------------------------------- its cells

    async def _execute(self, client: AsyncKernelClient, injected: Injected | None) -> int:
        if injected is not None or self.nb.metadata["language_info"].get("name") == "python":
            client.execute(_BOOT, silent=True, store_history=False)
        own = [i for i, cell in enumerate(self.nb.cells) if _is_run(cell) and _INJECTED not in _tags(cell)]
        for n, index in enumerate(own, 1):
            if injected is not None and injected.index < index:
                self._place = "while its parameters were set"
                client.execute(injected.before, silent=True, store_history=False)
                if not await self._ends_well(self.nb.cells[injected.index], injected.index):
                    return 1
                injected = None
            cell = self.nb.cells[index]
            self._place = f"in cell {n} of {len(own)}"
            self._head(n - 1, len(own), f"[{n}/{len(own)}] {_first_line(cell.source)}")
            if not await self._ends_well(cell, index):
                return 1
            if self._leaves and n < len(own):  # it ends at some time during the next cells
                self._say(
                    f"the kernel was asked to end {self._place}, by exit() or quit(), and there are cells after it; "
                    f"remove it, or tag those `{_SKIPPED}`"
                )
                return 1
            self._save_now_and_then()
        self._head(len(own), len(own), f"{len(own)} of {len(own)} cells done")
        return 0

    async def _ends_well(self, cell: NotebookNode, index: int) -> bool:
        try:
            await self.async_execute_cell(cell, index)
        except CellExecutionError as error:
            self._say(f"{self._name} failed {self._place}: {error.ename}: {_cured(error)}")
            return False
        finally:
            cell.outputs = joined(cell.outputs)
        return True

    def _heed_the_exit(self, execute_reply: Mapping[str, Any], **_: object) -> None:
        asked = execute_reply["content"].get("payload") or ()
        self._leaves = any(one.get("source") == "ask_exit" for one in asked)

    async def _end(self, kernel: KernelProcess, client: AsyncKernelClient) -> None:
        if self.nb.metadata["language_info"].get("name") == "python":
            with contextlib.suppress(Exception):  # it may be ending already
                await client.execute(_QUIET, silent=True, reply=True, timeout=1)
        if not kernel.end(client):
            self._say(f"a thread or process of {self._name}, or what it registered with atexit, did not end: killed")

    # -------------------------------------------------------------------------------------------------- what comes out

    def process_message(self, msg: dict[str, Any], cell: NotebookNode, cell_index: int) -> NotebookNode | None:
        """Print what the cell says, and take it down as nbclient does."""
        content = msg["content"]
        if msg["msg_type"] == "stream":
            self._write(sys.stderr if content["name"] == "stderr" else sys.stdout, content["text"])
        elif msg["msg_type"] in ("execute_result", "display_data"):
            self._write(sys.stdout, f"{content['data'].get('text/plain', '')}\n")
        elif msg["msg_type"] == "error":
            self._write(sys.stderr, "\n".join([*content["traceback"], ""]), fresh=True)
        return super().process_message(msg, cell, cell_index)

    def _head(self, done: int, total: int, text: str) -> None:
        """A line of ours, written over the mark of how far it is: that is for programs."""
        mark = f"::wattle progress={done}/{total}::"
        self._write(sys.stdout, f"{mark}\r{text.ljust(len(mark))}\n", fresh=True)

    def _say(self, text: str) -> None:
        self._write(sys.stderr, f"wattle: {text}\n", fresh=True)

    def _write(self, to: TextIO, text: str, *, fresh: bool = False) -> None:
        """``fresh``: at the beginning of a line."""
        if fresh and self._line_open:
            text = f"\n{text}"
        if text:
            self._line_open = not text.endswith("\n")
            to.write(text)
            to.flush()

    def _heed_the_end(self) -> None:
        """At SIGTERM the copy is saved as it is, and the kernel ended."""
        me = asyncio.current_task()
        assert me is not None

        def stop() -> None:
            self._stopped = True
            me.cancel()

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)

    def _keep(self) -> None:
        """Save the copy, if need be once the disk has room. Raises KernelTrouble where it cannot be."""
        try:
            passing.when_there_is_room(self._save)
        except OSError as error:
            raise KernelTrouble(f"the executed copy cannot be saved as {self._copy}: {error.strerror}") from None

    def _save_now_and_then(self) -> None:
        """What is large is saved less often. That the disk is full is told at the end, if it still is."""
        begun = time.monotonic()
        if begun >= self._rest:
            with contextlib.suppress(OSError):
                self._save()
            self._rest = time.monotonic() + 10 * (time.monotonic() - begun)

    def _save(self) -> None:
        """So that it is whole at any time."""
        self._copy.parent.mkdir(parents=True, exist_ok=True)
        part = self._copy.with_name(f".{self._copy.name}.part")
        text: str = nbformat.writes(self.nb)  # type: ignore[no-untyped-call]  # it has no types
        part.write_text(f"{text}\n", "utf-8")
        part.replace(self._copy)


def joined(outputs: Sequence[NotebookNode]) -> list[NotebookNode]:
    """All that came by a stream as one output, without what was written over. nbclient takes hours for long lines."""
    texts: dict[str, list[str]] = {}
    kept = []
    for output in outputs:
        if output.output_type != "stream":
            kept.append(output)
            continue
        if output.name not in texts:
            kept.append(output)
        texts.setdefault(output.name, []).append(output.text)
    for output in kept:
        if output.output_type == "stream":
            output.text = "\n".join(map(_last_written, "".join(texts[output.name]).split("\n")))
    return kept


def _last_written(line: str) -> str:
    return line[line.rfind("\r", 0, max(len(line) - 1, 0)) + 1 :]


@dataclass(frozen=True, slots=True)
class Injected:
    """Place of the cell that sets what the notebook is given, and the code to be executed before it, unseen."""

    index: int
    before: str


def _tags(cell: NotebookNode) -> list[str]:
    tags = cell.metadata.get("tags", [])
    return tags if isinstance(tags, list) else []


def _is_run(cell: NotebookNode) -> bool:
    return cell.cell_type == "code" and bool(cell.source.strip()) and _SKIPPED not in _tags(cell)


def _cured(error: CellExecutionError) -> str:
    if error.ename == "StdinNotImplementedError":
        return "nobody is there to answer input(); take it as a parameter"
    return str(error.evalue)


def _first_line(source: str) -> str:
    line = source.strip().splitlines()[0]
    return line if len(line) <= 100 else line[:99] + "…"

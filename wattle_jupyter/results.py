"""What a task left, as Python: values, objects and files, fetched when they are looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from wattle_jupyter.client import Client
from wattle_jupyter.errors import Conflict, NotFound, RunFailed
from wattle_jupyter.model import RESULT, State, sole_output
from wattle_jupyter.objects import size_text
from wattle_jupyter.passing import load
from wattle_jupyter.wire import ValueView


class Outputs(Mapping[str, Any]):
    """The outputs of a task by name, as of when it was asked. Each look at an object fetches it anew."""

    def __init__(self, client: Client, run: str, task: str) -> None:
        known = client.task(run, task)
        self._client, self._task = client, task
        self._state, self._reason = State(known["state"]), known["reason"]
        self._views = {view["name"]: view for view in known["outputs"]}

    def __getitem__(self, name: str) -> Any:
        if name not in self._views:
            raise KeyError(name)
        return fetch(self._client, self._task, self._views[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def __repr__(self) -> str:
        listed = ", ".join(f"{name}: {_about(view)}" for name, view in self._views.items())
        return f"<Outputs of {self._task}: {listed or 'none'}>"

    def one(self, name: str) -> Any:
        """Raises Conflict before the task ended, RunFailed if it did not complete, NotFound if it is not there."""
        self._check_completed()
        if name not in self._views:
            close = get_close_matches(name, self._views, 1, 0.6)
            hint = f"did you mean `{close[0]}`?" if close else self._listed()
            raise NotFound(f"{self._task} left no output `{name}`; {hint}")
        return self[name]

    def result(self) -> Any:
        """What the function returned, or the only output. Raises as :meth:`one`."""
        self._check_completed()
        name = sole_output(self._views)
        if name is None:
            raise NotFound(f"{self._task} left no `result`; {self._listed()}")
        return self[name]

    def _listed(self) -> str:
        names = ", ".join(f"`{name}`" for name in self._views)
        return f'it left {names}: take one with .output("{next(iter(self._views))}")' if names else "it left nothing"

    def _check_completed(self) -> None:
        if not self._state.final:
            raise Conflict(f"{self._task} is still {self._state}; wait for it first, with `run.wait()` or `await run`")
        if self._state is not State.COMPLETED:
            why = f": {self._reason}" if self._reason else ""
            cure = f'; its log: `run["{self._task}"].logs()`' if self._state is State.FAILED else ""
            raise RunFailed(f"{self._task} {_ENDED[self._state]}{why}, so it left nothing{cure}")


_ENDED = {State.FAILED: "failed", State.CANCELLED: "was cancelled", State.SKIPPED: "was skipped"}


def fetch(client: Client, task: str, view: ValueView) -> Any:
    """The value itself. Raises NotFound, StoreUnavailable, Conflict if this interpreter cannot unpickle it."""
    if view["kind"] == "json":
        return view["value"]
    if view["kind"] == "object":
        with client.get_object(view["value"]) as file:
            what = "result" if view["name"] == RESULT else f"the output {view['name']}"
            return load(file, f"{what} of {task}")
    return Path(view["kept"]) if view["kept"] else _original(task, view)


def _original(task: str, view: ValueView) -> Path:
    """A file, or folder, of which there is no copy."""
    path = Path(view["value"])
    try:
        found = path.stat()
    except OSError as error:
        raise NotFound(f"{path}, the output {view['name']} of {task}, is gone: {error.strerror}") from None
    if path.is_file() and found.st_size != view["size"]:
        was = f"{size_text(view['size'] or 0)} then, {size_text(found.st_size)} now"
        raise NotFound(
            f"{path} is not what {task} left ({was}), and no copy was kept; "
            "[store] keep_outputs sets up to which size that is done"
        )
    return path


def _about(view: ValueView) -> str:
    if view["kind"] == "json":
        text = repr(view["value"])
        return text if len(text) <= 40 else text[:39] + "…"
    return f"{view['kind']}, {size_text(view['size'])}" if view["size"] is not None else view["kind"]

"""What an end means: from the facts of a host to a state and a reason in plain words."""

from __future__ import annotations

import signal as signals
from collections.abc import Sequence
from dataclasses import dataclass, field

from wattle_jupyter.model import AttemptState, Left

_WORDS = {
    "SIGSEGV": "segmentation fault",
    "SIGFPE": "arithmetic error",
    "SIGILL": "illegal instruction",
    "SIGBUS": "bus error",
    "SIGABRT": "aborted",
    "SIGXCPU": "CPU time limit",
    "SIGXFSZ": "file size limit",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How an attempt ended, as its host tells it, with what it left under the names of its outputs."""

    code: int | None = None
    signal: int | None = None
    why: str = ""
    stopped_by: str = ""  # who asked for the stop, if anybody did
    values: dict[str, Left] = field(default_factory=dict)
    missing: Sequence[str] = ()  # declared outputs that are not there, as text for people


def judge(end: End, timeout: float | None, required_missing: bool) -> tuple[AttemptState, str]:
    """State and reason of an attempt that ran and ended. ``timeout`` is the limit that it had, in seconds."""
    if end.why == "stopped":
        return AttemptState.CANCELLED, f"stopped by {end.stopped_by}" if end.stopped_by else "stopped"
    if end.why == "timed out":
        return AttemptState.FAILED, f"timed out after {seconds(timeout)}"
    if end.why or end.signal is not None or end.code != 0:
        return AttemptState.FAILED, end.why or (f"exit {end.code}" if end.signal is None else killed_by(end.signal))
    if end.missing:
        text = "; ".join(end.missing)
        return (AttemptState.FAILED, f"exit 0, but {text}") if required_missing else (AttemptState.COMPLETED, text)
    return AttemptState.COMPLETED, ""


def killed_by(number: int) -> str:
    """``killed by SIGSEGV (segmentation fault)``."""
    try:
        name = signals.Signals(number).name
    except ValueError:
        return f"killed by signal {number}"
    return f"killed by {name} ({_WORDS[name]})" if name in _WORDS else f"killed by {name}"


def seconds(duration: float | None) -> str:
    """A duration as people write it: ``60 s``, ``0.5 s``."""
    return "its limit" if duration is None else f"{duration:.12g} s"

"""Big work beside the event loop: what comes out is the same, and threads change over sooner only meanwhile."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import pytest
from coroutines import asynchronous
from hypothesis import given
from hypothesis import strategies as st

from wattle_jupyter import jsontext, spec
from wattle_jupyter.aside import SOON, Aside, turns

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON, st.integers(0, 4))
def test_json_made_in_pieces_is_the_same_text(thing: Any, depth: int) -> None:
    text = jsontext.encode(thing, depth)
    assert text == json.dumps(thing, separators=(",", ":"))
    assert jsontext.decode(text) == json.loads(text)


def in_other_threads_meanwhile(work: Callable[[], object]) -> int:
    """How often another thread got its turn while this one was at ``work``."""
    turn, over = 0, threading.Event()

    def count() -> None:
        nonlocal turn
        while not over.is_set():
            turn += 1

    other = threading.Thread(target=count)
    with turns:
        other.start()
        before = turn
        work()
        got = turn - before
        over.set()
        other.join()
    return got


def test_other_threads_get_their_turn_while_big_json_is_made_and_read() -> None:
    tasks = [{"task": f"t{n}", "state": "created", "reason": "", "attempts": 0} for n in range(20_000)]
    text = json.dumps(tasks)
    assert in_other_threads_meanwhile(lambda: jsontext.encode(tasks, 1)) > 0
    assert in_other_threads_meanwhile(lambda: jsontext.decode(text)) > 0


def test_the_hash_of_a_form_is_the_one_of_its_whole_json() -> None:
    tasks = {f"t{n}": {"run": "é \\{{", "env": {"b": "1", "a": "2"}} for n in range(5)}
    for more in ({}, {"params": {"z": 1, "a": None}, "working_dir": "/x", "on_failure": "stop"}):
        form = spec.dump(spec.load({"name": "w", "tasks": tasks, **more}))
        plain = {key: value for key, value in form.items() if key != "name"}
        plain["tasks"] = list(plain["tasks"].items())
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert spec.digest_of(form) == blake2b(text.encode(), digest_size=16).hexdigest()


@asynchronous
async def test_threads_change_over_sooner_while_something_is_done_aside_and_then_as_before() -> None:
    usual, seen = sys.getswitchinterval(), list[float]()
    both = threading.Barrier(2)
    some = Aside(2)

    def work() -> None:
        both.wait(10)
        seen.append(sys.getswitchinterval())
        both.wait(10)

    await asyncio.gather(some(work), some(work))
    some.close()
    assert seen == pytest.approx([SOON, SOON])
    assert sys.getswitchinterval() == usual


@asynchronous
async def test_what_fails_aside_fails_where_it_was_asked_for_and_changes_nothing() -> None:
    usual, some = sys.getswitchinterval(), Aside(1)
    with pytest.raises(ZeroDivisionError):
        await some(lambda: 1 / 0)
    assert await some(divmod, 7, 2) == (3, 1)
    assert sys.getswitchinterval() == usual
    some.close()

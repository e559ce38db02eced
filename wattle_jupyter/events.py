"""The hub of committed events: whoever watches gets them in order, and nobody who is slow costs memory."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import islice
from typing import cast

from wattle_jupyter import jsontext
from wattle_jupyter.aside import aside
from wattle_jupyter.liverun import BIG
from wattle_jupyter.model import Event
from wattle_jupyter.view import stamp
from wattle_jupyter.wire import EventView

Reader = Callable[[int, str | None], Awaitable[list[Event]]]
"""``(seq, run) → events after seq`` from the store, oldest first, in pieces; an empty list when there are no more."""

KEPT = 16_384
"""Most that is kept in memory, in events and views of task runs. Who is further behind reads the store."""
KEPT_FOR = 15.0
"""Seconds that they are: enough for who was cut off for a moment. Some 2 KB each, an hour of them would be 100 MB."""
AT_ONCE = 16
"""Watchers that are woken in one turn of the event loop: with 500 pages open, others must not wait for them all."""
PIECE = 500
"""Most events that a watcher gets at a time."""
TEXTS = 256
LONG = 1 << 14  # characters: the text of a longer event is not kept
LONG_KEPT = 2.0  # seconds that the text of a big one is: all who watch want it at the same time


class Hub:
    """Publishes what is committed. A watcher is a number: the ``seq`` that it has seen."""

    def __init__(self, read: Reader, newest: int) -> None:
        self.newest = newest
        self._read = read
        self._kept: deque[Event] = deque()
        self._weight = 0
        self._texts: dict[int, str] = {}  # of the newest events, as far as somebody asked
        self._long: tuple[int, asyncio.Future[str]] | None = None  # the text of a big event, while it is wanted
        self._waiting: dict[asyncio.Future[None], None] = {}  # in the order in which they came
        self._closed = False

    def publish(self, events: Sequence[Event]) -> None:
        """Call after the commit, in the order of the commits."""
        if not events:
            return
        if events[0].seq != self.newest + 1:  # what lies between is in the store, and only there
            self._kept.clear()
            self._weight = 0
        self._kept.extend(events)
        self._weight += sum(map(_weight, events))
        oldest = events[-1].at - KEPT_FOR
        while self._kept and (self._weight > KEPT or self._kept[0].at < oldest):
            self._weight -= _weight(self._kept.popleft())
        self.newest = events[-1].seq
        self._wake()

    def close(self) -> None:
        """Let all watchers end."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = list(self._waiting), {}
        _wake_some(waiting, 0)

    async def _change(self) -> None:
        """Returns when something was published since it was called."""
        told = asyncio.get_running_loop().create_future()
        self._waiting[told] = None
        try:
            await told
        finally:
            self._waiting.pop(told, None)  # who goes is not kept until something happens, which may take days

    async def text(self, event: Event) -> str:
        """The event as JSON. Everybody who watches gets the same, so it is made once."""
        if _weight(event) > BIG:
            return await self._long_text(event)
        found = self._texts.get(event.seq)
        if found is None:
            found = jsontext.encode(event_view(event))
            if len(found) <= LONG and event.seq > self.newest - TEXTS:  # an old one is for one watcher only
                self._texts[event.seq] = found
                while len(self._texts) > TEXTS:
                    del self._texts[next(iter(self._texts))]
        return found

    async def _long_text(self, event: Event) -> str:
        if self._long is None or self._long[0] != event.seq:
            making = asyncio.ensure_future(aside(jsontext.encode, event_view(event), 4))
            mine = self._long = (event.seq, making)
            asyncio.get_running_loop().call_later(LONG_KEPT, self._forget, mine)
        return await asyncio.shield(self._long[1])

    def _forget(self, long: tuple[int, asyncio.Future[str]]) -> None:
        if self._long is long:
            self._long = None

    async def follow(self, since: int, run: str | None = None) -> AsyncIterator[list[Event]]:
        """All events after ``since``, in pieces, for ever: first from the store, then as they are committed."""
        while not self._closed:
            if since >= self.newest:
                await self._change()
                continue
            if self._kept and self._kept[0].seq <= since + 1:
                found, since = self._from_memory(since, run)
            else:
                seen = self.newest  # what is published is committed: the read below sees all of it
                found = await self._read(since, run)
                since = found[-1].seq if found else max(since, seen)
            if found:
                yield found

    def _from_memory(self, since: int, run: str | None) -> tuple[list[Event], int]:
        """What is next after ``since``, and up to where nothing else is."""
        newer = islice(reversed(self._kept), self.newest - since)  # they have no gaps; all but a few are old
        found = [e for e in newer if run is None or e.run == run][::-1]
        return (found, self.newest) if len(found) <= PIECE else (found[:PIECE], found[PIECE - 1].seq)


def _wake_some(waiting: Sequence[asyncio.Future[None]], first: int) -> None:
    for told in waiting[first : first + AT_ONCE]:
        if not told.done():  # else whoever waited went
            told.set_result(None)
    if first + AT_ONCE < len(waiting):
        asyncio.get_running_loop().call_soon(_wake_some, waiting, first + AT_ONCE)


def _weight(event: Event) -> int:
    return 1 + len(event.body.get("tasks", ())) + len(event.body.get("run", {}).get("tasks", ()))


def event_view(event: Event) -> EventView:
    # what `kind` and `body` may be is in `EventView`; the scheduler writes nothing else
    return cast(
        EventView,
        {"seq": event.seq, "run": event.run, "kind": event.kind, "at": stamp(event.at), "body": event.body},
    )

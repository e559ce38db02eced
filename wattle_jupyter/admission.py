"""Which runs may go on: so many at a time, and one of a workflow unless its runs may go on side by side.

What a run costs here does not depend on how many others wait.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator

from wattle_jupyter.liverun import LiveRun
from wattle_jupyter.queues import HEAD_START, Entry, shifted


class Admission:
    """Runs that wait stand in one line; those behind an earlier run of their workflow wait aside until it ends.

    Entries may be stale: only what is in ``waiting`` counts.
    """

    def __init__(self, places: int) -> None:
        self.waiting: dict[str, LiveRun] = {}
        self.big = 0  # of those that wait, how many are big
        self._places = places
        self._active: dict[str, str] = {}  # run → workflow
        self._busy: Counter[str] = Counter()  # workflows of active runs
        self._line: list[Entry] = []
        self._aside: dict[str, list[Entry]] = {}  # by workflow
        self._untold: list[str] = []  # runs whose reason to wait may have changed
        self._arrivals = 0

    def wait(self, live: LiveRun) -> None:
        """The run is queued."""
        self._arrivals += 1
        rank = live.run.created_at + HEAD_START[live.run.priority]
        self.waiting[live.run.id] = live
        self.big += live.big
        self._put(live, Entry(rank, self._arrivals, live.run.id))

    def go_on(self, live: LiveRun) -> None:
        """The run is running: it has a place, be there one or not."""
        self._waits_no_more(live)
        self._active[live.run.id] = live.run.workflow
        self._busy[live.run.workflow] += 1

    def end(self, live: LiveRun) -> None:
        """The run is over, whether it waited or went on."""
        self._waits_no_more(live)
        if self._active.pop(live.run.id, None) is not None:
            self._busy[live.run.workflow] -= 1
        if not self._busy[live.run.workflow]:
            del self._busy[live.run.workflow]
            self._call(live.run.workflow)

    def next(self) -> LiveRun | None:
        """The next run that may go on, which has its place by now; None if there is none."""
        while self._line:
            live = self.waiting.get(self._line[0].run)
            if live is not None and not self._is_behind(live):
                if len(self._active) >= self._places:
                    break
                heapq.heappop(self._line)
                self.go_on(live)
                return live
            entry = heapq.heappop(self._line)
            if live is not None:
                self._put(live, entry)
        return None

    def reasons(self) -> Iterator[tuple[LiveRun, str]]:
        """Runs that came, or wait for something else than before, each with what it waits for now."""
        untold, self._untold = self._untold, []
        for run in dict.fromkeys(untold):
            if (live := self.waiting.get(run)) is not None:
                yield live, self._why(live)

    def shift(self, by: float) -> None:
        """The clock was set by so many seconds."""
        for entries in (self._line, *self._aside.values()):
            entries[:] = [shifted(entry, by) for entry in entries]

    def _waits_no_more(self, live: LiveRun) -> None:
        if self.waiting.pop(live.run.id, None) is not None:
            self.big -= live.big

    def _put(self, live: LiveRun, entry: Entry) -> None:
        aside = self._is_behind(live)
        heapq.heappush(self._aside.setdefault(live.run.workflow, []) if aside else self._line, entry)
        self._untold.append(entry.run)

    def _is_behind(self, live: LiveRun) -> bool:
        return not live.workflow.concurrent and live.run.workflow in self._busy

    def _call(self, workflow: str) -> None:
        """The first of those that wait aside comes into the line; if it goes instead, the next one is called."""
        aside = self._aside.get(workflow, [])
        while aside:
            entry = heapq.heappop(aside)
            if (live := self.waiting.get(entry.run)) is not None:
                self._put(live, entry)
                break
        if not aside:
            self._aside.pop(workflow, None)

    def _why(self, live: LiveRun) -> str:
        if len(self._active) >= self._places:
            return f"waits for a place: the limit is {self._places} active at a time"
        return f"waits for an earlier run of {live.run.workflow} to end"

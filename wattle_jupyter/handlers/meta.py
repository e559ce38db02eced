"""What the server says about itself, and the events of all runs as server-sent events."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

from tornado.iostream import StreamClosedError

from wattle_jupyter import health, history, metrics
from wattle_jupyter._version import __version__
from wattle_jupyter.aside import Turn, aside
from wattle_jupyter.errors import InvalidRequest, NotFound, Unavailable
from wattle_jupyter.follower import FOLLOWER
from wattle_jupyter.handlers.base import WattleHandler, reads
from wattle_jupyter.handlers.logs import EventStream
from wattle_jupyter.wire import API_VERSION, Health, HealthCheck, Info, ProgressMessage


class InfoHandler(WattleHandler):
    @reads
    async def get(self) -> None:
        engine = self.engine
        asks_for_another = FOLLOWER in self.request.headers and self.settings.get("wattle_door", False)
        self.answer(
            Info(
                name="wattle-jupyter",
                version=__version__,
                api={"min": API_VERSION, "max": API_VERSION},
                store=engine.store.id,
                generation=engine.store.generation,
                epoch=engine.store.epoch,
                role="follower" if asks_for_another else "owner",
                trouble=engine.scheduler.trouble,
                user=self.username,
            )
        )


class HealthHandler(WattleHandler):
    """Always answered: that it is, is the news that the server lives."""

    has_own_answer = True

    @reads
    async def get(self) -> None:
        self.answer(await self.look())

    async def look(self) -> Health:
        try:
            if self.trouble is not None:
                raise self.trouble
            checks = await health.examine(self.engine)
        except Unavailable as error:
            checks = [HealthCheck(name="engine", state="failed", reason=str(error))]
        return health.summed_up(checks)


class ReadyHandler(HealthHandler):
    """The same, with a status that a load balancer or a container's probe understands."""

    @reads
    async def get(self) -> None:
        found = await self.look()
        self.answer(found, 200 if found["ready"] else 503)


class StatsHandler(WattleHandler):
    @reads
    async def get(self) -> None:
        self.answer(metrics.stats(self.engine))


class OpenApiHandler(WattleHandler):
    answers_itself = True  # the document names this server's paths

    @reads
    async def get(self) -> None:
        self.finish(await aside(_document, self.base_url))


def _document(base_url: str) -> str:
    from wattle_jupyter import openapi  # noqa: PLC0415  pydantic, which few servers need

    return json.dumps(openapi.document(base_url))


class NothingHandler(WattleHandler):
    """Whatever else is asked below the API's path: an answer that a program can read, not Jupyter's page."""

    answers_itself = True

    @reads
    async def get(self, path: str) -> None:
        raise NotFound(f"there is nothing at wattle/api/{path[:200]}; wattle/api/openapi.json lists what there is")

    head = post = put = patch = delete = get


class EventsHandler(EventStream):
    @reads
    async def get(self) -> None:
        text = self.get_query_argument("run", None)
        run = None if text is None else await history.resolve(self.engine.store, text)
        since = self.last_id("since")
        progress = self.get_query_argument("progress", "") == "1"
        if progress and run is None:
            raise InvalidRequest("progress=1 is for one run: say which, with run=")
        self._sending = asyncio.Lock()
        self.begin()
        await self.stream(self._send(since, run, progress=progress))

    async def _send(self, since: int, run: str | None, *, progress: bool) -> None:
        await self.flush()
        telling = asyncio.create_task(self._send_progress(run)) if progress and run else None
        try:
            await self._send_events(since, run)
        finally:
            if telling is not None:
                telling.cancel()

    async def _send_events(self, since: int, run: str | None) -> None:
        hub = self.engine.scheduler.hub
        async for events in hub.follow(since, run):
            turn = Turn()
            for event in events:
                text = await hub.text(event)
                async with self._sending:
                    await self.send_text(text, id=event.seq)
                await turn.over()

    async def _send_progress(self, run: str) -> None:
        with self.engine.progress.watcher([run]) as watcher, suppress(StreamClosedError):
            while True:
                for of, tasks in (await watcher.news()).items():
                    await self._say(event="progress", data=ProgressMessage(type="progress", run=of, tasks=tasks))

    async def _say(self, *, data: object, id: int | None = None, event: str = "") -> None:
        async with self._sending:
            await self.send_event(data=data, id=id, event=event)

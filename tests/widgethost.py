"""A front end for widgets that is no Jupyter at all: a page of its own, and a wire for the messages of comms.

What such hosts (editors, hosted notebooks) do: they take the place of the kernel's comms, load the module that the
model brings and give it anywidget's model. The page knows no Jupyter server and no address of one.
"""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import comm
import tornado.web
import tornado.websocket
from comm.base_comm import BaseComm
from processes import free_port


class WidgetHost:
    """Serves one page, which draws the widget that was made last. Use :func:`hosting`."""

    def __init__(self) -> None:
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stopped = asyncio.Event()
        self._pages: set[_Line] = set()
        self.opened: dict[str, Any] | None = None
        self.comm: HostComm | None = None
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()), daemon=True)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(20)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(20)
        self._loop.close()

    def publish(self, message: dict[str, Any]) -> None:
        """To every page; from any thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._tell, json.dumps(message))

    def _tell(self, text: str) -> None:
        for page in self._pages:
            page.write_message(text)

    async def _serve(self) -> None:
        routes = [("/", _Home), ("/comm", _Line, {"host": self, "pages": self._pages})]
        server = tornado.web.Application(routes).listen(self.port, "127.0.0.1")
        self._ready.set()
        await self._stopped.wait()
        server.stop()
        for page in list(self._pages):
            page.close()
        await server.close_all_connections()


class HostComm(BaseComm):
    """A comm whose other end is the page."""

    host: WidgetHost

    def publish_msg(
        self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **keys: Any
    ) -> None:
        message = {"type": msg_type, "data": data, "buffers": [base64.b64encode(one).decode() for one in buffers or ()]}
        if msg_type == "comm_open":
            self.host.opened, self.host.comm = message, self
        self.host.publish(message)


@contextmanager
def hosting() -> Iterator[WidgetHost]:
    """A host; widgets that are made meanwhile are its."""
    host, before = WidgetHost(), comm.create_comm
    kind = type("Comm", (HostComm,), {"host": host})
    host.start()
    comm.create_comm = kind
    try:
        yield host
    finally:
        comm.create_comm = before
        host.stop()


class _Home(tornado.web.RequestHandler):
    def get(self) -> None:
        self.write(_PAGE)


class _Line(tornado.websocket.WebSocketHandler):
    def initialize(self, host: WidgetHost, pages: set[_Line]) -> None:
        self._host, self._pages = host, pages

    def open(self, *_: str, **__: str) -> None:
        self._pages.add(self)
        if self._host.opened is not None:
            self.write_message(json.dumps(self._host.opened))

    def on_message(self, message: str | bytes) -> None:
        assert self._host.comm is not None
        content = {"method": "custom", "content": json.loads(message)}
        self._host.comm.handle_msg({"content": {"data": content}, "buffers": _none()})

    def on_close(self) -> None:
        self._pages.discard(self)


def _none() -> Sequence[bytes]:
    return ()


_PAGE = """<!doctype html><meta charset="utf-8"><title>A host of widgets</title><body><div id="output"></div>
<script type="module">
const listeners = new Set();
const wire = new WebSocket(`ws://${location.host}/comm`);
let state = {};
const bytes = text => new DataView(Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer);
const model = {
  get: key => state[key],
  set: (key, value) => { state = { ...state, [key]: value }; },
  save_changes: () => undefined,
  on: (event, run) => listeners.add([event, run]),
  off: (event, run) => listeners.forEach(one => one[0] === event && one[1] === run && listeners.delete(one)),
  send: content => wire.send(JSON.stringify(content)),
  widget_manager: {},
};
async function open(message) {
  state = message.data.state;
  const style = document.createElement('style');
  style.textContent = state._css;
  document.head.append(style);
  const { default: made } = await import(URL.createObjectURL(new Blob([state._esm], { type: 'text/javascript' })));
  const widget = typeof made === 'function' ? await made() : made;
  await widget.initialize?.({ model: { ...model } }); // each call gets a model of its own
  await widget.render({ model: { ...model }, el: document.getElementById('output') });
}
wire.onmessage = event => {
  const message = JSON.parse(event.data);
  if (message.type === 'comm_open') void open(message);
  else if (message.data?.method === 'custom')
    for (const [name, run] of [...listeners])
      if (name === 'msg:custom') run(message.data.content, message.buffers.map(bytes));
};
</script>"""

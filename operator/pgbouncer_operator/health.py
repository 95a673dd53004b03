"""The operator's HTTP server: /livez, /readyz and /metrics."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from pgbouncer_operator.engine.leader import Elector
from pgbouncer_operator.engine.workers import Workers
from pgbouncer_operator.metrics import CONTENT_TYPE, Metrics
from pgbouncer_operator.reconcile.cache.keys import AnyKey

STUCK_SECONDS = 180.0  # a reconcile times out after 120 s
SILENT_SECONDS = 60.0  # the elector tries every 2 s


@dataclass(slots=True)
class Vitals:
    """The parts of the process that show whether it is healthy. The process sets each as it starts."""

    elector: Elector | None = None
    """None without leader election."""
    workers: Workers[AnyKey] | None = None
    """None until the process leads."""
    synced: bool = False
    """Whether every kind has been listed."""
    watching: Callable[[], bool] | None = None
    """Returns whether the watches run; None until the process leads."""
    stuck_after: float = STUCK_SECONDS
    """Seconds that one reconcile may take."""
    silent_after: float = SILENT_SECONDS
    """Seconds that the elector may go without a round."""

    def ailment(self) -> str | None:
        """Why the process should be restarted; None while it is healthy."""
        now = asyncio.get_running_loop().time()
        if self.elector and self.elector.last_tick and now - self.elector.last_tick > self.silent_after:
            return "the elector is silent"
        if self.workers and self.workers.busiest() > self.stuck_after:
            return "a reconcile is stuck"
        if self.watching and not self.watching():
            return "the watches have ended"
        return None

    def unready(self) -> str | None:
        """Why the process is not ready; None if it leads and has listed every kind, or reads the lease of who leads."""
        if self.elector is None or self.elector.leads():
            return None if self.synced else "not everything is listed yet"
        read, now = self.elector.read_at, asyncio.get_running_loop().time()
        return "the lease cannot be read" if read is None or now - read > self.silent_after else None


class HealthServer:
    """Serves /livez, /readyz and /metrics on every address of the pod."""

    def __init__(self, port: int, vitals: Vitals, metrics: Metrics) -> None:
        """port: a TCP port; 0 lets the system choose. Nothing is served before `start`."""
        self._port = port
        self._vitals = vitals
        self._metrics = metrics
        application = web.Application()
        application.add_routes(
            [web.get("/livez", self._livez), web.get("/readyz", self._readyz), web.get("/metrics", self._text)]
        )
        self._runner = web.AppRunner(application, access_log=None)

    async def start(self) -> None:
        """Listen. Raises OSError if the port is in use."""
        await self._runner.setup()
        await web.TCPSite(self._runner, port=self._port).start()

    async def stop(self) -> None:
        """Stop listening and close all connections."""
        await self._runner.cleanup()

    async def _livez(self, _: web.Request) -> web.Response:
        return _answer(self._vitals.ailment())

    async def _readyz(self, _: web.Request) -> web.Response:
        return _answer(self._vitals.unready())

    async def _text(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})


def _answer(fault: str | None) -> web.Response:
    return web.Response(text=f"{fault or 'ok'}\n", status=503 if fault else 200)

"""Every actor's metrics behind one URL, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from engine.actors.base import ActorReport
from engine.actors.plan import LOOPBACK
from engine.errors import StartError


class ReportCollector(Collector):
    """The metrics of many reports as one set, told apart by the label ``actor``.

    Parameters
    ----------
    reports
        One per actor.
    """

    def __init__(self, reports: Iterable[ActorReport]) -> None:
        self._reports = list(reports)

    def collect(self) -> Iterator[Metric]:
        """Yield each metric once, with the samples of all actors."""
        merged: dict[str, Metric] = {}
        resident = GaugeMetricFamily(
            "engine_actor_resident_bytes", "Resident memory of an actor.", labels=["actor"]
        )
        for report in self._reports:
            resident.add_metric([report.name], report.rss_bytes)
            for family in text_string_to_metric_families(report.metrics.decode()):
                whole = merged.setdefault(
                    family.name, Metric(family.name, family.documentation, family.type)
                )
                for sample in family.samples:
                    labels = {**sample.labels, "actor": report.name}
                    whole.samples.append(sample._replace(labels=labels))
        yield from merged.values()
        yield resident


class MetricsServer:
    """Serves ``/metrics`` on loopback.

    Parameters
    ----------
    port
        Loopback port.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._reports: list[ActorReport] = []
        self._runner: web.AppRunner | None = None

    def show(self, reports: list[ActorReport]) -> None:
        """Serve these from now on."""
        self._reports = reports

    async def start(self) -> None:
        """Listen.

        Raises
        ------
        StartError
            Where the port is taken.
        """
        if self._runner is not None:
            return
        app = web.Application()
        app.router.add_get("/metrics", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, LOOPBACK, self._port).start()
        except OSError as error:
            raise StartError(
                f"metrics.port {LOOPBACK}:{self._port} cannot be listened on ({error.strerror}); "
                "choose another: --set metrics.port=N"
            ) from None

    async def _answer(self, request: web.Request) -> web.Response:
        registry = CollectorRegistry()
        registry.register(ReportCollector(self._reports))
        return web.Response(body=generate_latest(registry), content_type="text/plain")

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

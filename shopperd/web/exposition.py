"""``/metrics``, and the metrics of the web server itself."""

from __future__ import annotations

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from prometheus_client.aiohttp import make_aiohttp_handler
from prometheus_client.exposition import choose_encoder

from shopperd.decisions import Invalid
from shopperd.jobs.gauges import refresh_ages
from shopperd.web.door import DOOR, Door

UNMATCHED = "unmatched"
"""The route of requests for paths that do not exist: the paths themselves would be labels without a bound."""

_METHODS = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_POST})


@web.middleware
async def measured(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count a request and its time by the pattern of its route."""
    context = request.app[DOOR].context
    resource = request.match_info.route.resource
    route = UNMATCHED if resource is None else resource.canonical
    method = request.method if request.method in _METHODS else "other"
    began = context.clock.monotonic()
    response = await handler(request)
    if response.content_type != "text/event-stream":
        # A stream lasts as long as somebody listens, which says nothing about our speed.
        context.metrics.http_request_duration_seconds.labels(route=route).observe(context.clock.monotonic() - began)
    context.metrics.http_requests_total.labels(route=route, method=method, code=str(response.status)).inc()
    return response


def add_routes(app: web.Application, door: Door) -> None:
    """Serve the metrics in Prometheus' text format, or as OpenMetrics where the Accept header asks for it."""
    expose = make_aiohttp_handler(door.context.metrics.registry)

    async def metrics(request: web.Request) -> web.StreamResponse:
        """The metrics, for Prometheus."""
        try:
            # Asked ahead, since the library compares whatever is sent as a version with numbers.
            choose_encoder(",".join(request.headers.getall(hdrs.ACCEPT, [])))
        except (TypeError, ValueError) as error:
            raise Invalid("the Accept header asks for a version of the format that is not a version") from error
        refresh_ages(door.context)
        return await expose(request)

    app.router.add_get("/metrics", metrics)

"""Who may ask for what.

Reads are the operator's to keep private, by where shopperd listens. Changes need the token; without one, only a loopback
listener takes them. A browser on this machine is a door to it for every page that it shows, so on loopback the name in the
Host header must be ours (a page can have its own name point here), and nothing that a page of another origin sends changes
anything. There are no CORS headers.
"""

from __future__ import annotations

import hmac
import ipaddress
from http import HTTPStatus

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from yarl import URL

from shopperd.jobs.context import log
from shopperd.web.door import DOOR, Door
from shopperd.web.problems import Refusal

READING = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})
ANY_HOST = frozenset({"/metrics", "/healthz", "/readyz"})
"""Scraped and probed under any name; they tell nothing that a page could use."""

_FETCH_SITES = frozenset({"same-origin", "none"})
"""``same-site`` is not enough: another port of this machine is the same site."""


@web.middleware
async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let a request through, or refuse it before anything of it is read."""
    door = request.app[DOOR]
    if door.loopback and request.path not in ANY_HOST:
        _check_host(request, door)
    if request.method not in READING:
        _check_origin(request)
        _check_token(request, door)
        _check_content(request)
    return await handler(request)


def _check_host(request: web.Request, door: Door) -> None:
    hosts = request.headers.getall(hdrs.HOST, [])
    name = _name_in(hosts[0]) if len(hosts) == 1 else None
    if name is None or not _is_ours(name, door.context.settings.web.host):
        raise _refused(
            request,
            HTTPStatus.FORBIDDEN,
            "the Host header does not name this machine's loopback; ask 127.0.0.1, [::1] or localhost",
        )


def _name_in(host: str) -> str | None:
    """The name or address in a Host header, without its port."""
    try:
        return URL(f"http://{host}").raw_host if not set(host) & set("/?#@\\") else None
    except ValueError:
        return None


def _is_ours(name: str, configured: str) -> bool:
    if name.lower() in ("localhost", configured.lower()):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _check_origin(request: web.Request) -> None:
    site = request.headers.get("Sec-Fetch-Site", "none").lower()
    origins = request.headers.getall(hdrs.ORIGIN, [])
    host = request.headers.get(hdrs.HOST, "").lower()
    own = {f"http://{host}", f"https://{host}"}
    if site not in _FETCH_SITES or any(origin.lower() not in own for origin in origins):
        raise _refused(request, HTTPStatus.FORBIDDEN, "a page of another origin cannot change anything")


def _check_token(request: web.Request, door: Door) -> None:
    if door.token is None:
        if door.loopback:
            return
        raise _refused(
            request, HTTPStatus.FORBIDDEN, "changes need a token, and none is set: set web.token_file and restart"
        )
    given = request.headers.getall(hdrs.AUTHORIZATION, [])
    scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    right = hmac.compare_digest(token.strip().encode("utf-8", "surrogateescape"), door.token.get().encode())
    if scheme.lower() != "bearer" or not right:
        raise _refused(
            request,
            HTTPStatus.UNAUTHORIZED,
            "changes need a bearer token in the header Authorization: the one in web.token_file",
            {hdrs.WWW_AUTHENTICATE: 'Bearer realm="shopperd"'},
        )


def _check_content(request: web.Request) -> None:
    if request.can_read_body and request.content_type != "application/json":
        raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a body must be sent as `Content-Type: application/json`")


def _refused(request: web.Request, status: HTTPStatus, detail: str, headers: dict[str, str] | None = None) -> Refusal:
    log.warning("http.refused", method=request.method, status=status.value, peer=request.remote, detail=detail)
    return Refusal(status, detail, headers)

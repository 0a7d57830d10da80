"""Who may ask for what.

Reads are the operator's to keep private, by where shopperd listens. Changes need the token; without one, only a loopback
listener takes them. A browser on this machine is a door to it for every page that it shows, so on loopback the name in the
Host header must be ours (a page can have its own name point here), and nothing that a page of another origin sends changes
anything. There are no CORS headers. Whoever gives wrong tokens is soon not listened to for a while.
"""

from __future__ import annotations

import hmac
import ipaddress
import math
from http import HTTPStatus

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from yarl import URL

from shopperd.jobs.context import log
from shopperd.web.door import DOOR, Door
from shopperd.web.problems import Refusal

READING = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})
FORM_PATH = "/act"
"""Where the forms of the status page go, the one change that does not come as JSON."""

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
    # What no route takes changes nothing, and is told so.
    if request.method not in READING and request.match_info.http_exception is None:
        _check_origin(request)
        if request.path == FORM_PATH:
            # The token stands in the form: whoever reads that asks `check_token`.
            _check_is_from_our_page(request)
        else:
            check_token(request, _token_in_header(request))
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


def _check_is_from_our_page(request: web.Request) -> None:
    """A browser sends a form without asking first, so that this page sent it must be said and not only not denied."""
    if hdrs.ORIGIN not in request.headers and "Sec-Fetch-Site" not in request.headers:
        raise _refused(
            request, HTTPStatus.FORBIDDEN, "nothing says that this form was sent from the status page itself"
        )


def _token_in_header(request: web.Request) -> str | None:
    given = request.headers.getall(hdrs.AUTHORIZATION, [])
    scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    return token.strip() if scheme.lower() == "bearer" else None


def check_token(request: web.Request, given: str | None) -> None:
    """Let a change through that carries the token; None: it carries none.

    Raises:
        Refusal: it carries another one or none, or too many of that peer did.
    """
    door = request.app[DOOR]
    if door.token is None:
        if door.loopback:
            return
        raise _refused(
            request, HTTPStatus.FORBIDDEN, "changes need a token, and none is set: set web.token_file and restart"
        )
    now = door.context.clock.monotonic()
    wait = door.failures.wait_seconds(request.remote, now)
    if wait > 0:
        # Not even looked at: a guess that is right must not be told from one that is wrong.
        raise _refused(
            request,
            HTTPStatus.TOO_MANY_REQUESTS,
            f"too many wrong tokens came from your address; ask again in {math.ceil(wait)} s",
            {hdrs.RETRY_AFTER: str(math.ceil(wait))},
        )
    right = hmac.compare_digest((given or "").encode("utf-8", "surrogateescape"), door.token.get().encode())
    if given is None or not right:
        door.failures.count(request.remote, now)
        raise _refused(
            request,
            HTTPStatus.UNAUTHORIZED,
            "changes need a token: the one in web.token_file (a tool sends it in the header Authorization, as Bearer)",
            {hdrs.WWW_AUTHENTICATE: 'Bearer realm="shopperd"'},
        )


def _check_content(request: web.Request) -> None:
    wanted = "application/x-www-form-urlencoded" if request.path == FORM_PATH else "application/json"
    if request.can_read_body and request.content_type != wanted:
        raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"a body must be sent as `Content-Type: {wanted}`")


def _refused(request: web.Request, status: HTTPStatus, detail: str, headers: dict[str, str] | None = None) -> Refusal:
    log.warning("http.refused", method=request.method, status=status.value, peer=request.remote, detail=detail)
    return Refusal(status, detail, headers)

"""ETags: a client that asks again and again is told in one line that nothing has changed."""

from __future__ import annotations

import hashlib
from http import HTTPStatus

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from shopperd.web.door import API

ANY = "*"
"""In If-None-Match: whatever there is."""


@web.middleware
async def tagged(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give every answer to a read of the API its ETag, and leave out a body that the client has already."""
    response = await handler(request)
    if request.method not in (hdrs.METH_GET, hdrs.METH_HEAD) or not request.path.startswith(f"{API}/"):
        return response
    if not isinstance(response, web.Response) or response.status != HTTPStatus.OK:
        return response
    if not isinstance(response.body, bytes):
        return response
    tag = hashlib.sha256(response.body).hexdigest()[:32]
    known = request.if_none_match or ()
    if any(each.value in (tag, ANY) for each in known):
        response = web.Response(status=HTTPStatus.NOT_MODIFIED)
    response.etag = tag
    return response

"""The status page for people: one self-contained page, made on the server, that works without JavaScript.

What belongs here is showing, and the forms for what a person may decide. They ask `shopperd.control` for the same things, with the
same checks, as the routes under ``/api/v1`` do.
"""

from shopperd.web.page.handlers import routes

__all__ = ["routes"]

"""The HTTP interface: metrics, health, and the routes under ``/api/v1``.

A thin door to `shopperd.control`: what belongs here is reading requests, saying who may change something, and the shapes of
answers. What does not: deciding anything, or asking a provider.
"""

from shopperd.web.app import make_app
from shopperd.web.door import Health

__all__ = ["Health", "make_app"]

"""What every adapter sends its calls through, put together for one account."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from shopperd.clock import Clock
from shopperd.providers.limiter import Limiter, Published
from shopperd.providers.sender import AiohttpSender
from shopperd.providers.transport import Sender, Transport
from shopperd.settings import AccountSettings
from shopperd.telemetry import Metrics


def open_transport(
    settings: AccountSettings,
    *,
    provider: str,
    base_url: str,
    published: Published,
    headers: Callable[[], Mapping[str, str]],
    clock: Clock,
    metrics: Metrics,
    sender: Sender | None,
) -> Transport:
    """A transport with the account's own limiter.

    Args:
        base_url: the provider's origin, unless the account's settings name another.
        published: what the provider says of its limits; the account's settings beat it.
        headers: the credentials, asked for at each call, so that a secret which changed is the new one at once.
        sender: None for the real network.
    """
    return Transport(
        account=settings.name,
        provider=provider,
        base_url=settings.base_url or base_url,
        sender=AiohttpSender() if sender is None else sender,
        limiter=Limiter(clock, published, settings.limits, account=settings.name, provider=provider, metrics=metrics),
        headers=headers,
        metrics=metrics,
        clock=clock,
        request_timeout=settings.request_timeout,
    )

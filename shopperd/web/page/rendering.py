"""Values into HTML. Everything is escaped, and what would act on its display is written out: labels are anybody's."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from importlib import resources
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from aiohttp import hdrs, web
from markupsafe import Markup, escape

from shopperd import reasons
from shopperd.harmless import visible
from shopperd.model import HoldReason, OrphanKind
from shopperd.money import dollars, dollars_per_hour

if TYPE_CHECKING:
    from jinja2 import Environment

LABEL_CHARACTERS_MAX = 120
"""In a list. A tag of ours has at most 61."""

_FILES = resources.files(__package__)
STYLE = Markup(_FILES.joinpath("style.css").read_text(encoding="utf-8"))  # noqa: S704  # our own file
SCRIPT = Markup(_FILES.joinpath("refresh.js").read_text(encoding="utf-8"))  # noqa: S704  # our own file


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


POLICY = "; ".join(
    (
        "default-src 'none'",
        f"style-src {_hash(STYLE)}",
        f"script-src {_hash(SCRIPT)}",
        "connect-src 'self'",
        "img-src data:",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
"""Nothing from elsewhere, no script or style but the two that are ours, and no page around this one."""

_HEADERS = {
    "Content-Security-Policy": POLICY,
    # Not `no-referrer`: with that, browsers do not tell the origin of a form, which is looked at.
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def _finalize(value: object) -> object:
    """What stands for a value in the page, before it is escaped."""
    if isinstance(value, Markup):
        return value
    return "-" if value is None or value == "" else visible(str(value))


def _duration(seconds: float) -> str:
    rest, parts = max(0, round(seconds)), []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def _link_to(account: str, instance_id: str, act: str | None = None) -> str:
    query = {"account": account, "id": instance_id} | ({} if act is None else {"act": act})
    return f"machine?{urlencode(query)}"


def _short(text: str | None) -> str | None:
    """For a list, in which no single label may take the screen. The machine's own page has it whole."""
    return text if text is None or len(text) <= LABEL_CHARACTERS_MAX else f"{text[:LABEL_CHARACTERS_MAX]}…"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _marked(text: str) -> Markup:
    """A text of our own as HTML: what stands in backticks in it is a command."""
    parts = [escape(visible(part)) for part in text.split("`")]
    return Markup("").join(Markup("<code>{}</code>").format(part) if at % 2 else part for at, part in enumerate(parts))


@cache
def environment() -> Environment:
    """What makes pages of templates."""
    # Imported when a page is first asked for: a daemon that nobody looks at starts sooner and is smaller without.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(style=STYLE, script=SCRIPT)
    made.filters.update(
        duration=_duration,
        hold_words=lambda reason: reasons.HOLDS[HoldReason(reason)].hold,
        kind_words=lambda kind: reasons.KINDS[OrphanKind(kind)],
        link_to=_link_to,
        marked=_marked,
        remedy=lambda reason: reasons.HOLDS[HoldReason(reason)].remedy,
        sentence=_sentence,
        dollars=dollars,
        dollars_per_hour=dollars_per_hour,
        short=_short,
    )
    return made


def page(
    template: str, status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] | None = None, **values: object
) -> web.Response:
    """A page as an answer, with the headers that keep it to itself."""
    text = environment().get_template(template).render(values)
    sent = {**_HEADERS, **(headers or {}), hdrs.CONTENT_LANGUAGE: "en"}
    return web.Response(text=text, status=status, content_type="text/html", charset="utf-8", headers=sent)

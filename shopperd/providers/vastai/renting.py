"""What to send to rent a machine at Vast.ai, checked before anything is sent."""

from __future__ import annotations

import re
import shlex

from shopperd.providers.contract import CreateRequest, Refused
from shopperd.providers.vastai import wire
from shopperd.providers.vastai.instances import NAME, TAG_VARIABLE
from shopperd.providers.vastai.market import DEFAULT_DISK_GB

DEFAULT_IMAGE = "vastai/base-image:cuda-12.4.1-cudnn-devel-ubuntu22.04"
RUNTYPE = "ssh_direc ssh_proxy"
"""As official clients spell "ssh, directly and through the proxy"; the missing letter is the API's."""
LABEL_CHARS_MAX = 128
"""The API allows 256 at a create, and advises less than this."""
IMAGE_CHARS_MAX = 1024
ENV_ENTRY_CHARS_MAX = 256
ENV_CHARS_MAX = 32_768
ONSTART_CHARS_MAX = 4048
DISK_GB_MIN = 8.0
BID_MIN, BID_MAX = 0.001, 128.0
"""USD per hour for the whole machine."""

_SSH_KEY = re.compile(r"(?:ssh|ecdsa|sk)-[a-z0-9@.-]{1,60} [A-Za-z0-9+/]{16,2000}={0,3}(?: [\x20-\x7e]{0,200})?")
_SHELL = re.compile(r"#!\s*(?:/usr)?/bin/(?:env\s+)?(?:ba|da|z|k)?sh\b.*")
_NOT_IN_A_NAME = re.compile(r"[=\x00-\x1f\x7f\ud800-\udfff]")
_NOT_IN_A_TEXT = re.compile("[\x00\ud800-\udfff]")


def body_of(request: CreateRequest) -> dict[str, object]:
    """The body of a create.

    The tag goes in twice: as the label, and into the environment, which nobody can edit. The ssh key goes in
    by the start script, since the field for it is known to be ignored at times. A bid is only sent for an
    interruptible offer, since its mere presence makes an instance interruptible, and its absence after a
    search for bids rents at the full price.

    Raises:
        Refused: the request is beyond what the API takes; nothing was sent.
    """
    offer = request.offer
    if offer.provider != NAME or wire.identifier(offer.provider_id) is None:
        raise _invalid("the offer is not one of Vast.ai's")
    if not 0 < len(request.tag) <= LABEL_CHARS_MAX:
        raise _invalid(f"the tag has {len(request.tag)} characters; up to {LABEL_CHARS_MAX} are taken")
    image = request.image or DEFAULT_IMAGE
    if len(image) > IMAGE_CHARS_MAX or _NOT_IN_A_NAME.search(image):
        raise _invalid(f"not the name of an image: {image[:80]!r}")
    disk_gb = DEFAULT_DISK_GB if request.disk_gb is None else request.disk_gb
    if not disk_gb >= DISK_GB_MIN:
        raise _invalid(f"a disk of {disk_gb:g} GB; at least {DISK_GB_MIN:g} are needed")
    body: dict[str, object] = {
        "client_id": "me",
        "image": image,
        "disk": disk_gb,
        "label": request.tag,
        "env": _environment(request),
        "runtype": RUNTYPE,
        "target_state": "running",
        # Else an instance that cannot start at once, or whose bid is too low, is made all the same, stopped
        # and billed.
        "cancel_unavail": True,
    }
    onstart = _onstart(request.onstart, request.ssh_key)
    if onstart is not None:
        body["onstart"] = onstart
    if offer.interruptible:
        if not BID_MIN <= offer.price_per_hour <= BID_MAX:
            raise _invalid(f"a bid of {offer.price_per_hour:g} USD per hour; {BID_MIN:g} to {BID_MAX:g} are taken")
        body["price"] = offer.price_per_hour
    return body


def hidden_of(request: CreateRequest) -> tuple[str, ...]:
    """What must not show up in an error's text, though the API may repeat it: values of the environment and
    the script."""
    return (*request.env.values(), *((request.onstart,) if request.onstart else ()))


def _environment(request: CreateRequest) -> dict[str, str]:
    environment = {**request.env, TAG_VARIABLE: request.tag}
    total = 0
    for name, value in environment.items():
        if not name or _NOT_IN_A_NAME.search(name) or _NOT_IN_A_TEXT.search(value):
            raise _invalid("a variable of the environment has a name or value that none can have")
        if len(name) + len(value) > ENV_ENTRY_CHARS_MAX:
            raise _invalid(f"the variable {name[:40]} is over {ENV_ENTRY_CHARS_MAX} characters with its name")
        total += len(name) + len(value)
    if total > ENV_CHARS_MAX:
        raise _invalid(f"the environment has {total} characters; up to {ENV_CHARS_MAX} are taken")
    return environment


def _onstart(script: str | None, ssh_key: str | None) -> str | None:
    """The user's script, with lines before it that let the key in; None if there is neither."""
    if ssh_key is not None:
        script = _with_key(script or "", ssh_key.strip())
    if not script:
        return None
    if _NOT_IN_A_TEXT.search(script):
        raise _invalid("the start script holds characters that no script can hold")
    if len(script) > ONSTART_CHARS_MAX:
        raise _invalid(
            f"the start script has {len(script)} characters with the lines for the ssh key; "
            f"up to {ONSTART_CHARS_MAX} are taken"
        )
    return script


def _with_key(script: str, key: str) -> str:
    if not _SSH_KEY.fullmatch(key):
        raise _invalid("not a public ssh key in one line (type, key, comment)")
    lines = (
        f"SSH_KEY={shlex.quote(key)}",
        "mkdir -p ~/.ssh && chmod 700 ~/.ssh",
        'grep -qxF "$SSH_KEY" ~/.ssh/authorized_keys 2>/dev/null || echo "$SSH_KEY" >> ~/.ssh/authorized_keys',
        "chmod 600 ~/.ssh/authorized_keys",
        "unset SSH_KEY",
    )
    first, newline, rest = script.partition("\n")
    if not first.startswith("#!"):
        return "\n".join((*lines, script))
    if not _SHELL.fullmatch(first.strip()):
        raise _invalid("a start script that is not for a shell cannot be given an ssh key")
    return "\n".join((first, *lines, rest)) if newline else "\n".join((first, *lines, ""))


def _invalid(text: str) -> Refused:
    return Refused(f"not sent: {text}", "invalid_request")

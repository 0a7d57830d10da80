"""What a new machine does at its first start: SSH key, environment, and the user's script."""

from __future__ import annotations

import re
import shlex

from shopperd.providers.contract import CreateRequest, Refused

TAG_VARIABLE = "SHOPPERD_TAG"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NOT_PLAIN = re.compile(r"[\n\r#'\"\\]")
_ONSTART = "/var/lib/shopperd-onstart"


def commands(request: CreateRequest) -> list[str]:
    """Shell commands for cloud-init's ``runcmd``, to be run as root in this order.

    The key is written once more although the API installs it: on some hosts it arrives empty (public clients, 2026), and a
    machine that nobody can log in to is paid for nevertheless. Every variable reaches the script and login shells; those with
    a plain value reach ``/etc/environment`` too, which has no way to write the others.

    Raises:
        Refused: the name of a variable is none, or a value holds a NUL.
    """
    variables = {**request.env, TAG_VARIABLE: request.tag}
    for name, value in variables.items():
        if not _VARIABLE.fullmatch(name) or "\0" in value:
            raise Refused("a name in env is not a shell variable's, or a value holds a NUL", code="invalid_env")
    exports = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    plain = [f"{name}={value}" for name, value in variables.items() if not _NOT_PLAIN.search(value)]
    result = []
    if request.ssh_key is not None:
        result.append(_install_key(request.ssh_key.strip()))
    result.append(f"printf '%s\\n' {shlex.join(exports)} > /etc/profile.d/shopperd.sh")
    result.append(f"printf '%s\\n' {shlex.join(plain)} >> /etc/environment")
    if request.onstart:
        assignments = shlex.join(f"{name}={value}" for name, value in variables.items())
        script = request.onstart if request.onstart.startswith("#!") else f"#!/bin/bash\n{request.onstart}"
        result.append(
            f"install -m 700 /dev/null {_ONSTART} && printf %s {shlex.quote(script)} > {_ONSTART}"
            f" && env {assignments} {_ONSTART}"
        )
    return result


def _install_key(key: str) -> str:
    line = shlex.quote(key)
    return (
        "for home in /root /home/user; do"
        ' [ -d "$home" ] || continue;'
        ' install -d -m 700 -o "$(stat -c %U "$home")" "$home/.ssh";'
        ' file="$home/.ssh/authorized_keys";'
        f' grep -qxF -- {line} "$file" 2>/dev/null || printf "%s\\n" {line} >> "$file";'
        ' chown "$(stat -c %U "$home")" "$file"; chmod 600 "$file"; done'
    )

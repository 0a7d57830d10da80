"""Hands the calls of a test to a client that lives in another interpreter, and what comes of them back.

A call is one line of JSON on standard input, ``{"name": "attribute.method", "args": [], "kwargs": {}}``; its outcome is one line on
standard output: ``result`` or ``error``, and what the client ``printed`` meanwhile. Only the standard library is used here, as
these files run in the clients' own environments.
"""

import asyncio
import contextlib
import dataclasses
import inspect
import io
import json
import sys


def plain(value):
    """What JSON cannot say by itself: dataclasses, and the wrappers that clients put around them."""
    inner = getattr(value, "_data", value)
    return dataclasses.asdict(inner) if dataclasses.is_dataclass(inner) else str(value)


def outcome(target, call, runner):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            function = target
            for part in call["name"].split("."):
                function = getattr(function, part)
            result = function(*call["args"], **call["kwargs"])
            if inspect.isawaitable(result):
                result = runner.run(result)
            said = {"result": result}
        except Exception as error:  # whatever the client raises is the outcome of the call
            said = {"error": type(error).__name__, "text": str(error)}
    return {**said, "printed": printed.getvalue()}


def serve(target):
    """Carry out calls until standard input ends."""
    with asyncio.Runner() as runner:
        for line in sys.stdin:
            said = outcome(target, json.loads(line), runner)
            sys.stdout.write(json.dumps(said, default=plain) + "\n")
            sys.stdout.flush()

"""What goes wrong on the way: server errors, slow and broken answers, bodies that nobody should swallow."""

from __future__ import annotations

import gzip

from attrs import evolve

from shopperd.simulator.call import Call, Fault, Parameter
from shopperd.simulator.exchange import JSON_TYPE, Answer, text_answer
from shopperd.simulator.faults.editing import HTML, body_answer
from shopperd.simulator.faults.registry import fault

_MEGABYTE = 1024 * 1024
_JSON = {"Content-Type": JSON_TYPE}
_BODY = Parameter("html", "html, json, text or empty")


@fault("before", parameters={"status": Parameter(500, "HTTP status"), "body": _BODY})
def server_error(_call: Call, fault: Fault) -> Answer | None:
    """The answer is a server error, and the request had no effect."""
    return body_answer(fault["status"], fault["body"])


@fault("after", parameters={"status": Parameter(502, "HTTP status"), "body": _BODY})
def server_error_after_effect(_call: Call, fault: Fault, _answer: Answer) -> Answer | None:
    """The answer is a server error, and the request had its effect."""
    return body_answer(fault["status"], fault["body"], "Bad Gateway")


@fault("before")
def connection_reset(_call: Call, _fault: Fault) -> Answer | None:
    """The connection is reset, and the request had no effect."""
    return Answer(500, drop="before")


@fault("after")
def connection_reset_after_effect(_call: Call, _fault: Fault, answer: Answer) -> Answer | None:
    """The connection is reset, and the request had its effect."""
    return evolve(answer, drop="after")


@fault("after")
def connection_cut_midway(_call: Call, _fault: Fault, answer: Answer) -> Answer | None:
    """The headers promise the whole body, half of it comes, then the connection is reset."""
    return evolve(answer, drop="midway")


@fault("after", parameters={"delay": Parameter(5.0, "seconds until the answer")})
def slow(_call: Call, fault: Fault, answer: Answer) -> Answer | None:
    """The request has its effect at once, the answer comes late."""
    return evolve(answer, delay_seconds=answer.delay_seconds + fault["delay"])


@fault(
    "after", parameters={"pause": Parameter(1.0, "seconds between pieces"), "size": Parameter(1, "bytes of a piece")}
)
def slow_body(_call: Call, fault: Fault, answer: Answer) -> Answer | None:
    """The body drips in, a few bytes at a time."""
    return evolve(answer, drip_seconds=fault["pause"], drip_bytes=max(1, fault["size"]))


@fault("after")
def truncated_json(_call: Call, _fault: Fault, answer: Answer) -> Answer | None:
    """The body is half of its JSON, in a well-formed answer."""
    return evolve(answer, body=answer.body[: len(answer.body) // 2]) if len(answer.body) > 1 else None


@fault("before", parameters={"status": Parameter(200, "HTTP status")})
def html_page(_call: Call, fault: Fault) -> Answer | None:
    """A page of HTML comes with HTTP 200."""
    return text_answer(fault["status"], HTML.format("Just a moment..."), "text/html; charset=utf-8")


@fault("before")
def garbage(call: Call, _fault: Fault) -> Answer | None:
    """Random bytes come as JSON."""
    return Answer(200, _JSON, call.truth.rng.randbytes(256))


@fault("before", parameters={"status": Parameter(200, "HTTP status")})
def empty_body(_call: Call, fault: Fault) -> Answer | None:
    """The answer has an empty body."""
    return Answer(fault["status"])


@fault("before", parameters={"status": Parameter(418, "HTTP status")})
def strange_status(_call: Call, fault: Fault) -> Answer | None:
    """The status is one that nobody expects."""
    return body_answer(fault["status"], "json", "I'm a teapot")


@fault("before", parameters={"text": Parameter("null", "the whole body")})
def json_of_wrong_kind(_call: Call, fault: Fault) -> Answer | None:
    """The body is good JSON of the wrong kind: null, a number, a text, an array."""
    return Answer(200, _JSON, fault["text"].encode())


@fault("before", parameters={"depth": Parameter(100_000, "how many brackets")})
def deep_nesting(_call: Call, fault: Fault) -> Answer | None:
    """The body is JSON nested so deep that a careless parser falls over."""
    return Answer(200, _JSON, b"[" * fault["depth"] + b"]" * fault["depth"])


@fault("after")
def byte_order_mark(_call: Call, _fault: Fault, answer: Answer) -> Answer | None:
    """A byte order mark stands before the JSON."""
    return evolve(answer, body=b"\xef\xbb\xbf" + answer.body)


@fault("before")
def not_utf8(_call: Call, _fault: Fault) -> Answer | None:
    """The body is JSON in another encoding, with bytes that UTF-8 does not know."""
    return Answer(200, _JSON, b'{"success": true, "instances": [], "msg": "\xff\xfe\xe9"}')


@fault("before")
def huge_number(_call: Call, _fault: Fault) -> Answer | None:
    """The body holds an integer of a hundred thousand digits."""
    return Answer(200, _JSON, b'{"success": true, "total_instances": ' + b"9" * 100_000 + b"}")


@fault("after", parameters={"kilobytes": Parameter(100, "its length")})
def huge_header(_call: Call, fault: Fault, answer: Answer) -> Answer | None:
    """A header line is longer than any client should take."""
    return evolve(answer, headers={**answer.headers, "X-Filler": "x" * (fault["kilobytes"] * 1024)})


@fault("after")
def wrong_content_type(_call: Call, _fault: Fault, answer: Answer) -> Answer | None:
    """Good JSON comes as text/html."""
    return evolve(answer, headers={**answer.headers, "Content-Type": "text/html; charset=utf-8"})


@fault("before", parameters={"megabytes": Parameter(256, "size when unpacked")})
def gzip_bomb(_call: Call, fault: Fault) -> Answer | None:
    """A small compressed body unpacks to a very large one."""
    packed = fault.memory.get("body")
    if packed is None:
        packed = fault.memory["body"] = gzip.compress(bytes(fault["megabytes"] * _MEGABYTE), 6, mtime=0)
    return Answer(200, _JSON | {"Content-Encoding": "gzip"}, packed)


@fault("before", parameters={"megabytes": Parameter(64, "size")})
def huge_body(_call: Call, fault: Fault) -> Answer | None:
    """A body of blanks that is far too large."""
    return Answer(200, _JSON, b" " * (fault["megabytes"] * _MEGABYTE))


@fault(
    "before",
    parameters={
        "location": Parameter("http://elsewhere.invalid/", "where to; {path} stands for the request's path"),
        "status": Parameter(302, "HTTP status"),
    },
)
def redirect(call: Call, fault: Fault) -> Answer | None:
    """The answer sends the client to another host."""
    location = fault["location"].replace("{path}", call.request.path)
    return Answer(fault["status"], {"Location": location})


@fault("before", parameters={"text": Parameter("Scheduled maintenance", "what it says")})
def maintenance(_call: Call, fault: Fault) -> Answer | None:
    """The service is closed: 503 with a page and a Retry-After of five minutes."""
    page = text_answer(503, HTML.format(fault["text"]), "text/html")
    return evolve(page, headers={**page.headers, "Retry-After": "300"})

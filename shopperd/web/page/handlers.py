"""``/``: the status page; ``/machine``: one machine and what may be decided about it; ``/act``: where its forms go."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import hdrs, web
from attrs import frozen
from markupsafe import escape

from shopperd.decisions import Conflicting, NotFound, RequestError
from shopperd.lifecycle import IllegalTransition
from shopperd.model import Ownership
from shopperd.settings import Duration
from shopperd.store import Conflict, StoreError
from shopperd.web.access import FORM_PATH, check_token
from shopperd.web.answers import ExplainAnswer
from shopperd.web.door import DOOR, Door
from shopperd.web.instances import explained
from shopperd.web.page.acts import CONSEQUENCES, DONE, Act, acts_on
from shopperd.web.page.rendering import page
from shopperd.web.page.view import view_of
from shopperd.web.problems import Malformed, Refusal
from shopperd.web.reading import NoQuery, Sentence, Word, read_form, read_query

routes = web.RouteTableDef()


@frozen
class StatusQuery:
    """`done`: what was just done, to say so."""

    done: Act | None = None


@frozen
class MachineQuery:
    """Which machine; `act`: the form to show."""

    account: Word
    id: Word
    act: Act | None = None


@frozen
class ActForm:
    """A decision. `confirmed` comes from the box that must be ticked; the token stands here as a page cannot set a header."""

    action: Act
    account: Word
    id: Word
    reason: Sentence
    confirmed: bool = False
    token: Sentence | None = None
    lifetime: Duration | None = None


@routes.get("/")
async def status(request: web.Request) -> web.Response:
    """The status page."""
    asked = read_query(request, StatusQuery)
    view = await view_of(request.app[DOOR])
    title = "shopperd: frozen" if view.status.frozen else "shopperd"
    return page("status.html", view=view, title=title, done=None if asked.done is None else DONE[asked.done])


@routes.get("/machine")
async def machine(request: web.Request) -> web.Response:
    """One machine, why it stays or goes, and what may be decided about it."""
    asked = read_query(request, MachineQuery)
    try:
        return await _machine(request.app[DOOR], asked)
    except NotFound as error:
        return _problem(HTTPStatus.NOT_FOUND, error)
    except StoreError as error:
        return _problem(HTTPStatus.SERVICE_UNAVAILABLE, error)


@routes.post(FORM_PATH)
async def act(request: web.Request) -> web.Response:
    """Carry out a decision; then the status page says that it was."""
    read_query(request, NoQuery)
    door = request.app[DOOR]
    try:
        asked = await read_form(request, ActForm)
    except Malformed as error:
        return _problem(HTTPStatus.BAD_REQUEST, error)
    where = MachineQuery(asked.account, asked.id, asked.action)
    try:
        check_token(request, asked.token)
        if not asked.confirmed:
            raise Conflicting("tick the box that says which machine you mean")
        await _carry_out(door, asked)
    except Refusal as error:
        return await _again(door, where, asked, error.status, error, error.headers)
    except NotFound as error:
        return _problem(HTTPStatus.NOT_FOUND, error)
    except (RequestError, Conflict, IllegalTransition) as error:
        return await _again(door, where, asked, HTTPStatus.CONFLICT, error)
    except StoreError as error:
        return _problem(HTTPStatus.SERVICE_UNAVAILABLE, error)
    return web.Response(status=HTTPStatus.SEE_OTHER, headers={hdrs.LOCATION: f"./?done={asked.action}"})


async def _carry_out(door: Door, asked: ActForm) -> None:
    control = door.control
    match asked.action:
        case Act.ADOPT:
            await control.adopt(asked.account, asked.id, asked.reason, lifetime_seconds=asked.lifetime)
        case Act.EXEMPT | Act.UNEXEMPT:
            await control.exempt(asked.account, asked.id, asked.reason, exempt=asked.action is Act.EXEMPT)
        case Act.DESTROY:
            await control.destroy(asked.account, asked.id, asked.reason)


async def _again(
    door: Door,
    where: MachineQuery,
    asked: ActForm,
    status: HTTPStatus,
    error: Exception,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """The form once more, with what was wrong; the token has to be given anew."""
    try:
        return await _machine(door, where, asked, status, f"Nothing was done: {error}", headers)
    except (NotFound, StoreError):
        return _problem(status, error)


async def _machine(
    door: Door,
    asked: MachineQuery,
    given: ActForm | None = None,
    status: HTTPStatus = HTTPStatus.OK,
    problem: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    found = await door.control.explain(asked.account, asked.id)
    told = await explained(door, found)
    return page(
        "machine.html",
        status,
        {name: text for name, text in (headers or {}).items() if name != hdrs.WWW_AUTHENTICATE},
        told=told,
        title=f"shopperd: instance {asked.id}",
        account=asked.account,
        id=asked.id,
        act=asked.act,
        consequence=None if asked.act is None else CONSEQUENCES[asked.act],
        choices=_choices(told),
        # As they are: what is sent back must be what came.
        reason=escape("" if given is None else given.reason),
        raw_account=escape(asked.account),
        raw_id=escape(asked.id),
        needs_token=door.token is not None,
        problem=problem,
    )


def _choices(told: ExplainAnswer) -> tuple[Act, ...]:
    if told.sightings.gone_at is not None or told.instance.ownership is Ownership.FOREIGN:
        return ()
    going = told.destroy is not None and told.destroy.gone_at is None
    return acts_on(condemned=told.kind is not None, going=going, exempt=told.instance.exempt)


def _problem(status: HTTPStatus, error: Exception) -> web.Response:
    return page("problem.html", status, title=status.phrase, problem=error)

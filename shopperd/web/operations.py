"""The kill switch, and jobs that are asked to run now."""

from __future__ import annotations

from aiohttp import web
from attrs import frozen

from shopperd.decisions import NotFound
from shopperd.web.answers import answer
from shopperd.web.door import API, DOOR
from shopperd.web.reading import NoQuery, ReasonBody, Word, read_body, read_query

routes = web.RouteTableDef()


@frozen
class RunBody:
    """Whose job, in the body or the query; left out, that of every account."""

    account: Word | None = None


@frozen(slots=False)
class FreezeAnswer:
    """Whether the kill switch is on."""

    frozen: bool
    reason: str


@frozen(slots=False)
class RunAnswer:
    """How many runs were asked for."""

    job: str
    account: str | None
    runs: int


@routes.post(f"{API}/freeze")
async def freeze(request: web.Request) -> web.Response:
    """Destroy and create nothing until it is lifted."""
    read_query(request, NoQuery)
    asked = await read_body(request, ReasonBody)
    await request.app[DOOR].control.freeze(asked.reason)
    return answer(FreezeAnswer(frozen=True, reason=asked.reason))


@routes.post(f"{API}/unfreeze")
async def unfreeze(request: web.Request) -> web.Response:
    """Let destroys and creates go on."""
    read_query(request, NoQuery)
    asked = await read_body(request, ReasonBody)
    await request.app[DOOR].control.unfreeze(asked.reason)
    return answer(FreezeAnswer(frozen=False, reason=asked.reason))


@routes.post(f"{API}/jobs/{{job}}/run")
async def run_job(request: web.Request) -> web.Response:
    """Have a job run now; one that runs already runs once more after that."""
    door = request.app[DOOR]
    named = read_query(request, RunBody).account
    asked = await read_body(request, RunBody)
    account = asked.account or named
    if account is not None:
        door.control.account(account)
    job = request.match_info["job"]
    runs = door.schedule.wake_all(job, account)
    if runs == 0:
        known = ", ".join(sorted({runner.job.name for runner in door.schedule.runners})) or "none"
        raise NotFound(f"there is no job {job[:64]!r} to run here; there are: {known}")
    return answer(RunAnswer(job=job, account=account, runs=runs), status=202)

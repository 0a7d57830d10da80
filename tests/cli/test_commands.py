"""Every command that speaks to the daemon, against a real one."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from click.testing import Result

from shopperd.cli.client import Client
from shopperd.cli.offers import without_prices
from shopperd.gpu_prices import GpuPrices, MarketPrices
from shopperd.jobs.runner import Runner
from shopperd.model import InstanceState, Session, SessionState
from shopperd.store import destroys, prices, sessions
from tests.cli.conftest import Run, command
from tests.cli.served import Served, Stranger
from tests.web.deployment import CountingJob, Deployment, offer

NOBODY = "00000000-0000-4000-8000-00000000dead"


def told(result: Result) -> Any:
    """What a command with --json said."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def lines(result: Result) -> list[list[str]]:
    """What a command said into a pipe, without the titles."""
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output
    return [line.split("\t") for line in result.stdout.splitlines()][1:]


class TestOverview:
    def test_status_tells_accounts_and_the_bound(self, served: Served, run: Run) -> None:
        served.do(lambda deployment: deployment.seen())
        result = run("status")
        assert result.exit_code == 0
        assert "main\tvastai\tok\t0s" in result.stdout
        assert "dock\ttensordock\tNOT OK\t-" in result.stdout
        assert "dock: no_snapshot_yet: no listing was read yet" in result.stderr
        assert "an orphan is gone within 13m13s" in result.output
        assert "FROZEN" not in result.output

    def test_a_frozen_deployment_is_told_first(self, run: Run) -> None:
        run("freeze", "--reason", "a\x1b[2Jdrill")
        result = run("status")
        assert result.output.splitlines()[1] == (
            "FROZEN until `shopperd unfreeze`, since 2026-11-22T22:00:00Z: a\\x1b[2Jdrill"
        )
        assert "\x1b" not in result.output

    def test_a_refused_reload_is_told(self, served: Served, run: Run) -> None:
        assert "NOTICE" not in run("status").output
        served.do(lambda deployment: deployment.notices.append("the last reload was refused"))
        assert "NOTICE: the last reload was refused" in run("status").output.splitlines()[:3]

    def test_stuck_destroys_are_told_with_where_to_look(self, served: Served, run: Run) -> None:
        served.do(lambda deployment: deployment.orphan("7", 1))
        run("instances", "destroy", "main", "7", "--yes")

        def stick(deployment: Deployment) -> None:
            job = deployment.store.run_sync(destroys.for_instance, "main", "7")
            assert job is not None
            deployment.store.run_sync(destroys.update, evolve(job, attempts=20))

        served.do(stick)
        assert "1 destroy pending, 0 held, 1 stuck; see `shopperd orphans`" in run("status").stdout
        assert lines(run("accounts"))[0][8] == "1"
        (line,) = lines(run("orphans"))
        assert line[6:8] == ["20", "stuck"]

    def test_a_pipe_gets_every_job_that_failed(self, served: Served, run: Run) -> None:
        def fail(deployment: Deployment) -> None:
            for number in range(30):
                runner = Runner(CountingJob("status", f"a{number}"), deployment.context)
                runner.last_ok, runner.last_sentence = False, "no answer"
                deployment.schedule.add(runner)

        served.do(fail)
        assert run("status").stdout.count(": no answer\n") == 30

    def test_json_is_what_the_api_says(self, run: Run) -> None:
        assert told(run("status", "--json"))["burn_per_hour"] == 0
        assert [item["name"] for item in told(run("accounts", "--json"))["items"]] == ["main", "dock"]

    def test_accounts_are_a_line_each(self, served: Served, run: Run) -> None:
        served.do(lambda deployment: deployment.orphan("7", 1))
        assert [line[0] for line in lines(run("accounts"))] == ["main", "dock"]


class TestSwitch:
    def test_the_kill_switch_is_thrown_and_lifted(self, served: Served, run: Run) -> None:
        assert told(run("freeze", "--reason", "a drill", "--json")) == {"frozen": True, "reason": "a drill"}
        assert served.do(lambda deployment: deployment.context.frozen)
        assert run("unfreeze").exit_code == 0
        assert not served.do(lambda deployment: deployment.context.frozen)

    def test_freezing_needs_a_reason(self, served: Served, run: Run) -> None:
        assert run("freeze").exit_code == 2
        assert not served.do(lambda deployment: deployment.context.frozen)


class TestSessions:
    def test_a_machine_is_rented_by_wishes(self, served: Served, run: Run, tmp_path: Path) -> None:
        served.do(lambda deployment: deployment.offers(offer(1, 0.4), offer(2, 0.9)))
        script, key = tmp_path / "start.sh", tmp_path / "key.pub"
        script.write_text("echo hello\n")
        key.write_text("ssh-ed25519 AAAA\n")
        result = run(
            *("sessions", "create", "--gpu", "rtx_4090", "--max-price", "0.5", "--lifetime", "12h", "--disk", "20"),
            *("--env", "A=1=2", "--env", "FROM_HERE", "--ssh-key", str(key), "--onstart", str(script), "--json"),
            env={"FROM_HERE": "there"},
        )
        session = told(result)
        assert (session["offer_id"], session["state"]) == ("vastai-1", "creating")
        assert session["expires_at"] == "2026-11-23T10:00:00Z"
        (stored,) = served.do(lambda deployment: deployment.store.run_sync(sessions.page).items)
        assert stored.spec.env == {"A": "1=2", "FROM_HERE": "there"}
        assert (stored.spec.ssh_key, stored.spec.onstart) == ("ssh-ed25519 AAAA", "echo hello\n")
        assert stored.spec.disk_gb == 20

    def test_the_same_key_rents_once(self, served: Served, run: Run) -> None:
        served.do(lambda deployment: deployment.offers(offer(1)))
        arguments = ("sessions", "create", "--offer", "vastai-1", "--idempotency-key", "job 7", "--json")
        assert told(run(*arguments))["id"] == told(run(*arguments))["id"]

    def test_what_cannot_be_rented_says_why(self, served: Served, run: Run) -> None:
        for arguments, status, why in (
            (("--gpu", "H100"), 1, "no market could be read yet"),
            (("--account", "nobody", "--gpu", "H100"), 1, "no account"),
            ((), 2, "say what to rent"),
            (("--gpu", "H100", "--env", "NOT_SET_ANYWHERE"), 2, "not set in your environment"),
            (("--gpu", "H100", "--lifetime", "soon"), 2, "body.lifetime"),
        ):
            result = run("sessions", "create", *arguments)
            assert result.exit_code == status, result.output
            assert why in result.output

    def test_waiting_waits_for_the_outcome_and_a_failed_one_is_a_failure(self, served: Served, run: Run) -> None:
        served.do(lambda deployment: deployment.offers(offer(1)))
        created = told(run("sessions", "create", "--gpu", "RTX 4090", "--idempotency-key", "k", "--json"))
        served.do(
            lambda deployment: deployment.store.run_sync(
                lambda conn: sessions.update(
                    conn,
                    _failed(sessions.page(conn).items[0]),
                )
            )
        )
        result = run("sessions", "create", "--gpu", "RTX 4090", "--idempotency-key", "k", "--wait", "300")
        assert result.exit_code == 1
        assert created["id"] in result.output
        assert "nothing was rented: no luck" in result.output

    def test_an_id_is_registered_for_another_tool(self, run: Run) -> None:
        session = told(run("sessions", "register", "main", "--id", NOBODY, "--lifetime", "1h", "--json"))
        assert (session["state"], session["tag"]) == ("expected", f"shopper-{NOBODY}")
        again = run("sessions", "register", "main", "--id", NOBODY)
        assert again.exit_code == 1
        assert "exists already" in again.output
        assert run("sessions", "register", "main", "--id", "seven").exit_code == 2

    def test_sessions_are_listed_in_pages(self, served: Served, run: Run) -> None:
        served.do(lambda deployment: [deployment.session(number, reason="x\ty") for number in (1, 2, 3)])
        result = run("sessions", "list", "--limit", "2", "--state", "running")
        assert len(lines(result)) == 2
        assert lines(result)[0][-1] == "x\\ty"
        cursor = result.stderr.split("--cursor ")[1].strip()
        assert len(lines(run("sessions", "list", "--cursor", cursor))) == 1

    def test_one_session_is_shown_with_what_happened(self, served: Served, run: Run) -> None:
        session = told(run("sessions", "register", "main", "--json"))
        result = run("sessions", "show", session["id"])
        assert f"tag\t{session['tag']}" in result.output
        assert "session.registered" in result.output
        assert told(run("sessions", "show", session["id"], "--json"))["events"][0]["kind"] == "session.registered"

    def test_what_does_not_exist_is_a_failure(self, run: Run) -> None:
        for arguments in (("show", NOBODY), ("end", NOBODY), ("extend", NOBODY, "--lifetime", "1h"), ("show", "seven")):
            result = run("sessions", *arguments)
            assert result.exit_code == 1
            assert "there is no session" in result.output

    def test_a_deadline_is_moved(self, served: Served, run: Run) -> None:
        session = served.do(lambda deployment: deployment.session(1))
        for arguments, expires in (
            (("--lifetime", "2h"), "2026-11-23T00:00:00Z"),
            (("--until", "2026-12-01T00:00:00Z"), "2026-12-01T00:00:00Z"),
            (("--lifetime", "0"), None),
        ):
            assert told(run("sessions", "extend", str(session.id), *arguments, "--json"))["expires_at"] == expires
        assert run("sessions", "extend", str(session.id)).exit_code == 2
        assert run("sessions", "extend", str(session.id), "--until", "tomorrow").exit_code == 2

    def test_several_sessions_are_ended_and_a_wrong_id_stops_none(self, served: Served, run: Run) -> None:
        made = served.do(lambda d: [d.session(number, state=SessionState.EXPECTED) for number in (1, 2)])
        ids = [str(session.id) for session in made]
        result = run("sessions", "end", ids[0], NOBODY, ids[1], "--reason", "done")
        assert result.exit_code == 1
        assert [line.split(": ") for line in result.stdout.splitlines()] == [[id_, "ended"] for id_ in ids]
        assert NOBODY in result.stderr


def _failed(session: Session) -> Session:
    return evolve(session, state=SessionState.FAILED, reason="no luck")


class TestInstances:
    def test_instances_are_listed_with_hostile_labels_made_harmless(self, served: Served, run: Run) -> None:
        served.do(lambda deployment: deployment.track("7", tag="\x1b]0;owned\x07", address="10.0.0.1", ssh_port=22))
        served.do(lambda deployment: deployment.track("8", state=InstanceState.STOPPED, price_per_hour=None))
        found = lines(run("instances", "list"))
        assert found[0][1:5] == ["7", "foreign", "running", "-"]
        assert "10.0.0.1:22" in found[0]
        assert "\\x1b]0;owned\\x07" in found[0]
        assert "\x1b" not in run("instances", "list", "--json").stdout
        assert len(lines(run("instances", "list", "--state", "stopped"))) == 1

    def test_a_destroy_is_asked_about(self, served: Served, run: Run) -> None:
        session = served.do(lambda deployment: deployment.session(1, instance_id="7"))
        served.do(lambda deployment: deployment.track("7", session.id))
        for answer in ("n\n", "\n", ""):
            result = run("instances", "destroy", "main", "7", input=answer)
            assert result.exit_code == 1
            assert "Destroy instance 7 of account main" in result.stderr
        assert served.do(lambda deployment: deployment.store.run_sync(destroys.open_jobs, "main")) == []
        assert run("instances", "destroy", "main", "7", input="y\n").exit_code == 0
        assert len(served.do(lambda deployment: deployment.store.run_sync(destroys.open_jobs, "main"))) == 1

    def test_with_yes_it_is_not(self, served: Served, run: Run) -> None:
        session = served.do(lambda deployment: deployment.session(1, instance_id="7"))
        served.do(lambda deployment: deployment.track("7", session.id))
        job = told(run("instances", "destroy", "main", "7", "--yes", "--reason", "it hangs", "--json"))
        assert (job["instance_id"], job["reason"]) == ("7", "it hangs")

    def test_what_must_not_go_or_is_not_there_is_a_failure(self, served: Served, run: Run) -> None:
        served.do(lambda deployment: deployment.track("7"))
        assert "foreign" in run("instances", "destroy", "main", "7", "--yes").output
        for arguments in (
            ("destroy", "main", "7", "--yes"),
            ("destroy", "main", "9", "--yes"),
            ("exempt", "main", "9"),
        ):
            assert run("instances", *arguments).exit_code == 1

    def test_an_exemption_is_given_and_taken_back(self, served: Served, run: Run) -> None:
        served.do(lambda deployment: deployment.track("7"))
        assert told(run("instances", "exempt", "main", "7", "--json"))["exempt"]
        assert "is exempt" in run("instances", "exempt", "main", "7").output
        assert "not exempt" in run("instances", "unexempt", "main", "7").output
        assert not told(run("instances", "unexempt", "main", "7", "--json"))["exempt"]

    def test_a_machine_is_adopted(self, served: Served, run: Run) -> None:
        served.do(lambda deployment: deployment.orphan("7", 1))
        adopted = told(run("instances", "adopt", "main", "7", "--lifetime", "1h", "--json"))
        assert adopted["ownership"] == "ours"
        assert f"7 belongs to session {adopted['session_id']} now" in run("instances", "adopt", "main", "7").stdout
        assert run("instances", "adopt", "main", "404").exit_code == 1

    def test_an_explanation_tells_sightings_rules_and_what_would_change_it(self, served: Served, run: Run) -> None:
        served.do(lambda deployment: deployment.orphan("7", 1, kind_sightings=2, tag="\x1b[2J\u202eevil"))
        result = run("explain", "main", "7")
        assert result.exit_code == 0
        assert "held: too few complete snapshots" in result.stdout.splitlines()[0]
        assert "sightings\t2 of 3 agree; missed by 0 since" in result.stdout
        assert "sightings\tHOLDS (first)\tenough complete snapshots" in result.stdout
        assert "grace\tholds\t" in result.stdout
        assert "frozen\tpasses\tthe kill switch is off" in result.stdout
        assert "what would change it: wait for the next snapshots (orphans.sightings)" in result.stdout
        assert "\x1b" not in result.output
        assert "\u202e" not in result.output
        assert told(run("explain", "main", "7", "--json"))["first_hold"] == "sightings"
        assert run("explain", "main", "404").exit_code == 1


def read_markets(deployment: Deployment) -> None:
    """Prices of an hour ago, when the list was cut off, and of now."""
    h100 = GpuPrices("H100 SXM", False, 3, 2.0, 2.0, 2.5, 3.0)
    gpus = (h100, evolve(h100, gpu="RTX 4090", interruptible=True))
    for hours in (1, 0):
        at = deployment.clock.now() - timedelta(hours=hours)
        deployment.store.run_sync(prices.record, MarketPrices("main", at, hours == 1, gpus))


class TestMarketAndOrphans:
    def test_offers_are_filtered_and_sorted(self, served: Served, run: Run) -> None:
        served.do(lambda d: d.offers(offer(1, 0.4), offer(2, 0.9, vram_gb=None, location=None, reliability=None)))
        assert [line[0] for line in lines(run("offers", "--sort", "-price"))] == ["vastai-2", "vastai-1"]
        assert [line[0] for line in lines(run("offers", "--max-price", "0.5", "--location", "SE"))] == ["vastai-1"]
        first = run("offers", "--limit", "1")
        assert "there is more: --cursor" in first.stderr
        assert told(run("offers", "--gpu", "H100", "--json")) == {"items": [], "next": None}
        assert run("offers", "--sort", "age").exit_code == 2

    def test_prices_are_told_oldest_first_a_line_for_each_gpu(self, served: Served, run: Run) -> None:
        served.do(read_markets)
        assert lines(run("offers", "history", "--step", "0", "--interruptible", "any")) == [
            [f"2026-11-22T{hour}:00:00Z", "main", gpu, "3", "2.000", "2.000", "2.500", "3.000", kind, cut_off]
            for hour, cut_off in (("21", "cut off"), ("22", "-"))
            for gpu, kind in (("H100 SXM", "-"), ("RTX 4090", "interruptible"))
        ]
        assert [line[:3] for line in lines(run("offers", "history", "--gpu", "h100", "--step", "1d"))] == [
            ["2026-11-22T22:00:00Z", "main", "H100 SXM"]
        ]
        first = run("offers", "history", "--step", "0", "--limit", "1")
        assert "there is more: --cursor" in first.stderr
        assert told(run("offers", "history", "--account", "dock", "--json")) == {"items": [], "next": None}

    def test_a_history_without_prices_says_what_that_means(self, served: Served, run: Run) -> None:
        assert lines(run("offers", "history")) == []
        assert without_prices(told(run("offers", "history", "--json"))["items"]) == "no market was read in that time"
        served.do(read_markets)
        assert lines(run("offers", "history", "--gpu", "A100")) == []
        found = told(run("offers", "history", "--gpu", "A100", "--json"))["items"]
        assert without_prices(found) == "no such GPU was offered in that time"

    def test_options_before_history_are_refused_and_not_ignored(self, run: Run) -> None:
        refused = run("offers", "--gpu", "H100", "history")
        assert refused.exit_code == 2
        assert "the options of history belong behind it" in refused.output

    def test_orphans_and_plans_tell_what_is_done(self, served: Served, run: Run) -> None:
        served.do(lambda deployment: deployment.orphan("7", 1))
        (line,) = lines(run("orphans"))
        assert line[:5] == ["main", "7", "ended", "suspected", "grace"]
        assert told(run("orphans", "--json"))["items"][0]["instance_id"] == "7"
        result = run("plan", "main")
        assert "main: no complete snapshot; the last one had 1 orphan: 1 suspected" in result.output
        assert "the next sweep only looks" in result.output
        assert told(run("plan", "--json"))["items"][1]["account"] == "dock"


class TestEvents:
    def test_the_newest_are_told_oldest_first(self, served: Served, run: Run) -> None:
        served.do(lambda d: [d.event(f"thing.number_{number}", instance_id="a\x1bb") for number in range(30)])
        result = run("events")
        assert [line.split("  ")[1] for line in result.output.splitlines()] == [
            f"thing.number_{n}" for n in range(10, 30)
        ]
        assert "instance=a\\x1bb" in result.output

    def test_after_a_number_the_next_are_told(self, served: Served, run: Run) -> None:
        served.do(lambda d: [d.event(f"thing.number_{number}") for number in range(5)])
        result = run("events", "--after", "1", "--limit", "2", "--json")
        assert [item["id"] for item in told(result)["items"]] == [2, 3]
        assert "there is more: --after 3" in run("events", "--after", "1", "--limit", "2").stderr

    def test_following_goes_on_with_what_comes(self, served: Served) -> None:
        served.do(lambda deployment: deployment.event("thing.first"))
        events = Client(served.url, None).follow("events", query={"last": 20})
        assert next(events)["kind"] == "thing.first"
        served.do(lambda deployment: deployment.event("thing.second"))
        assert next(events)["kind"] == "thing.second"
        events.close()

    @pytest.mark.parametrize("as_json", [True, False])
    def test_following_prints_a_line_for_each_event(self, stranger: Callable[..., Stranger], as_json: bool) -> None:
        event = {"id": 1, "at": "T", "kind": "thing.first", "message": "a\x1bb", "account": None}
        event |= {"session_id": None, "instance_id": None, "data": {}}
        message = f"id: 1\ndata: {json.dumps(event)}\n\n"
        other = stranger(200, "text/event-stream", f": hello\n\n{message}: still here\n\n{message}".encode())
        result = command(other.url, "events", "--follow", *(("--json",) if as_json else ()))
        assert result.exit_code == 1
        assert "ended the stream" in result.stderr
        assert result.stdout.splitlines() == [json.dumps(event) if as_json else "T  thing.first  a\\x1bb"] * 2

    def test_a_stream_that_is_refused_says_why(self, run: Run) -> None:
        result = run("events", "--follow", "--session", "seven")
        assert result.exit_code == 2
        assert "query.session" in result.stderr

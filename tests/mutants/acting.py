"""Bugs in carrying out: what jobs, people and the store do, in which order, and what they remember of it."""

from __future__ import annotations

from tests.mutants.mutant import Mutant, tests

JOBS = "mutants/test_jobs"
CHANGES = tests(JOBS, "test_what_changes_between_the_guards_and_the_request_holds_it")

DESTROYING = (
    Mutant(
        name="not-found-closes-the-job",
        source="LESSONS D3, D4, dstack#3031",
        what="A destroy that the API answers with `no such instance` is closed, while the machine bills on.",
        file="jobs/destroys.py",
        before="accepted_at=accepted_at or current.accepted_at, last_error=error))\n",
        after=(
            "accepted_at=accepted_at or current.accepted_at, last_error=error, "
            'gone_at=now if outcome == "not_found" else None))\n'
        ),
        killed_by=tests(JOBS, "test_no_answer_to_a_destroy_closes_its_job"),
    ),
    Mutant(
        name="accepted-is-gone",
        source="LESSONS D1, skypilot#4443, dstack#1551, karpenter-provider-aws#7684",
        what="A destroy that was accepted and not done is told as done, and the machine bills on.",
        file="jobs/destroys.py",
        before="accepted_at=accepted_at or current.accepted_at, last_error=error))\n",
        after="accepted_at=accepted_at or current.accepted_at, last_error=error, gone_at=accepted_at))\n",
        killed_by=tests(JOBS, "test_no_answer_to_a_destroy_closes_its_job"),
    ),
    Mutant(
        name="outage-blocks-destroys",
        source="LESSONS rule 7, F12; cloud-gpu-shopper's breaker stops destroys",
        what="While listings fail no machine is destroyed, though destroys would go through.",
        file="jobs/destroys.py",
        before="next_in_turn((job for job in left if job.id not in tried), ",
        after="next_in_turn((job for job in left if job.id not in tried and not self.at.problem), ",
        killed_by=tests(JOBS, "test_a_destroy_goes_out_while_nothing_else_of_the_provider_answers"),
    ),
    Mutant(
        name="destroy-gives-up",
        source="LESSONS 3.3, dstack#1551; dstack after 15 minutes, cloud-gpu-shopper after ten tries",
        what="After ten failures nobody tries any more, and a human has to find the machine on the bill.",
        file="jobs/destroys.py",
        before="next_in_turn((job for job in left if job.id not in tried), ",
        after="next_in_turn((job for job in left if job.id not in tried and job.attempts < 10), ",
        killed_by=tests(JOBS, "test_a_destroy_that_fails_is_tried_for_ever_and_ever_more_slowly"),
    ),
    Mutant(
        name="destroy-without-backoff",
        source="LESSONS D16, scrapoxy#32, autoscaler#4095",
        what="A destroy that fails is repeated at once and for ever, until the provider bans the account.",
        file="attempts.py",
        before="    return min(rules.retry_min * 2.0 ** min(max(tries, 0), 30), rules.retry_max) * jitter\n",
        after="    return rules.retry_min * jitter\n",
        killed_by=tests(JOBS, "test_a_destroy_that_fails_is_tried_for_ever_and_ever_more_slowly"),
    ),
    Mutant(
        name="destroy-repeated-while-it-works",
        source="LESSONS A11, autoscaler#4095",
        what="A machine on its way out is destroyed again and again, and with a re-used id somebody else's.",
        file="jobs/destroys.py",
        before="    if hold is None and _waits_for_proof(known, current):\n",
        after="    if hold is None and current.attempts < 0:\n",
        killed_by=tests(JOBS, "test_a_destroy_that_was_accepted_and_shows_is_not_asked_for_again"),
    ),
    Mutant(
        name="one-stuck-destroy-stops-all",
        source="LESSONS D15, boskos#112, test-infra#15866",
        what="The first machine that cannot go keeps all others billing.",
        file="jobs/destroys.py",
        before="            sent += await self._carry_out(job)\n",
        after="            if not await self._carry_out(job):\n                break\n            sent += 1\n",
        killed_by=tests(JOBS, "test_a_destroy_that_is_held_holds_no_other"),
    ),
    Mutant(
        name="last-look-skipped",
        source="LESSONS D17, terraform-aws-github-runner#4595, SimianArmy#319",
        what="What changed since the verdict is not looked at, and another machine goes.",
        file="jobs/destroys.py",
        before="        if not confirms(known, job, instance):\n",
        after="        if known is None:\n",
        killed_by=tests(JOBS, "test_a_verdict_is_not_sent_to_another_machine_under_its_id"),
    ),
    Mutant(
        name="blind-last-look-is-enough",
        source="LESSONS B3, D17, cluster-glue#35",
        what="When the last look fails the verdict is carried out unseen.",
        file="jobs/destroys.py",
        before="            return _BLIND\n",
        after="            return track.instance if track is not None else _BLIND\n",
        killed_by=tests(JOBS, "test_a_verdict_is_not_sent_unseen"),
    ),
    Mutant(
        name="blind-last-look-blocks-for-ever",
        source="LESSONS G12, 3.4, terraform-aws-github-runner#4724",
        what="A key that may not read single machines keeps every destroy that people asked for from going out.",
        file="jobs/destroys.py",
        before="                and failed >= BLIND_LOOKS_MAX\n",
        after="                and failed < 0\n",
        killed_by=tests(JOBS, "test_a_command_is_not_held_for_ever_by_single_reads_that_fail"),
    ),
    Mutant(
        name="single-read-outweighs-the-listing",
        source="LESSONS B2, terraform-aws-github-runner#4786",
        what="A machine that listings hold is never destroyed because single reads do not know it.",
        file="jobs/destroys.py",
        before="is_present(track) and self._listing_is_fresh() else None\n",
        after="is_present(track) and not track.ever_seen else None\n",
        killed_by=tests(JOBS, "test_a_machine_that_listings_hold_goes_although_single_reads_do_not_know_it"),
    ),
    Mutant(
        name="freeze-of-another-process-ignored",
        source="LESSONS J4, D18, kopf#1266",
        what="The kill switch that another replica wrote is not seen by this one.",
        file="jobs/knowledge.py",
        before="    return evolve(authority, frozen=authority.frozen or bool(meta.get(conn, FROZEN_KEY)))\n",
        after="    return authority\n",
        killed_by=tests(JOBS, "test_a_freeze_that_only_the_store_knows_of_holds_a_destroy"),
    ),
    Mutant(
        name="guards-asked-once",
        source="LESSONS D17, D18, rule 3",
        what="What happens while the last look is under way stops nothing.",
        file="jobs/destroys.py",
        before="settings.orphans, now)\n    if hold is not None:\n",
        after="settings.orphans, now) and None\n    if hold is not None:\n",
        occurrence=1,
        killed_by=CHANGES,
    ),
    Mutant(
        name="guards-not-asked-at-the-turn",
        source="LESSONS D18, J4, ravel PR#1777",
        what="A request that waited minutes for its turn is sent on guards of minutes ago.",
        file="jobs/destroys.py",
        before='            raise Withheld(f"held while it waited for its turn: {hold}")\n',
        after='            log.warning("destroy.late", hold=str(hold))\n',
        killed_by=CHANGES,
    ),
    Mutant(
        name="request-before-its-record",
        source="LESSONS I1, rule 3",
        what="A crash right after a destroy leaves no trace that it was sent, nor why.",
        file="jobs/destroys.py",
        before="    destroys.update(conn, begun)\n    append(",
        after="    append(",
        killed_by=tests(JOBS, "test_an_attempt_is_on_disk_before_its_request"),
    ),
    Mutant(
        name="stopping-destroys",
        source="LESSONS I2, I18; cloud-gpu-shopper destroys all sessions on SIGTERM",
        what="A rolling upgrade destroys machines.",
        file="jobs/context.py",
        before='        if self.stopping:\n            return "stopping"\n',
        after="",
        killed_by=CHANGES,
    ),
)

CREATING = (
    Mutant(
        name="create-before-its-intent",
        source="LESSONS C9, C10, dstack#3453, edge-endpoint#421",
        what="A crash between rental and write leaves a machine that bills and that no row names.",
        file="jobs/creates.py",
        before=(
            "        self._sent.discard(session.id)\n"
            "        try:\n"
            "            created = await self._send(session, offer, request)\n"
        ),
        after=(
            "        self._sent.add(session.id)\n"
            "        try:\n"
            "            created = await self._send(session, offer, request)\n"
            "            await context.store.run(begin, session.id, offer, context.clock.now())\n"
        ),
        killed_by=tests(JOBS, "test_an_intent_is_marked_as_sent_before_the_provider_hears_of_it"),
    ),
    Mutant(
        name="unclear-create-tries-the-next-offer",
        source="LESSONS C1, C8, skypilot#10517; cloud-gpu-shopper retries creates",
        what="A create that timed out is sent again for the next offer, and two machines bill for one request.",
        file="jobs/creates.py",
        before="            await self._record(note_unclear, session.id, str(error), context.clock.now())\n",
        after=(
            "            await self._record(note_refusal, session.id, str(error), context.clock.now())\n"
            "            return str(error)\n"
        ),
        killed_by=tests(JOBS, "test_a_create_without_a_clear_answer_is_looked_for_and_never_asked_again"),
    ),
    Mutant(
        name="unclear-create-is-a-failure",
        source="LESSONS 3.3, cloud-api-adaptor#2981, juju#1333, skypilot#656, transformerlab#1897",
        what="A create that timed out is told as failed, and the machine that it rented is nobody's.",
        file="jobs/creates.py",
        before="            await self._record(note_unclear, session.id, str(error), context.clock.now())\n",
        after="            await self._record(fail, session.id, str(error), context.clock.now())\n",
        killed_by=tests(JOBS, "test_a_create_without_a_clear_answer_is_looked_for_and_never_asked_again"),
    ),
    Mutant(
        name="freeze-does-not-stop-a-waiting-create",
        source="LESSONS J4, D18",
        what="A create that waits for its turn rents although the deployment was frozen meanwhile.",
        file="jobs/creates.py",
        before="CreateOutcome.REFUSED) or meta.get(conn, FROZEN_KEY):\n",
        after="CreateOutcome.REFUSED):\n",
        killed_by=tests(JOBS, "test_a_create_that_waits_for_its_turn_is_not_sent_after_a_freeze"),
    ),
    Mutant(
        name="id-of-a-create-lost",
        source="LESSONS C11; cloud-gpu-shopper makes one attempt",
        what="The store is full for a second, and the id of a machine that bills is gone for good.",
        file="jobs/creates.py",
        before="                    await context.clock.sleep(RECORD_AGAIN_SECONDS)\n",
        after="                    return\n",
        killed_by=tests(JOBS, "test_the_id_of_a_create_is_recorded_although_the_store_fails_at_first"),
    ),
    Mutant(
        name="end-while-creating-forgotten",
        source="LESSONS C12, proliferate#1264, yomotsusaka#124",
        what="A session that is cancelled while its create is under way leaves its machine running.",
        file="jobs/creates.py",
        before="            request_destroy(conn, command_for(tied, track, now), now)\n",
        after="            pass\n",
        killed_by=tests(JOBS, "test_a_session_that_ends_while_its_create_is_under_way_is_not_forgotten"),
    ),
    Mutant(
        name="create-binds-a-machine-of-before",
        source="LESSONS F11, skypilot PR#9117",
        what="A mixed-up answer binds somebody else's machine, and the session's end destroys it.",
        file="jobs/creates.py",
        before="    if track is not None and track.ever_seen and track.first_seen_at < session.created_at:\n",
        after="    if track is not None and track.sightings < 0:\n",
        killed_by=tests(JOBS, "test_an_answer_that_names_a_machine_of_before_binds_nothing"),
    ),
)

LOOKING = (
    Mutant(
        name="gone-without-a-single-read",
        source="LESSONS A2, A9; karpenter and boskos trust the listing alone",
        what="A listing that misses a machine three times is believed although a single read still shows it.",
        file="jobs/status.py",
        before="                looked = await self.at.provider.get_instance_status(id_)\n",
        after="                raise InstanceNotFound(id_)\n",
        killed_by=tests(JOBS, "test_a_machine_that_a_single_read_still_shows_is_not_gone"),
    ),
    Mutant(
        name="any-error-is-gone",
        source="LESSONS B3, rule 5; cloud-gpu-shopper takes any error of a status call for gone",
        what="A timeout of a single read proves that a machine is gone.",
        file="jobs/status.py",
        before="            except InstanceNotFound:\n                gone.append(id_)\n",
        after="            except ProviderError:\n                gone.append(id_)\n",
        killed_by=tests(JOBS, "test_a_single_read_that_fails_proves_nothing"),
    ),
    Mutant(
        name="newer-listing-outweighed",
        source="LESSONS B2, F14",
        what="A machine that a listing shows again is declared gone by a single read that was sent before it.",
        file="jobs/knowledge.py",
        before=" and track.absences >= enough\n",
        after="\n",
        killed_by=tests(JOBS, "test_a_listing_that_shows_a_machine_again_outweighs_the_single_read_before_it"),
    ),
    Mutant(
        name="listings-overlap",
        source="LESSONS A20, I19, F14",
        what="Two listings at the same time are counted as two sightings, and the older one may come last.",
        file="jobs/observer.py",
        before="    async with account.listing:\n",
        after="    if account.listing is not None:\n",
        killed_by=tests(JOBS, "test_two_listings_of_one_account_never_overlap"),
    ),
    Mutant(
        name="failed-listing-is-fresh",
        source="LESSONS A17, 3.1, SimianArmy#322",
        what="A sweep whose listing failed acts on what the one before it told.",
        file="jobs/sweep.py",
        before="        fresh = seen is not None and seen.snapshot.complete\n",
        after="        fresh = True\n",
        killed_by=tests(JOBS, "test_a_failed_or_incomplete_listing_begins_nothing"),
    ),
    Mutant(
        name="incomplete-listing-is-fresh",
        source="LESSONS A4, rule 1",
        what="A sweep that saw half of an account acts on it.",
        file="jobs/sweep.py",
        before="        fresh = seen is not None and seen.snapshot.complete\n",
        after="        fresh = seen is not None\n",
        killed_by=tests(JOBS, "test_a_failed_or_incomplete_listing_begins_nothing"),
    ),
    Mutant(
        name="orphan-counted-at-every-sight",
        source="LESSONS K2; cloud-gpu-shopper counts an orphan again in every sweep",
        what="One orphan that is held for a day is seven hundred in the statistics.",
        file="jobs/knowledge.py",
        before="        if track.kind is not None and track.kind_sightings == 1 and track.orphan_since == now\n",
        after="        if track.kind is not None\n",
        killed_by=tests(JOBS, "test_an_orphan_is_destroyed_and_counted_once"),
    ),
    Mutant(
        name="ordinary-end-is-an-orphan",
        source="LESSONS E9, K2",
        what="Every session that ends in the ordinary way is alerted on as an orphan while its machine shuts down.",
        file="reconcile.py",
        before="        return _ENDED_BY_COMMAND if job is not None and job.origin is DestroyOrigin.COMMAND else _ENDED_UNDONE\n",
        after="        return _ENDED_UNDONE\n",
        killed_by=tests(
            JOBS, "test_a_machine_of_a_session_that_was_ended_by_command_is_no_orphan_while_its_destroy_works"
        ),
    ),
)

REMEMBERING = (
    Mutant(
        name="hourly-limit-in-memory",
        source="LESSONS O5, I3, rucio#8366",
        what="A daemon that crashes in a loop has a fresh limit with every start.",
        file="jobs/sweep.py",
        before="        last_hour=destroys.verdicts_since(conn, account.name, now - timedelta(hours=1)),\n",
        after=(
            "        last_hour=destroys.verdicts_since(\n"
            "            conn, account.name, max(now - timedelta(hours=1), known.spans[-1].started_at)\n        ),\n"
        ),
        killed_by=tests(JOBS, "test_the_limit_of_an_hour_outlives_restarts"),
    ),
    Mutant(
        name="limit-anew-at-every-run",
        source="LESSONS I3, I19",
        what="Every restart, and every `run now`, has the limit of a whole sweep.",
        file="jobs/sweep.py",
        before="        last_sweep=destroys.verdicts_since(conn, account.name, now - same_sweep),\n",
        after="        last_sweep=0,\n",
        killed_by=tests(JOBS, "test_sweeps_close_together_share_one_limit"),
    ),
    Mutant(
        name="limit-given-back",
        source="LESSONS O5, rucio#6512",
        what="Each machine that is gone makes room for the next verdict: the quicker the wrong ones go, the more go.",
        file="store/destroys.py",
        before="        (destroys.c.origin == DestroyOrigin.VERDICT) | destroys.c.kind.is_not(None),\n",
        after=(
            "        (destroys.c.origin == DestroyOrigin.VERDICT) | destroys.c.kind.is_not(None),\n"
            "        destroys.c.gone_at.is_(None),\n"
        ),
        killed_by=tests(JOBS, "test_the_limit_of_an_hour_is_not_given_back_by_what_is_gone"),
    ),
    Mutant(
        name="restored-store-acts-at-once",
        source="LESSONS E10, E2, I3, slang#11067",
        what="A store put back from a backup destroys in its first sweep what was rented since.",
        file="daemon.py",
        before="            meta.put(conn, observing_key(name), settings.orphans.observe_sweeps)\n",
        after="            meta.get(conn, observing_key(name))\n",
        killed_by=tests(JOBS, "test_a_store_that_changed_only_looks_at_first"),
    ),
    Mutant(
        name="looking-ends-without-a-look",
        source="LESSONS I3, A18, slang#11120",
        what="The sweeps that only look are used up by listings that failed.",
        file="jobs/sweep.py",
        before="    if fresh:\n        meta.put(",
        after="    if settings:\n        meta.put(",
        killed_by=tests(JOBS, "test_only_sweeps_that_saw_everything_count_as_looked"),
    ),
    Mutant(
        name="memory-spans-a-restart",
        source="LESSONS E10, E2, ray#20286",
        what="What was rented while the daemon was down, or after its backup, counts as if it had watched.",
        file="daemon.py",
        before="    memory.wake(conn, now)\n",
        after="",
        killed_by=tests(JOBS, "test_every_start_begins_a_memory_of_its_own"),
    ),
    Mutant(
        name="id-erased-before-the-proof",
        source="LESSONS rule 4, 3.1, proliferate#1264; cloud-gpu-shopper's watchdog erases ids after one try",
        what="After the first destroy nobody knows any more which machine was meant.",
        file="decisions.py",
        before="        request_destroy(conn, command_for(ending, track, now), now)\n    return ending\n",
        after=(
            "        request_destroy(conn, command_for(ending, track, now), now)\n"
            "        return sessions.update(conn, evolve(ending, instance_id=None))\n    return ending\n"
        ),
        killed_by=tests(JOBS, "test_an_id_is_kept_until_its_machine_is_proven_gone_and_after"),
    ),
    Mutant(
        name="end-of-an-open-create-is-the-end",
        source="LESSONS C12, proliferate#1264",
        what="A session that is ended while its create is unclear is over at once, and nobody looks for its machine.",
        file="decisions.py",
        before="    elif session.instance_id is None and not session.create_open:\n",
        after="    elif session.instance_id is None:\n",
        killed_by=tests(
            "web/test_sessions",
            "TestWhatPeersGotWrong::test_a_session_whose_create_is_open_is_not_over_when_it_is_ended",
        ),
    ),
    Mutant(
        name="foreign-destroyed-by-hand",
        source="LESSONS J7, 3.2, modernisation-platform#12887",
        what="A slip in an id destroys a machine that shopperd never rented.",
        file="decisions.py",
        before="    if bound_to is None and track.instance.session_id is None:\n        raise Conflicting(",
        after="    if bound_to is None and track.instance is None:\n        raise Conflicting(",
        killed_by=tests("web/test_instances", "TestDestroy::test_what_must_not_go_stays"),
    ),
    Mutant(
        name="foreign-adopted",
        source="LESSONS J7, 3.2",
        what="A slip in an id puts a stranger's machine under a session, whose end destroys it.",
        file="decisions.py",
        before="    if track.instance.session_id is None:\n        raise Conflicting(",
        after="    if track.instance is None:\n        raise Conflicting(",
        killed_by=tests("web/test_instances", "TestAdopt::test_a_foreign_one_or_one_on_its_way_out_is_not_adopted"),
    ),
    Mutant(
        name="two-sessions-by-adoption",
        source="LESSONS E5, C14",
        what="A machine is adopted while the create that rented it is open: two sessions have it, and each one's end destroys it.",
        file="decisions.py",
        before="        if not takes_it:\n            raise Conflicting(",
        after="        if takes_it is None:\n            raise Conflicting(",
        killed_by=tests("web/test_instances", "TestAdopt::test_what_an_open_create_may_have_rented_is_left_to_it"),
    ),
    Mutant(
        name="exemption-lost-in-a-sweep",
        source="LESSONS D18, terraform-aws-github-runner#5194",
        what="A sweep that read the machine before the exemption writes it away.",
        file="store/instances.py",
        before="        known = before.get(track.instance.id, track)\n",
        after="        known = track\n",
        killed_by=tests("store/test_instances", "test_an_exemption_survives_a_sweep_that_read_before_it[sqlite]"),
    ),
    Mutant(
        name="tombstones-forgotten",
        source="LESSONS 3.1, B14; peers that erase ids",
        what="A machine of a forgotten session turns up, is unknown instead of over, and never goes.",
        file="store/sessions.py",
        before="            forgotten[id_] = graves.get(id_)\n",
        after="            forgotten[id_] = None\n",
        killed_by=tests("store/test_sessions", "test_an_old_session_is_forgotten_but_its_id_is_known_for_ever[sqlite]"),
    ),
    Mutant(
        name="forgotten-while-its-machine-lives",
        source="LESSONS rule 4, firstmate PR#4307",
        what="Housekeeping forgets a session whose machine is still there.",
        file="store/sessions.py",
        before="        *(~still for still in _still_there()),\n",
        after="",
        killed_by=tests(
            "store/test_sessions",
            "test_a_session_is_not_forgotten_while_a_machine_of_it_may_exist[sqlite]",
            "test_a_session_is_not_forgotten_while_its_destroy_is_open[sqlite]",
        ),
    ),
    Mutant(
        name="last-writer-wins",
        source="LESSONS H9, D17, skypilot PR#10347",
        what="A listing that was read before an extension writes the old deadline back, and the session expires.",
        file="store/sessions.py",
        before='sessions.c.version == sa.bindparam("same_version"))\n',
        after='sa.bindparam("same_version", type_=sa.Integer) >= 0)\n',
        killed_by=tests("store/test_sessions", "test_a_writer_with_an_older_version_is_refused[sqlite]"),
    ),
    Mutant(
        name="closed-destroy-opened-again",
        source="LESSONS D3, mecatl#1299",
        what="A late writer opens a destroy that was proven, and the next machine under that id goes.",
        file="store/destroys.py",
        before="    if standing.gone_at is not None and job.gone_at is None:\n",
        after="    if standing.gone_at is not None and job.id < 0:\n",
        killed_by=tests("store/test_destroys", "test_a_closed_job_is_never_opened_again[sqlite]"),
    ),
    Mutant(
        name="budget-forgets-what-is-coming",
        source="LESSONS J10, skypilot#7837",
        what="Ten creates at once pass a budget for one, since none of them is billed yet.",
        file="decisions.py",
        before="            coming += price\n",
        after="            coming += 0.0\n",
        killed_by=tests(
            "web/test_sessions", "TestWhatPeersGotWrong::test_what_is_on_its_way_counts_towards_the_budget"
        ),
    ),
    Mutant(
        name="age-zero-in-an-outage",
        source="LESSONS K1; prometheus-vastai shows zeros while the provider is away",
        what="A dashboard shows a fresh account while nothing of it was ever read.",
        file="jobs/gauges.py",
        before="        age = math.inf if account.last_complete_at is None else ",
        after="        age = 0.0 if account.last_complete_at is None else ",
        killed_by=tests("web/test_exposition", "test_what_was_never_read_is_infinitely_old_and_not_fresh"),
    ),
)

PACING = (
    Mutant(
        name="no-limit-for-one-machine",
        source="LESSONS D16, scrapoxy#32",
        what="Whoever wakes a destroy again and again has it sent each time, until the provider bans the account.",
        file="attempts.py",
        before="        pauses.append(_pause_seconds(recent.machine, attempts_per_hour(rules)))\n",
        after="",
        killed_by=tests("test_attempts", "TestLimits::test_the_limit_for_one_machine_is_a_window_that_slides"),
    ),
    Mutant(
        name="first-destroys-share-the-limit-of-repeated-ones",
        source="LESSONS D15, boskos#112, test-infra#15866",
        what="Machines that do not go away use up the hour, and true orphans that nobody asked for yet bill on.",
        file="attempts.py",
        before="        if is_repeated(job):\n",
        after="        if rules is not None:\n",
        killed_by=tests("test_attempts", "TestLimits::test_the_limit_of_an_account_holds_only_what_does_not_go_away"),
    ),
    Mutant(
        name="oldest-destroy-first",
        source="LESSONS D15, boskos#112, test-infra#15866",
        what="Hundreds of destroys that were refused before stand in front of the one that would go through.",
        file="attempts.py",
        before="(not is_first(job), is_stuck(job, rules, now), job.next_attempt_at, job.id)",
        after="(job.next_attempt_at, job.id)",
        killed_by=tests(
            "test_attempts", "TestTurns::test_what_was_never_tried_goes_before_what_was_and_that_before_what_is_stuck"
        ),
    ),
    Mutant(
        name="one-history-of-destroys",
        source="LESSONS I6, D16, scrapoxy#32",
        what="A clock that is set ahead makes every request look old, and the limit of an hour is full anew.",
        file="attempts.py",
        before="    return max(pauses)\n",
        after="    return min(pauses[1:])\n",
        killed_by=tests("test_attempts", "TestLimits::test_of_several_histories_the_strictest_counts"),
    ),
    Mutant(
        name="due-when-the-clock-has-caught-up",
        source="LESSONS I6",
        what="A destroy that a clock ahead has put off waits for days when that clock is put right, and bills.",
        file="attempts.py",
        before=" or job.next_attempt_at > now + timedelta(seconds=longest + FUTURE_SECONDS)\n",
        after="\n",
        killed_by=tests(
            "test_attempts", "TestTurns::test_what_waits_for_longer_than_anybody_waits_was_put_off_by_a_clock_ahead"
        ),
    ),
)

HOLDING = (
    Mutant(
        name="lease-taken-from-the-living",
        source="LESSONS I8, kopf#1266",
        what="Of two daemons on one store both act.",
        file="store/lease.py",
        before="    return found if moment < found.until else None\n",
        after="    return found if moment > found.until else None\n",
        killed_by=tests("store/test_lease", "test_a_store_is_held_by_one_process_until_its_lease_is_over"),
    ),
    Mutant(
        name="lease-of-the-dead-holds-for-ever",
        source="LESSONS H7, wolverine#2602",
        what="A daemon dies, and no other takes over: what is to be destroyed bills on.",
        file="store/lease.py",
        before="    return found if moment < found.until else None\n",
        after="    return found\n",
        killed_by=tests("store/test_lease", "test_a_store_is_held_by_one_process_until_its_lease_is_over"),
    ),
    Mutant(
        name="lease-given-up-by-anybody",
        source="LESSONS I9",
        what="A daemon that stops takes the lease from the one that acts, and a third begins beside it.",
        file="store/lease.py",
        before='    if isinstance(raw, dict) and raw.get("process") == process.hex:\n',
        after="    if isinstance(raw, dict):\n",
        killed_by=tests(
            "store/test_lease", "test_what_is_given_up_can_be_taken_at_once_but_only_by_its_holder[sqlite]"
        ),
    ),
    Mutant(
        name="lease-by-the-hosts-clock",
        source="LESSONS I7",
        what="A replica whose clock is ahead takes a lease that is not over, and both act.",
        file="store/lease.py",
        before='    return _clock_of(conn) if conn.dialect.name == "postgresql" else now\n',
        after="    return now\n",
        killed_by=tests("store/test_lease", "test_the_databases_own_clock_tells_when_a_lease_is_over[postgres]"),
    ),
    Mutant(
        name="clock-that-leaps-in-the-end",
        source="LESSONS I6",
        what="A clock that was set forward is believed after an hour, and sessions end before their time.",
        file="clock.py",
        before="        elif off < 0 and awake",
        after="        elif awake",
        killed_by=tests("test_clock", "test_a_jump_forward_is_never_followed_and_told_of_as_long"),
    ),
)

MUTANTS = (*DESTROYING, *CREATING, *LOOKING, *REMEMBERING, *PACING, *HOLDING)

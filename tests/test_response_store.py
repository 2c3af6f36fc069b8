"""The response on a real database: what is promised holds in the rows."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fleet_core import db
from incidents.response import actions, outbox, policy_file, rounds, standing
from incidents.response.actions import By, NoSuchIncidentError, StaleRevisionError
from incidents.response.lifecycle import RefusedError
from incidents.response.outbox import Attempt
from incidents.response.rota import Person
from tests.response_cases import OPENED, SECOND, Desk, Elsewhere, everybody, open_case, push, regrade

POLICY = policy_file.load()


@pytest.fixture
def desk(database_url: str) -> Iterator[Desk]:
    with db.connect(database_url, "test") as connection:
        connection.execute("INSERT INTO vehicles (vehicle_id, plate) VALUES ('v1', '沪A12345')")
        yield Desk(connection, POLICY).staffed()


def by(incident_id: int, after_s: float, revision: int | None = None) -> By:
    return By(incident_id, "wang", OPENED + after_s * SECOND, revision)


def calls(desk: Desk, incident_id: int) -> list[tuple[int, int, int, str]]:
    """(round, step, repeat, outcome) of the calls that were made."""
    return [
        (step.round, step.step, step.repeat, step.outcome or "")
        for step in rounds.steps_of(desk.connection, incident_id)
        if step.purpose == "call" and step.outcome not in (None, "stopped")
    ]


# -- rounds ------------------------------------------------------------------------------------------------------------


def test_an_incident_that_intake_left_alone_is_found_frozen_and_called_for(desk: Desk) -> None:
    case = open_case(desk.connection)
    assert desk.tick(1) == 1
    version, frozen = desk.rows("SELECT policy_version, policy FROM incidents WHERE incident_id = %s", case)[0]
    assert version == frozen["version"] == POLICY.version
    assert calls(desk, case) == [(1, 0, 0, "notified")]
    notices = desk.rows("SELECT person_id, purpose, subject, state, drill FROM outbox ORDER BY outbox_id")
    assert notices == [
        ("dispatcher", "call", "Urgent: Crash, 沪A12345 (v1)", "queued", False),
        ("information_feedback", "opened", "Urgent: Crash, 沪A12345 (v1)", "queued", False),
    ]
    assert desk.kinds(case)[:2] == ["escalation_started", "obligation_begun"]
    assert desk.tick(1) == 0, "nothing is left to do"


def test_what_intake_starts_is_of_its_own_transaction(desk: Desk) -> None:
    responder = rounds.Responder(POLICY)
    case = open_case(desk.connection)
    responder.opened(desk.connection, case, OPENED)
    desk.connection.rollback()
    assert desk.rows("SELECT count(*) FROM escalation_steps") == [0]
    case = open_case(desk.connection)
    responder.opened(desk.connection, case, OPENED)
    desk.connection.commit()
    assert calls(desk, case) == []
    assert desk.tick(0) == 1
    regrade(desk.connection, case, 3)
    responder.level_changed(desk.connection, case, 2, OPENED + SECOND)
    desk.connection.commit()
    assert [(row.number, row.level) for row in [_newest(desk, case)]] == [(2, 3)]


def _newest(desk: Desk, case: int) -> Any:
    facts = standing.read(desk.connection, case)
    desk.connection.rollback()
    assert facts is not None
    return facts.newest


def test_a_plan_runs_on_the_store_as_it_does_on_paper(desk: Desk) -> None:
    case = open_case(desk.connection)
    for second in range(0, 2000, 30):
        desk.tick(second)
    found = {
        (step.step, step.repeat): (step.due_at - OPENED).total_seconds()
        for step in rounds.steps_of(desk.connection, case)
        if step.purpose == "call"
    }
    plan = POLICY.levels[1]
    assert found == {
        (number, repeat): step.after_s + repeat * step.repeat_every_s
        for number, step in enumerate(plan.steps)
        for repeat in range(step.max_repeats + 1)
        if step.after_s + repeat * step.repeat_every_s < 2000 + 300
    }
    missed = desk.rows(
        "SELECT step FROM escalation_steps WHERE purpose = 'deadline' AND outcome = 'missed' ORDER BY step"
    )
    assert missed == [0, 1, 2, 3]
    keys = desk.rows("SELECT idempotency_key FROM outbox")
    assert len(keys) == len(set(keys))


def test_another_policy_does_not_touch_what_is_running(desk: Desk) -> None:
    case = open_case(desk.connection)
    desk.tick(0)
    one, two, three = POLICY.levels
    hurried = replace(two, steps=tuple(replace(step, after_s=0) for step in two.steps))
    desk.policy = replace(POLICY, version="2+other", levels=(one, hurried, three))
    desk.tick(5)
    assert calls(desk, case) == [(1, 0, 0, "notified")]
    other = open_case(desk.connection, vehicle_id="v2")
    desk.tick(6)
    assert len(calls(desk, other)) == 4
    assert desk.rows("SELECT policy_version FROM incidents ORDER BY incident_id") == [POLICY.version, "2+other"]


def test_while_no_worker_ran_the_plan_went_on(desk: Desk) -> None:
    case = open_case(desk.connection)
    desk.tick(600)
    assert [(step, repeat) for _, step, repeat, _ in calls(desk, case)] == [(0, 0), (1, 0), (2, 0)]
    late = desk.rows("SELECT data -> 'late_s' FROM incident_events WHERE kind = 'called' ORDER BY event_id")
    assert late == [600.0, 420.0, 120.0]


def test_two_workers_do_a_step_once(desk: Desk, database_url: str) -> None:
    case = open_case(desk.connection)
    desk.connection.commit()
    with Elsewhere(database_url) as other:
        assert rounds.work_on(other.connection, case, OPENED, POLICY)
        assert not rounds.work_on(desk.connection, case, OPENED, POLICY), "it is passed over while it is locked"
        desk.connection.rollback()
        other.connection.commit()
    assert desk.tick(0) == 0
    assert desk.rows("SELECT count(*) FROM outbox WHERE purpose = 'call'") == [1]


def test_a_worker_that_dies_before_its_commit_has_done_nothing(desk: Desk, database_url: str) -> None:
    case = open_case(desk.connection)
    desk.connection.commit()
    with Elsewhere(database_url) as other:
        assert rounds.work_on(other.connection, case, OPENED, POLICY)
    assert desk.rows("SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM escalations)") == [0]
    desk.tick(1)
    assert calls(desk, case) == [(1, 0, 0, "notified")]


def test_nobody_reachable_is_a_row_with_its_reason(database_url: str) -> None:
    with db.connect(database_url, "test") as connection:
        mute = [replace(person, channels=()) if person.person_id in ("dispatcher", "supervisor") else person
                for person in everybody(POLICY)]  # fmt: skip
        desk = Desk(connection, POLICY).staffed(*mute)
        case = open_case(connection)
        desk.tick(0)
        reasons = [reason for kind, _, reason in desk.timeline(case) if kind == "nobody_reachable"]
        assert reasons == ["nobody reachable for dispatcher: command_centre instead"]
        assert desk.rows("SELECT person_id FROM outbox WHERE purpose = 'call'") == ["command_centre"]
        (body,) = desk.rows("SELECT body FROM outbox WHERE purpose = 'call'")
        assert "Nobody could be reached as Dispatcher: you stand in." in body


def test_an_incident_whose_policy_was_tampered_with_holds_up_no_other(desk: Desk) -> None:
    bad, good = open_case(desk.connection, level=3), open_case(desk.connection, vehicle_id="v2")
    desk.tick(0)
    desk.connection.execute("UPDATE incidents SET policy = '{}', revision = 9 WHERE incident_id = %s", [bad])
    desk.connection.commit()
    assert rounds.waiting(desk.connection, OPENED + 200 * SECOND, [], 10) == [bad, good]
    with pytest.raises(ValueError, match="required field"):
        rounds.work_on(desk.connection, bad, OPENED + 200 * SECOND, POLICY)
    desk.connection.rollback()
    assert rounds.waiting(desk.connection, OPENED + 200 * SECOND, [bad], 10) == [good]


# -- acknowledging, raising, closing -----------------------------------------------------------------------------------


def test_an_acknowledgement_takes_back_what_is_not_sent(desk: Desk) -> None:
    case = open_case(desk.connection)
    desk.tick(0)
    actions.acknowledge(desk.connection, by(case, 20), "on it")
    desk.connection.commit()
    for second in range(21, 2000, 50):
        desk.tick(second)
    assert calls(desk, case) == [(1, 0, 0, "notified")]
    assert desk.rows("SELECT purpose, state, withdrawn_because FROM outbox ORDER BY outbox_id") == [
        ("call", "withdrawn", "acknowledged by wang"),
        ("opened", "queued", None),
    ]
    stopped = {step.outcome for step in rounds.steps_of(desk.connection, case) if step.done_at == OPENED + 20 * SECOND}
    assert stopped == {"stopped"}
    assert ("acknowledged", "wang", "on it") in desk.timeline(case)
    assert ("escalation_stopped", "machine:escalation v1", "acknowledged by wang") in desk.timeline(case)


def test_what_is_just_being_sent_is_not_tried_again_after_an_acknowledgement(desk: Desk) -> None:
    case = open_case(desk.connection)
    desk.tick(0)
    claimed = outbox.claim(desk.connection, OPENED, 10)
    actions.acknowledge(desk.connection, by(case, 1))
    for item in claimed:
        outbox.settle(desk.connection, item, Attempt("answered 500"), OPENED + 2 * SECOND, 0.5)
    desk.connection.commit()
    assert desk.rows("SELECT purpose, state FROM outbox ORDER BY outbox_id") == [
        ("call", "withdrawn"), ("opened", "queued"),
    ]  # fmt: skip
    left = open_case(desk.connection, vehicle_id="v2")
    desk.tick(3)
    assert {item.notice.incident_id for item in outbox.claim(desk.connection, OPENED + 3 * SECOND, 10)} == {left}
    actions.acknowledge(desk.connection, by(left, 4))
    # The worker that had it is gone; its lease runs out.
    later = OPENED + 4 * SECOND + outbox.LEASE
    assert [item.notice.purpose for item in outbox.claim(desk.connection, later, 10)] == ["opened"]
    desk.connection.commit()
    assert desk.rows("SELECT state FROM outbox WHERE incident_id = %s AND purpose = 'call'", left) == ["withdrawn"]


def test_a_raise_ends_the_acknowledgement_and_calls_the_higher_level(desk: Desk) -> None:
    case = open_case(desk.connection)
    desk.tick(0)
    actions.acknowledge(desk.connection, by(case, 5))
    regrade(desk.connection, case, 3)
    desk.tick(10)
    assert desk.rows("SELECT status, acknowledged_by FROM incidents") == [("open", None)]
    assert [row for row in calls(desk, case) if row[0] == 2] == [(2, 0, 0, "notified"), (2, 1, 0, "notified")]
    assert "acknowledgement_lapsed" in desk.kinds(case)
    told = desk.rows("SELECT person_id FROM outbox WHERE purpose = 'raised' ORDER BY person_id")
    assert told == ["customer_service", "information_feedback", "insurance", "legal", "management"]
    assert desk.tick(10) == 0


def test_a_person_may_change_the_level_with_a_reason(desk: Desk) -> None:
    case = open_case(desk.connection)
    desk.tick(0)
    with pytest.raises(RefusedError, match="needs its reason"):
        actions.change_level(desk.connection, by(case, 5), 3, " ")
    with pytest.raises(RefusedError, match="at level 2 already"):
        actions.change_level(desk.connection, by(case, 5), 2, "same")
    with pytest.raises(RefusedError, match="There is no level 4"):
        actions.change_level(desk.connection, by(case, 5), 4, "more")
    actions.change_level(desk.connection, by(case, 5), 1, "a bump, both drove on")
    desk.connection.commit()
    assert desk.rows("SELECT level, level_set_by FROM incidents") == [(1, "wang")]
    assert ("level_lowered", "wang", "a bump, both drove on") in desk.timeline(case)
    assert _newest(desk, case).level == 1
    waived = desk.rows("SELECT kind, waived_because FROM obligations ORDER BY kind")
    assert waived == [("claim", "not asked for at level 1"), ("customer_feedback", "not asked for at level 1")]


def complete(desk: Desk, case: int, after_s: float) -> None:
    for item, _ in actions.checklist(desk.connection, case):
        actions.tick(desk.connection, by(case, after_s), item.item)


def test_resolving_needs_what_the_plan_asks_for(desk: Desk) -> None:
    case = open_case(desk.connection, level=3)
    desk.tick(0)
    actions.tick(desk.connection, by(case, 5), "persons", "driver answers, nobody hurt")
    with pytest.raises(RefusedError) as refused:
        actions.resolve(desk.connection, by(case, 6), "towed")
    assert refused.value.refusal.missing[0] == "emergency_call"
    assert refused.value.refusal.missing[-1] == "cause"
    assert "persons" not in refused.value.refusal.missing
    assert str(refused.value).startswith("It cannot be resolved yet, missing: items emergency_call, ")
    with pytest.raises(RefusedError, match="There is no item 'coffee'"):
        actions.tick(desk.connection, by(case, 6), "coffee")
    complete(desk, case, 7)
    with pytest.raises(RefusedError, match="missing: the cause"):
        actions.resolve(desk.connection, by(case, 8), "towed")
    actions.untick(desk.connection, by(case, 8), "photos", "wrong vehicle")
    with pytest.raises(RefusedError, match="missing: the item photos of the checklist"):
        actions.resolve(desk.connection, by(case, 8), "towed", "aquaplaning")
    actions.tick(desk.connection, by(case, 9), "photos")
    desk.send(9)
    actions.resolve(desk.connection, by(case, 9), "towed", "aquaplaning")
    desk.connection.commit()
    assert desk.rows("SELECT status, closed_by, close_reason, cause FROM incidents") == [
        ("resolved", "wang", "towed", "aquaplaning")
    ]
    desk.tick(10)
    told = set(desk.rows("SELECT person_id FROM outbox WHERE purpose = 'resolved'"))
    assert told == set(desk.rows("SELECT person_id FROM outbox WHERE state = 'sent'")) != set()
    assert calls(desk, case)[-1][1:] == (1, 0, "notified"), "nobody was called any more"


def test_dismissing_stops_waives_and_teaches(desk: Desk) -> None:
    case = open_case(desk.connection)
    desk.tick(0)
    with pytest.raises(RefusedError, match="A false alarm needs its reason"):
        actions.dismiss(desk.connection, by(case, 5), "")
    actions.dismiss(desk.connection, by(case, 5), "device fell from the windscreen")
    desk.connection.commit()
    desk.tick(1000)
    assert desk.rows("SELECT DISTINCT waived_because FROM obligations") == ["the incident was a false alarm"]
    assert desk.rows("SELECT DISTINCT state FROM outbox") == ["withdrawn"]
    assert len(calls(desk, case)) == 1
    with pytest.raises(RefusedError, match="dismissed cannot be acknowledged"):
        actions.acknowledge(desk.connection, by(case, 6))


def test_reopening_begins_again(desk: Desk) -> None:
    case = open_case(desk.connection, level=1)
    desk.tick(0)
    actions.tick(desk.connection, by(case, 4), "check_position")
    actions.resolve(desk.connection, by(case, 5), "nothing there")
    with pytest.raises(RefusedError, match="why it is taken up again"):
        actions.reopen(desk.connection, by(case, 6), "")
    actions.reopen(desk.connection, by(case, 6), "customer reports damage")
    desk.connection.commit()
    desk.tick(7)
    assert calls(desk, case) == [(1, 0, 0, "notified"), (2, 0, 0, "notified")]
    assert desk.rows("SELECT status, closed_at, close_reason FROM incidents") == [("open", None, None)]
    assert ("reopened", "wang", "customer reports damage") in desk.timeline(case)


def test_assigning_and_commenting_leave_the_plan_alone(desk: Desk) -> None:
    case = open_case(desk.connection)
    desk.tick(0)
    first = actions.assign(desk.connection, by(case, 1), "zhao")
    second = actions.comment(desk.connection, by(case, 2, revision=first), "customer is calm")
    assert second == first + 1
    with pytest.raises(RefusedError, match="A comment needs a text"):
        actions.comment(desk.connection, by(case, 2), "")
    desk.connection.commit()
    assert _newest(desk, case).running
    assert desk.rows("SELECT assigned_to, status, followed_revision = revision FROM incidents") == [
        ("zhao", "open", True)
    ]
    assert ("commented", "wang", "customer is calm") in desk.timeline(case)


def test_who_was_slower_is_told(desk: Desk) -> None:
    case = open_case(desk.connection)
    desk.tick(0)
    seen = desk.rows("SELECT revision FROM incidents")[0]
    actions.assign(desk.connection, by(case, 1, seen), "zhao")
    with pytest.raises(StaleRevisionError) as stale:
        actions.acknowledge(desk.connection, by(case, 2, seen))
    assert stale.value.current == seen + 1
    with pytest.raises(NoSuchIncidentError):
        actions.acknowledge(desk.connection, by(999, 2))


def test_an_incident_acknowledged_before_the_worker_saw_it_calls_nobody(desk: Desk) -> None:
    case = open_case(desk.connection)
    actions.acknowledge(desk.connection, by(case, 1))
    desk.connection.commit()
    with pytest.raises(RefusedError, match="is the incidents worker running"):
        actions.resolve(desk.connection, by(case, 1), "done", "cause")
    desk.connection.rollback()
    desk.tick(2)
    assert calls(desk, case) == []
    assert "escalation_not_needed" in desk.kinds(case)
    assert desk.rows("SELECT kind FROM obligations ORDER BY kind") == ["claim", "customer_feedback"]


def test_an_action_waits_for_the_worker_and_sees_what_it_did(desk: Desk, database_url: str) -> None:
    case = open_case(desk.connection)
    desk.connection.commit()
    with Elsewhere(database_url) as other:
        assert rounds.work_on(desk.connection, case, OPENED, POLICY)
        waiter = other.begin(lambda: actions.acknowledge(other.connection, by(case, 1)))
        blocked = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        while desk.connection.execute(blocked).fetchone() != (1,):
            assert waiter.is_alive()
        desk.connection.commit()
        waiter.join(30)
        other.connection.commit()
    assert not _newest(desk, case).running
    assert desk.rows("SELECT state FROM outbox WHERE purpose = 'call'") == ["withdrawn"]


# -- drills, masses ----------------------------------------------------------------------------------------------------


def test_a_drill_says_so_everywhere(desk: Desk) -> None:
    case = open_case(desk.connection, level=3, drill=True, vehicle_id="drill-1")
    desk.tick(0)
    assert desk.rows("SELECT DISTINCT drill, left(subject, 7) FROM outbox") == [(True, "[DRILL]")]
    bodies = desk.rows("SELECT body FROM outbox")
    assert all(body.startswith("This is a drill.") for body in bodies)
    assert desk.rows("SELECT count(*) FROM obligations") == [0]
    complete(desk, case, 1)
    actions.resolve(desk.connection, by(case, 2), "drilled", "drill")
    desk.connection.commit()
    assert desk.rows("SELECT count(*) FROM obligations") == [0]


def test_one_call_for_a_hailstorm(desk: Desk) -> None:
    mass = open_case(desk.connection, family="place", kind="parked_impact", level=2)
    members = [
        open_case(desk.connection, vehicle_id=f"m{number}", kind="parked_impact", mass_incident_id=mass)
        for number in range(3)
    ]
    graver = open_case(desk.connection, vehicle_id="m9", level=3, mass_incident_id=mass)
    desk.tick(0)
    called = desk.rows("SELECT DISTINCT incident_id FROM outbox WHERE purpose = 'call' ORDER BY incident_id")
    assert called == [mass, graver]
    assert "escalation_not_needed" in desk.kinds(members[0])
    actions.dismiss(desk.connection, by(mass, 5), "no hail there")
    desk.connection.commit()
    desk.tick(6)
    assert [len(calls(desk, member)) for member in members] == [1, 1, 1]


def test_a_depot_is_called_at_its_own_people(desk: Desk) -> None:
    desk.connection.execute("UPDATE vehicles SET depot = 'hu' WHERE vehicle_id = 'v1'")
    desk.staffed(Person("local", "Local", ("dispatcher",), (push("local"),), depot="hu", language="zh-CN"))
    open_case(desk.connection)
    desk.tick(0)
    assert desk.rows("SELECT person_id, subject FROM outbox WHERE purpose = 'call'") == [
        ("local", "【紧急】碰撞 · 沪A12345 (v1)")
    ]


def test_nothing_is_late_that_was_followed(desk: Desk) -> None:
    case = open_case(desk.connection)
    desk.tick(0)
    steps = rounds.steps_of(desk.connection, case)
    assert min(step.due_at for step in steps if step.done_at is None) == OPENED + timedelta(seconds=90)

"""Outbox, obligations, countermeasures, lessons and the watchdog on a real database."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_core import db
from incidents.response import actions, countermeasures, lessons, obligations, outbox, people, policy_file, watchdog
from incidents.response.actions import By
from incidents.response.countermeasures import Plan
from incidents.response.lifecycle import RefusedError
from incidents.response.outbox import Attempt
from incidents.response.people import ChannelError
from incidents.response.rota import Channel, HoleKind, Person, Shift
from incidents.response.watchdog import Beat, Undone
from tests.response_cases import OPENED, SECOND, Desk, Elsewhere, open_case, push, regrade

POLICY = policy_file.load()
HOUR = timedelta(hours=1)


@pytest.fixture
def desk(database_url: str) -> Iterator[Desk]:
    with db.connect(database_url, "test") as connection:
        connection.execute("INSERT INTO vehicles (vehicle_id) VALUES ('v1'), ('v2')")
        yield Desk(connection, POLICY).staffed()


def by(incident_id: int, after_s: float) -> By:
    return By(incident_id, "wang", OPENED + after_s * SECOND)


# -- outbox ------------------------------------------------------------------------------------------------------------


def test_a_notice_is_claimed_by_one_worker(desk: Desk, database_url: str) -> None:
    open_case(desk.connection)
    desk.tick(0)
    with Elsewhere(database_url) as other:
        mine = outbox.claim(desk.connection, OPENED, 10)
        assert outbox.claim(other.connection, OPENED, 10) == [], "not even before the first has committed"
        desk.connection.commit()
        assert outbox.claim(other.connection, OPENED + 60 * SECOND, 10) == []
        later = OPENED + outbox.LEASE
        again = outbox.claim(other.connection, later, 10)
        other.connection.commit()
        assert [item.notice.idempotency_key for item in again] == [item.notice.idempotency_key for item in mine]
        assert {item.attempts for item in again} == {2}
        # The first comes back: it has lost its lease and settles nothing.
        outbox.settle(desk.connection, mine[0], Attempt("answered 500", hopeless=True), later, 0.5)
        desk.connection.commit()
        assert set(desk.rows("SELECT state FROM outbox")) == {"sending"}
        for item in again:
            outbox.settle(other.connection, item, Attempt(), later, 0.5)
        other.connection.commit()
    assert set(desk.rows("SELECT state FROM outbox")) == {"sent"}


def test_the_gravest_goes_first_and_a_target_is_asked_one_at_a_time(desk: Desk) -> None:
    light = open_case(desk.connection, level=1)
    grave = open_case(desk.connection, level=3, vehicle_id="v2")
    desk.tick(0)
    first = outbox.claim(desk.connection, OPENED, 100)
    targets = [item.notice.target for item in first]
    assert len(targets) == len(set(targets))
    to_dispatcher = [item for item in first if item.notice.person_id == "dispatcher"]
    assert [item.notice.incident_id for item in to_dispatcher] == [grave]
    assert not {item.notice.target for item in outbox.claim(desk.connection, OPENED, 100)} & set(targets), "still busy"
    for item in first:
        outbox.settle(desk.connection, item, Attempt(), OPENED, 0.5)
    assert [item.notice.incident_id for item in outbox.claim(desk.connection, OPENED, 100)
            if item.notice.person_id == "dispatcher"] == [light]  # fmt: skip


def test_what_fails_waits_longer_each_time_and_keeps_its_key(desk: Desk) -> None:
    open_case(desk.connection, level=1)
    desk.tick(0)
    second, keys, waits = 0.0, [], []
    for _ in range(9):
        (item,) = desk.send(second, Attempt("answered 500: busy"))
        keys.append(item.notice.idempotency_key)
        assert desk.send(second + 0.9 * outbox.wait_s(item.attempts, 1.0)) == [], "not before its time"
        waits.append(outbox.wait_s(item.attempts, 1.0))
        second += waits[-1]
    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert len(set(keys)) == 1
    assert desk.rows("SELECT state, attempts, last_error FROM outbox") == [("queued", 9, "answered 500: busy")]
    (item,) = desk.send(second)
    assert desk.rows("SELECT state, attempts, last_error FROM outbox") == [("sent", 10, None)]


@given(st.integers(1, 100_000), st.floats(0, 1))
def test_waits_are_bounded_and_spread(attempts: int, jitter: float) -> None:
    assert outbox.FIRST_WAIT_S / 2 <= outbox.wait_s(attempts, jitter) <= outbox.LONGEST_WAIT_S


def test_a_day_of_failures_is_the_end_and_is_told(desk: Desk) -> None:
    case = open_case(desk.connection, level=1)
    desk.tick(0)
    desk.send(86_399, Attempt("down"))
    assert desk.rows("SELECT state FROM outbox") == ["queued"]
    desk.send(86_399 + 600, Attempt("down"))
    assert desk.rows("SELECT state FROM outbox") == ["failed"]
    assert ("notice_failed", "machine:outbox v1", "dispatcher could not be told by apprise: down") in desk.timeline(
        case
    )
    assert desk.send(200_000) == []


def test_when_nobody_of_a_step_can_be_told_the_next_does_not_wait(desk: Desk) -> None:
    case = open_case(desk.connection, level=1)
    desk.tick(0)
    desk.send(0, Attempt("down"))
    desk.send(2, Attempt("down"))
    assert "notice_troubled" not in desk.kinds(case)
    desk.send(6, Attempt("down"))
    assert desk.kinds(case)[-2:] == ["notice_troubled", "step_brought_forward"]
    desk.tick(7)
    assert desk.rows("SELECT person_id FROM outbox ORDER BY outbox_id") == ["dispatcher", "supervisor"]
    desk.send(14, Attempt("down"))
    assert desk.kinds(case).count("notice_troubled") == 1, "said once"


def test_as_long_as_somebody_of_the_step_was_told_the_next_waits(desk: Desk) -> None:
    both = Person("dispatcher2", "D", ("dispatcher",), (push("d2"), Channel("apprise", "ntfy://push.example/d2b")))
    night = Shift(0, "dispatcher", "dispatcher2", OPENED - HOUR, OPENED + 8 * HOUR)
    desk.staffed(both)
    people.insert_shift(desk.connection, night, "wang", OPENED)
    case = open_case(desk.connection, level=1)
    desk.tick(0)
    one, other = outbox.claim(desk.connection, OPENED, 10)
    outbox.settle(desk.connection, one, Attempt(), OPENED, 0.5)
    outbox.settle(desk.connection, other, Attempt("apprise knows no such service", hopeless=True), OPENED, 0.5)
    desk.connection.commit()
    assert "notice_failed" in desk.kinds(case)
    assert "step_brought_forward" not in desk.kinds(case)


def test_a_channel_that_was_taken_away_is_not_used(desk: Desk) -> None:
    case = open_case(desk.connection, level=1)
    desk.tick(0)
    kept = next(kept for kept in people.people(desk.connection) if kept.person.person_id == "dispatcher")
    assert people.update_person(desk.connection, replace(kept.person, channels=(push("new"),)), kept.revision) == 2
    assert people.update_person(desk.connection, kept.person, kept.revision) is None, "somebody was faster"
    desk.connection.commit()
    (item,) = outbox.claim(desk.connection, OPENED, 10)
    assert item.secret is None
    outbox.settle(desk.connection, item, Attempt("the person has no such channel any more", hopeless=True), OPENED, 0.5)
    desk.connection.commit()
    assert desk.rows("SELECT state FROM outbox") == ["withdrawn"]
    assert "step_brought_forward" in desk.kinds(case)


def test_a_web_hook_is_signed_with_the_secret_it_has_now(desk: Desk) -> None:
    hook = Channel("webhook", "https://hooks.example/x", "first-secret-0001")
    desk.staffed(Person("a", "A", ("dispatcher",), (hook,)))
    case = open_case(desk.connection, level=1)
    desk.tick(0)
    changed = Person("a", "A", ("dispatcher",), (replace(hook, secret="second-secret-002"),))
    assert people.update_person(desk.connection, changed, 1) == 2
    (item,) = outbox.claim(desk.connection, OPENED, 10)
    assert (item.notice.incident_id, item.secret) == (case, "second-secret-002")


def test_the_same_notice_is_queued_once(desk: Desk) -> None:
    open_case(desk.connection, level=1)
    desk.tick(0)
    (item,) = outbox.claim(desk.connection, OPENED, 10)
    outbox.queue(desk.connection, [item.notice, replace(item.notice, body="other words")], OPENED)
    desk.connection.commit()
    assert desk.rows("SELECT count(*) FROM outbox") == [1]
    (notice,) = outbox.notices_of(desk.connection, item.notice.incident_id or 0)
    assert (notice.state, notice.attempts, notice.person_id) == ("sending", 1, "dispatcher")


# -- people ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channels", "sentence"),
    [
        ([{"kind": "sms", "url": "tel://1"}], "channel 1 is of kind 'sms', expected apprise or webhook"),
        ([{"kind": "webhook", "url": "https://h/x"}], "channel 1 is a web hook and needs a secret"),
        ([{"kind": "apprise", "url": "nowhere"}], "channel 1 has no usable url"),
        ([{"kind": "apprise", "url": "ntfy://a\nb"}], "channel 1 has no usable url"),
        ([{"kind": "apprise", "url": "ntfy://a", "x": 1}], "channel 1 must have kind, url"),
        ([{"kind": "apprise", "url": "ntfy://a"}] * 11, "at most 10 channels, not 11"),
    ],
)
def test_a_channel_that_cannot_work_is_refused(channels: list[object], sentence: str) -> None:
    with pytest.raises(ChannelError, match=sentence):
        people.channels_of(channels)


def test_shifts_and_holes_come_from_the_rows(desk: Desk) -> None:
    night = Shift(0, "dispatcher", "supervisor", OPENED, OPENED + 8 * HOUR)
    number = people.insert_shift(desk.connection, night, "wang", OPENED)
    assert people.rota_at(desk.connection, OPENED).reach("dispatcher", None, OPENED).people[0].person_id == "supervisor"
    with pytest.raises(psycopg.errors.ForeignKeyViolation), desk.connection.transaction():
        people.insert_shift(desk.connection, replace(night, person_id="nemo"), "wang", OPENED)
    with pytest.raises(psycopg.errors.CheckViolation), desk.connection.transaction():
        people.insert_shift(desk.connection, replace(night, ends_at=OPENED), "wang", OPENED)
    found = people.holes(desk.connection, POLICY, OPENED, 7)
    assert [(hole.kind, hole.role) for hole in found] == [(HoleKind.UNPLANNED, "dispatcher")]
    assert people.delete_shift(desk.connection, number)
    assert not people.delete_shift(desk.connection, number)
    assert people.holes(desk.connection, POLICY, OPENED, 7) == []
    gone = next(kept.person for kept in people.people(desk.connection) if kept.person.person_id == "legal")
    people.update_person(desk.connection, replace(gone, active=False), 1)
    assert [(hole.kind, hole.role) for hole in people.holes(desk.connection, POLICY, OPENED, 7)] == [
        (HoleKind.NOBODY, "legal")
    ]


# -- obligations -------------------------------------------------------------------------------------------------------


def due(desk: Desk) -> dict[str, float]:
    """Open obligations and the hours from the opening until they are due."""
    found = {item.kind: (item.due_at - OPENED) / HOUR for item in obligations.obligations(desk.connection)}
    desk.connection.rollback()
    return found


def test_an_injury_brings_the_report_to_the_authority_at_any_level(desk: Desk) -> None:
    case = open_case(desk.connection, level=1, occurred_at=OPENED - 2 * HOUR)
    desk.tick(0)
    assert due(desk) == {}
    actions.state_injury(desk.connection, by(case, 5), True, "driver has neck pain")
    desk.connection.commit()
    assert due(desk) == {"authority_report": 22.0}
    actions.state_injury(desk.connection, by(case, 9), False, "ambulance found nothing")
    desk.connection.commit()
    assert due(desk) == {}
    regrade(desk.connection, case, 3)
    desk.tick(10)
    assert due(desk) == {"authority_report": 22.0, "claim": 46.0, "customer_feedback": 24.0}
    assert desk.kinds(case).count("obligation_begun") == 4


def test_a_report_of_injury_counts_as_well(desk: Desk) -> None:
    case = open_case(desk.connection, level=1)
    desk.connection.execute(
        "INSERT INTO reports (vehicle_id, reported_at, occurred_at, kind, injured, told, taken_by, incident_id)"
        " VALUES ('v1', now(), now(), 'accident', true, 'help', 'li', %s)",
        [case],
    )
    desk.tick(0)
    assert set(due(desk)) == {"authority_report"}


def remind(desk: Desk, after_s: float) -> int:
    now = OPENED + after_s * SECOND
    done = [
        obligations.remind(desk.connection, obligation_id, incident_id, now)
        for obligation_id, incident_id in obligations.reminders_due(desk.connection, now, 100)
    ]
    desk.connection.commit()
    return sum(done)


def test_an_obligation_is_called_to_mind_before_and_after_it_is_due(desk: Desk) -> None:
    case = open_case(desk.connection, level=3, occurred_at=OPENED)
    desk.tick(0)
    actions.acknowledge(desk.connection, by(case, 1))
    desk.connection.commit()
    reminded = [hour for hour in range(24 * 20) if remind(desk, hour * 3600)]
    to_legal = desk.rows(
        "SELECT subject FROM outbox WHERE purpose = 'obligation' AND person_id = 'legal' ORDER BY outbox_id"
    )
    assert to_legal[:4] == [
        "Due in 12 h: Report to the authority, v1",
        "Due in 4 h: Report to the authority, v1",
        "Due in 60 min: Report to the authority, v1",
        "OVERDUE since 1 min: Report to the authority, v1",
    ]
    assert to_legal[4] == "OVERDUE since 24 h: Report to the authority, v1"
    assert len(to_legal) == 3 + 1 + 14, "not for ever"
    assert reminded[:5] == [12, 20, 23, 24, 44]
    assert len(set(desk.rows("SELECT idempotency_key FROM outbox"))) == desk.rows("SELECT count(*) FROM outbox")[0]


def test_what_is_done_is_not_called_to_mind(desk: Desk) -> None:
    case = open_case(desk.connection, level=2, occurred_at=OPENED)
    desk.tick(0)
    for item in obligations.obligations(desk.connection, case):
        assert obligations.finish_obligation(desk.connection, item.obligation_id, "li", OPENED + HOUR, "by telephone")
        assert not obligations.finish_obligation(desk.connection, item.obligation_id, "li", OPENED + HOUR)
    assert not obligations.finish_obligation(desk.connection, 999, "li", OPENED)
    desk.connection.commit()
    assert remind(desk, 3 * 86_400) == 0
    assert due(desk) == {}
    assert ("obligation_done", "li", "by telephone") in desk.timeline(case)
    actions.comment(desk.connection, by(case, 9), "x")
    desk.connection.commit()
    assert due(desk) == {}, "what was done is not asked for again"


def test_what_is_overdue_when_it_is_first_known_is_said_at_once(desk: Desk) -> None:
    open_case(desk.connection, level=3, occurred_at=OPENED - 30 * HOUR)
    desk.tick(0)
    assert remind(desk, 0) == 1
    assert desk.rows("SELECT subject FROM outbox WHERE purpose = 'obligation'") == [
        "OVERDUE since 6 h: Report to the authority, v1"
    ]
    assert remind(desk, 1) == 0


def test_a_reminder_that_reaches_nobody_says_so(database_url: str) -> None:
    with db.connect(database_url, "test") as connection:
        desk = Desk(connection, POLICY)
        case = open_case(connection, level=3, occurred_at=OPENED - 30 * HOUR)
        desk.tick(0)
        remind(desk, 0)
        reasons = [reason for kind, _, reason in desk.timeline(case) if kind == "obligation_overdue"]
        assert reasons[0] is not None
        assert reasons[0].endswith("nobody reachable for legal, nor for anybody who stands in for it")


@given(
    st.lists(st.integers(1, 10**6), max_size=4).map(lambda found: tuple(sorted(set(found), reverse=True))),
    st.integers(-(10**6), 3 * 10**6),
)
def test_reminders_go_forward_and_end(before_s: tuple[int, ...], after_s: int) -> None:
    at: datetime | None = OPENED + after_s * SECOND
    seen = []
    while at is not None:
        seen.append(at)
        at = obligations.next_reminder(OPENED, before_s, at)
    assert seen == sorted(set(seen))
    assert len(seen) <= len(before_s) + 16


# -- the closed loop ---------------------------------------------------------------------------------------------------


def resolved(desk: Desk, after_s: float = 10, **columns: object) -> int:
    case = open_case(desk.connection, OPENED + (after_s - 10) * SECOND, **{"level": 2, **columns})
    desk.tick(after_s)
    for item, _ in actions.checklist(desk.connection, case):
        actions.tick(desk.connection, by(case, after_s), item.item)
    actions.resolve(desk.connection, by(case, after_s), "repaired", "worn tyre")
    desk.connection.commit()
    return case


PLAN = Plan("worn tyre", "tyres are checked at each return", "workshop", date(2026, 3, 8), date(2026, 4, 8))


def test_after_an_urgent_incident_the_loop_is_closed(desk: Desk) -> None:
    case = resolved(desk)
    assert {"countermeasure"} <= set(due(desk))
    number = countermeasures.add_countermeasure(desk.connection, case, PLAN, "wang", OPENED + HOUR)
    desk.connection.commit()
    assert "countermeasure" not in due(desk)
    check_by = datetime(2026, 4, 9, tzinfo=UTC)
    assert due(desk)["effectiveness_check"] == (check_by - OPENED) / HOUR
    with pytest.raises(RefusedError, match="was not carried out yet"):
        countermeasures.check_countermeasure(desk.connection, number, True, "wang", OPENED + HOUR)
    countermeasures.finish_countermeasure(desk.connection, number, "workshop", OPENED + 2 * HOUR)
    with pytest.raises(RefusedError, match="carried out before"):
        countermeasures.finish_countermeasure(desk.connection, number, "workshop", OPENED + 3 * HOUR)
    countermeasures.check_countermeasure(desk.connection, number, True, "wang", OPENED + 4 * HOUR, note="none since")
    desk.connection.commit()
    assert not {"countermeasure", "effectiveness_check"} & set(due(desk))
    (kept,) = countermeasures.countermeasures(desk.connection, case)
    assert (kept.worked, kept.checked_by, kept.owner, kept.note) == (True, "wang", "workshop", "none since")
    assert desk.kinds(case)[-3:] == ["countermeasure_planned", "countermeasure_done", "countermeasure_worked"]


def test_a_countermeasure_that_failed_asks_for_another(desk: Desk) -> None:
    case = resolved(desk)
    number = countermeasures.add_countermeasure(desk.connection, case, PLAN, "wang", OPENED + HOUR)
    countermeasures.finish_countermeasure(desk.connection, number, "workshop", OPENED + HOUR)
    countermeasures.check_countermeasure(desk.connection, number, False, "wang", OPENED + HOUR, note="again")
    desk.connection.commit()
    assert "countermeasure" in due(desk)
    countermeasures.add_countermeasure(desk.connection, case, PLAN, "wang", OPENED + 2 * HOUR)
    desk.connection.commit()
    assert "countermeasure" not in due(desk)


def test_a_countermeasure_that_makes_no_sense_is_refused(desk: Desk) -> None:
    case = resolved(desk)
    for plan, sentence in (
        (replace(PLAN, owner=" "), "needs its owner"),
        (replace(PLAN, check_on=date(2026, 3, 7)), "cannot be checked before it is due"),
    ):
        with pytest.raises(RefusedError, match=sentence):
            countermeasures.add_countermeasure(desk.connection, case, plan, "wang", OPENED)
    with pytest.raises(RefusedError, match="no incident 999"):
        countermeasures.add_countermeasure(desk.connection, 999, PLAN, "wang", OPENED)
    with pytest.raises(RefusedError, match="no countermeasure 999"):
        countermeasures.finish_countermeasure(desk.connection, 999, "wang", OPENED)
    (loop,) = [item for item in obligations.obligations(desk.connection, case) if item.kind == "countermeasure"]
    with pytest.raises(RefusedError, match="Enter the countermeasure"):
        obligations.finish_obligation(desk.connection, loop.obligation_id, "wang", OPENED)


def test_at_level_one_no_loop_is_asked_for_and_reopening_waives_it(desk: Desk) -> None:
    resolved(desk, level=1)
    assert due(desk) == {}
    case = resolved(desk, vehicle_id="v2")
    actions.reopen(desk.connection, by(case, 20), "customer disagrees")
    desk.connection.commit()
    assert "countermeasure" not in due(desk)
    actions.resolve(desk.connection, by(case, 30), "agreed", "worn tyre")
    desk.connection.commit()
    assert "countermeasure" in due(desk)


def test_what_happened_again_is_shown(desk: Desk) -> None:
    case = resolved(desk)
    number = countermeasures.add_countermeasure(desk.connection, case, PLAN, "wang", OPENED + HOUR)
    done_at = OPENED + 2 * HOUR
    open_case(desk.connection, OPENED + HOUR)  # before it was carried out
    countermeasures.finish_countermeasure(desk.connection, number, "workshop", done_at)
    later = done_at + 24 * HOUR
    far = {"lat_deg": 30.0, "lon_deg": 120.0}
    same_car = open_case(desk.connection, later, **far)
    same_place = open_case(desk.connection, later + HOUR, vehicle_id="v2", lat_deg=31.2310, lon_deg=121.4705)
    open_case(desk.connection, later + HOUR, vehicle_id="v3", lat_deg=31.2330)  # 330 m away
    open_case(desk.connection, later + HOUR, vehicle_id="v4", kind="rollover")
    unplaced = open_case(desk.connection, later + 2 * HOUR, lat_deg=None, lon_deg=None)
    found = lessons.recurrences(desk.connection, number)
    assert [(item.incident_id, item.same_vehicle, item.same_place) for item in found] == [
        (same_car, True, False), (same_place, False, True), (unplaced, True, False),
    ]  # fmt: skip
    assert found[1].metres == pytest.approx(121, abs=2)
    assert found[2].metres is None


def test_false_alarms_are_counted_by_detector_version_and_device(desk: Desk) -> None:
    desk.connection.execute("INSERT INTO devices (device_id, vehicle_id) VALUES ('d1', 'v1'), ('d2', 'v2')")

    def detected(vehicle_id: str, version: int, dismissed: bool, drill: bool = False) -> None:
        at = OPENED + detected.count * HOUR  # type: ignore[attr-defined]
        detected.count += 1  # type: ignore[attr-defined]
        case = open_case(desk.connection, at, vehicle_id=vehicle_id, level=1, drill=drill)
        desk.connection.execute(
            "INSERT INTO detections (vehicle_id, kind, detector, version, level, score, started_at, occurred_at,"
            " ended_at, measured, reasons, first_judged_at, delay_s, judged_at, stale, incident_id)"
            " VALUES (%s, 'crash', 'crash', %s, 1, 0.5, %s, %s, %s, '{}', '[]', %s, 0, %s, false, %s)",
            [vehicle_id, version, at, at, at, at, at, case],
        )
        desk.connection.execute(
            "UPDATE incidents SET status = %s, closed_at = now(), close_reason = 'x' WHERE incident_id = %s",
            ["dismissed" if dismissed else "resolved", case],
        )

    detected.count = 0  # type: ignore[attr-defined]
    for vehicle_id, version, dismissed in (
        ("v1", 1, True), ("v1", 1, True), ("v1", 1, False), ("v2", 1, False), ("v2", 2, False),
    ):  # fmt: skip
        detected(vehicle_id, version, dismissed)
    detected("v1", 1, True, drill=True)
    found = lessons.false_alarms(desk.connection, OPENED - HOUR, OPENED + 100 * HOUR)
    assert [(item.version, item.device_id, item.false, item.closed) for item in found] == [
        (1, None, 2, 4), (1, "d1", 2, 3), (1, "d2", 0, 1), (2, None, 0, 1), (2, "d2", 0, 1),
    ]  # fmt: skip
    assert found[0].rate == 0.5


# -- the watchdog ------------------------------------------------------------------------------------------------------


def codes(desk: Desk, after_s: float) -> list[str]:
    found = [trouble.code for trouble in watchdog.check(desk.connection, OPENED + after_s * SECOND)]
    desk.connection.rollback()
    return found


def test_the_watchdog_sees_what_is_left_undone(desk: Desk) -> None:
    assert codes(desk, 0) == ["never_ran"]
    watchdog.beat(desk.connection, "escalation", 1.0, OPENED, {"pid": 1})
    desk.connection.commit()
    assert codes(desk, 30) == []
    assert codes(desk, 34) == ["job_late"]
    open_case(desk.connection, level=1)
    desk.connection.commit()
    watchdog.beat(desk.connection, "escalation", 1.0, OPENED + 60 * SECOND, {"pid": 2})
    desk.connection.commit()
    assert codes(desk, 61) == ["no_plan"]
    desk.tick(61)
    assert codes(desk, 62) == []
    assert codes(desk, 92) == ["notice_late"]
    desk.send(92)
    watchdog.beat(desk.connection, "escalation", 1.0, OPENED + 700 * SECOND, {})
    desk.connection.commit()
    assert codes(desk, 700) == ["step_late"]
    desk.tick(700)
    desk.send(700)
    assert codes(desk, 701) == []


def test_the_watchdog_speaks_in_sentences() -> None:
    troubles = watchdog.judge(
        [Beat("escalation", OPENED, 1.0, {}), Beat("rota", OPENED, 3600.0, {})],
        Undone(OPENED, None, 0, 2, 1),
        OPENED + 2 * HOUR,
    )
    assert [trouble.sentence for trouble in troubles] == [
        "The job escalation of the incidents worker last ran 2.0 h ago; it should every 1 s.",
        "A step of escalation has been due for 2.0 h and is not done.",
        "2 notices of the last two days could not be sent and were given up.",
        "1 calls of the last day found nobody who could be reached.",
    ]

"""Escalation by a clock of our own: what is due, what follows, and that no interruption skips or doubles a step."""

import itertools
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incidents.response import escalation, policy_file
from incidents.response.escalation import CALL, DEADLINE, Done, Due, Move, Round, Scene, Standing
from incidents.response.policy import IncidentPolicy, LevelPlan, Role, Step
from incidents.response.rota import Channel, Person, Rota

OPENED = datetime(2026, 3, 1, 3, tzinfo=UTC)
SECOND = timedelta(seconds=1)
PHONE = (Channel("apprise", "ntfy://push.example/x"),)
LI = Person("li", "Li", ("dispatcher",), PHONE)
WANG = Person("wang", "Wang", ("supervisor",), PHONE)
CHEN = Person("chen", "Chen", ("management",), PHONE)
ROTA = Rota((LI, WANG, CHEN))
INCIDENT = Standing(7, "crash", 2, "open", OPENED)


def policy_of(*steps: Step, **inform: tuple[str, ...]) -> IncidentPolicy:
    """A policy whose three levels share one plan."""
    name = {"en": "x", "zh-CN": "x"}
    roles = (
        Role("dispatcher", name, ("supervisor", "management")),
        Role("supervisor", name, ("management",)),
        Role("management", name),
    )
    one, two, three = (LevelPlan(level, name, steps, inform) for level in (1, 2, 3))
    return IncidentPolicy("1+x", "UTC", roles, (one, two, three), ())


@dataclass
class Desk:
    """The store, as far as escalation goes: rows that are done in one piece or not at all."""

    policy: IncidentPolicy
    rota: Rota = ROTA
    incident: Standing = INCIDENT
    rounds: list[Round] = field(default_factory=list)
    to_come: dict[tuple[int, str, int, int], Due] = field(default_factory=dict)
    done: dict[tuple[int, str, int, int], tuple[datetime, Done]] = field(default_factory=dict)
    stopped: list[tuple[int, str, int, int]] = field(default_factory=list)

    def follow(self, now: datetime) -> Move:
        newest = self.rounds[-1] if self.rounds else None
        move = escalation.move(self.incident, newest)
        if move.stop is not None:
            assert newest is not None
            self.rounds[-1] = replace(newest, running=False)
            self.stopped += self.to_come
            self.to_come.clear()
        if move.reopen:
            self.incident = replace(self.incident, status="open")
        if move.start is not None:
            number = len(self.rounds) + 1
            self.rounds.append(Round(number, self.incident.kind, self.incident.level, move.running))
            plan = self.policy.plan(self.incident.kind, self.incident.level)
            self.write(number, escalation.beginning(plan, move.start, now, move.running))
        if move.tell is not None:
            self.write(len(self.rounds), escalation.told(self.plan(len(self.rounds)), move.tell, now))
        return move

    def plan(self, number: int) -> LevelPlan:
        return self.policy.plan(self.rounds[number - 1].kind, self.rounds[number - 1].level)

    def write(self, number: int, rows: list[Due] | tuple[Due, ...]) -> None:
        for row in rows:
            key = (number, row.purpose, row.step, row.repeat)
            if key not in self.done:
                self.to_come.setdefault(key, row)

    def tick(self, now: datetime, dies_at: int | None = None) -> None:
        """Do what is due, a transaction a step; die before the commit of the one numbered `dies_at`."""
        self.follow(now)
        due = sorted(
            (item for item in self.to_come.items() if item[1].due_at <= now), key=lambda item: (item[1].due_at, item[0])
        )
        for number, (key, row) in enumerate(due):
            called = [call.person.person_id for _, done in self.done.values() for call in done.calls]
            done = escalation.carry_out(
                row, Scene(self.incident, self.plan(key[0]), self.policy, self.rota, called, now)
            )
            if number == dies_at:
                return
            assert key not in self.done, "a step is done once"
            self.done[key] = (now, done)
            del self.to_come[key]
            self.write(key[0], done.follows)

    def calls(self, number: int = 1) -> dict[tuple[int, int], float]:
        """(step, repeat) to seconds after the opening."""
        return {
            (step, repeat): (at - OPENED).total_seconds()
            for (of_round, purpose, step, repeat), (at, _) in self.done.items()
            if purpose == CALL and of_round == number
        }


PLAN = policy_of(
    Step("dispatcher", 0, 60, 30, 3), Step("supervisor", 60, 120, 60, 2), Step("management", 180, 300, 0, 0)
)


def run(desk: Desk, seconds: int, begin: int = 0) -> Desk:
    for second in range(begin, begin + seconds + 1):
        desk.tick(OPENED + second * SECOND)
    return desk


def test_a_plan_that_nobody_answers_runs_to_its_end() -> None:
    desk = run(Desk(PLAN), 900)
    assert desk.calls() == {
        (0, 0): 0, (0, 1): 30, (0, 2): 60, (0, 3): 90, (1, 0): 60, (1, 1): 120, (1, 2): 180, (2, 0): 180,
    }  # fmt: skip
    missed = {key[2]: (at - OPENED).total_seconds() for key, (at, _) in desk.done.items() if key[1] == DEADLINE}
    assert missed == {0: 60, 1: 180, 2: 480}
    assert not desk.to_come


def test_an_acknowledgement_stops_everything_that_calls() -> None:
    desk = run(Desk(PLAN), 65)
    desk.incident = replace(desk.incident, status="acknowledged", acknowledged_by="wang")
    assert desk.follow(OPENED + 66 * SECOND).stop == "acknowledged by wang"
    before = desk.calls()
    assert run(desk, 900, begin=67).calls() == before


@pytest.mark.parametrize("status", ["open", "acknowledged"])
def test_a_higher_level_starts_its_plan_even_when_the_lower_was_acknowledged(status: str) -> None:
    desk = run(Desk(PLAN), 5)
    desk.incident = replace(desk.incident, status=status, acknowledged_by="li")
    desk.follow(OPENED + 6 * SECOND)
    desk.incident = replace(desk.incident, level=3)
    move = desk.follow(OPENED + 7 * SECOND)
    assert (move.start, move.running) == ("raised", True)
    assert move.reopen == (status == "acknowledged")
    run(desk, 20, begin=7)
    assert [(one.number, one.level, one.running) for one in desk.rounds] == [(1, 2, False), (2, 3, True)]
    assert desk.calls(2) == {(0, 0): 7}


def test_a_lower_level_stops_the_higher_plan_and_goes_on_with_its_own() -> None:
    desk = run(Desk(PLAN), 65)
    desk.incident = replace(desk.incident, level=1)
    desk.follow(OPENED + 66 * SECOND)
    run(desk, 30, begin=66)
    assert desk.calls(1) == {(0, 0): 0, (0, 1): 30, (0, 2): 60, (1, 0): 60}
    assert desk.calls(2) == {(0, 0): 66, (0, 1): 96}


def test_a_lower_level_of_what_is_acknowledged_calls_nobody() -> None:
    desk = run(Desk(PLAN), 5)
    desk.incident = replace(desk.incident, status="acknowledged", acknowledged_by="li", level=1)
    move = desk.follow(OPENED + 6 * SECOND)
    assert (move.start, move.running, move.because) == ("lowered", False, "acknowledged by li")
    assert run(desk, 900, begin=7).calls(2) == {}


@pytest.mark.parametrize("status", ["resolved", "dismissed"])
def test_closing_stops_and_reopening_starts_anew(status: str) -> None:
    desk = run(Desk(PLAN), 35)
    desk.incident = replace(desk.incident, status=status, closed_by="wang")
    assert desk.follow(OPENED + 36 * SECOND).stop == f"{status} by wang"
    run(desk, 100, begin=36)
    desk.incident = replace(desk.incident, status="open")
    assert desk.follow(OPENED + 200 * SECOND).start == "reopened"
    run(desk, 40, begin=200)
    assert desk.calls(1) == {(0, 0): 0, (0, 1): 30}
    assert desk.calls(2) == {(0, 0): 200, (0, 1): 230}


def test_what_agrees_moves_nothing() -> None:
    for status, running in (("open", True), ("acknowledged", False)):
        incident = replace(INCIDENT, status=status, acknowledged_by="li")
        assert escalation.move(incident, Round(1, "crash", 2, running)) == Move()


def test_an_incident_behind_a_mass_event_calls_nobody_until_it_is_graver() -> None:
    behind = replace(INCIDENT, mass_incident_id=3)
    move = escalation.move(behind, None)
    assert (move.start, move.running) == ("opened", False)
    assert move.because == "people are called for incident 3, which stands for this one"
    quiet = Round(1, "crash", 2, running=False)
    assert escalation.move(behind, replace(quiet, running=True)).stop == move.because
    # Graver than the mass event, or the mass event was none: it stands for itself.
    assert escalation.move(replace(INCIDENT, level=3), quiet).running
    assert escalation.move(INCIDENT, quiet).start == "reopened"


def test_people_who_need_not_acknowledge_are_told() -> None:
    shipped = policy_file.load().for_family("collision")
    people = tuple(Person(role.role, role.role, (role.role,), PHONE) for role in shipped.roles)
    desk = Desk(shipped, Rota(people), replace(INCIDENT, level=3))
    run(desk, 5)
    told = {done.calls[0].person.person_id for key, (_, done) in desk.done.items() if key[1] == "opened"}
    assert told == {"management", "insurance", "legal", "customer_service", "information_feedback"}
    assert all(call.acknowledge_by is None for key, (_, done) in desk.done.items() if key[1] == "opened"
               for call in done.calls)  # fmt: skip
    desk.incident = replace(desk.incident, status="resolved", closed_by="wang")
    run(desk, 1, begin=6)
    ((_, over),) = [item for key, item in desk.done.items() if key[1] == "resolved"]
    assert {call.person.person_id for call in over.calls} == told | {"dispatcher", "command_centre"}


# -- nobody to be reached ----------------------------------------------------------------------------------------------


def test_who_has_no_channel_is_not_skipped_in_silence() -> None:
    """An escalation elsewhere skipped a manager without a channel and woke directors; nothing said why."""
    desk = run(Desk(PLAN, Rota((replace(LI, channels=()), WANG, CHEN))), 5)
    _, done = desk.done[1, CALL, 0, 0]
    assert [call.person.person_id for call in done.calls] == ["wang"]
    assert [line.kind for line in done.lines] == ["nobody_reachable", "called"]
    assert done.lines[0].reason == "nobody reachable for dispatcher: supervisor instead"
    assert done.lines[0].facts["passed_over"] == [["li", "no_channel"]]


def test_when_nobody_can_be_reached_at_all_the_plan_goes_on_asking() -> None:
    desk = Desk(PLAN, Rota(()))
    run(desk, 35)
    _, done = desk.done[1, CALL, 0, 0]
    assert (done.outcome, done.calls) == ("nobody_reachable", ())
    assert done.lines[0].reason == "nobody reachable for dispatcher, nor for anybody who stands in for it"
    desk.rota = ROTA
    run(desk, 30, begin=36)
    assert desk.done[1, CALL, 0, 2][1].outcome == "notified", "somebody entered meanwhile is called"


def test_a_stand_in_is_called_by_whatever_they_have() -> None:
    hooked = policy_of(Step("dispatcher", 0, 60, 0, 0, channels=("webhook",)))
    _, done = run(Desk(hooked), 1).done[1, CALL, 0, 0]
    assert [(call.person.person_id, call.channel.kind) for call in done.calls] == [("wang", "apprise")]


# -- interruptions -----------------------------------------------------------------------------------------------------


def test_after_an_absence_nothing_is_left_out_and_nobody_gets_a_heap() -> None:
    desk = Desk(PLAN)
    desk.tick(OPENED)
    back = 3600
    run(desk, 600, begin=back)
    calls = desk.calls()
    assert calls.keys() == run(Desk(PLAN), 900).calls().keys()
    assert [calls[0, repeat] - back for repeat in (1, 2, 3)] == [0, 30, 60]
    assert [calls[step, 0] - back for step in (1, 2)] == [0, 0], "who should have been called long ago is called now"


steps = st.builds(
    Step,
    st.sampled_from(["dispatcher", "supervisor", "management"]),
    st.integers(0, 40),
    st.integers(1, 60),
    st.integers(1, 20),
    st.integers(0, 4),
)


@given(
    st.lists(steps, min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(1, 90), st.none() | st.integers(0, 5)), max_size=30),
    st.integers(0, 30),
)
def test_no_interruption_skips_or_doubles_a_step(
    plan: list[Step], life: list[tuple[int, int | None]], opened_late: int
) -> None:
    """The worker looks at odd times and dies in the middle of its work at any of them; then it lives on."""
    ordered = sorted(plan, key=lambda step: step.after_s)
    desk = Desk(policy_of(*ordered))
    second = opened_late
    for pause, dies_at in life:
        desk.tick(OPENED + second * SECOND, dies_at)
        second += pause
    for _ in range(800):
        desk.tick(OPENED + second * SECOND)
        second += 1
    planned = {(number, repeat) for number, step in enumerate(ordered) for repeat in range(step.max_repeats + 1)}
    calls = desk.calls()
    assert calls.keys() == planned
    assert not desk.to_come
    for number, step in enumerate(ordered):
        times = [calls[number, repeat] for repeat in range(step.max_repeats + 1)]
        assert times == sorted(times)
        assert all(at >= opened_late + step.after_s for at in times)
        # A call may be late and the one after it in time: half a beat apart, never a heap.
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert all(gap >= step.repeat_every_s / 2 for gap in gaps)
    assert {key[2] for key in desk.done if key[1] == DEADLINE} == set(range(len(ordered)))


@given(st.lists(steps, min_size=1, max_size=4))
def test_on_time_the_calls_keep_the_beat_of_the_plan(plan: list[Step]) -> None:
    ordered = sorted(plan, key=lambda step: step.after_s)
    expected = {
        (number, repeat): step.after_s + repeat * step.repeat_every_s
        for number, step in enumerate(ordered)
        for repeat in range(step.max_repeats + 1)
    }
    assert run(Desk(policy_of(*ordered)), 200).calls() == expected

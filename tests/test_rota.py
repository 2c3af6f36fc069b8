"""Who is called for a role, and where nobody could be."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from incidents.response.rota import Channel, Hole, HoleKind, Person, Rota, Shift, Source, holes

NIGHT = datetime(2026, 3, 1, 22, tzinfo=UTC)
HOUR = timedelta(hours=1)
PHONE = Channel("apprise", "ntfy://push.example/li")
HOOK = Channel("webhook", "https://hooks.example/li", "0123456789abcdef")

LI = Person("li", "Li", ("dispatcher",), (PHONE,))
WANG = Person("wang", "Wang", ("dispatcher",), (PHONE, HOOK))
ZHAO = Person("zhao", "Zhao", (), (PHONE,))
PEOPLE = (LI, WANG, ZHAO)


def shift(number: int, person: str, begin: float = 0, hours: float = 8, **more: object) -> Shift:
    starts_at = NIGHT + begin * HOUR
    return replace(Shift(number, "dispatcher", person, starts_at, starts_at + hours * HOUR), **more)  # type: ignore[arg-type]


def called(rota: Rota, at: datetime = NIGHT, depot: str | None = None, **more: object) -> list[str]:
    return [person.person_id for person in rota.reach("dispatcher", depot, at, **more).people]  # type: ignore[arg-type]


def test_the_plan_says_who() -> None:
    rota = Rota(PEOPLE, (shift(1, "wang"),))
    assert called(rota) == ["wang"]
    assert rota.reach("dispatcher", None, NIGHT).source is Source.PLAN


def test_a_shift_begins_with_its_begin_and_ends_before_its_end() -> None:
    rota = Rota((WANG, ZHAO), (shift(1, "zhao"),))
    assert called(rota, NIGHT) == ["zhao"]
    assert called(rota, NIGHT - timedelta(microseconds=1)) == ["wang"]
    assert called(rota, NIGHT + 8 * HOUR) == ["wang"]


def test_all_who_are_planned_are_called() -> None:
    assert called(Rota(PEOPLE, (shift(1, "wang"), shift(2, "li", begin=-4)))) == ["wang", "li"]


def test_an_override_beats_the_plan_and_the_newest_beats_all() -> None:
    rota = Rota(PEOPLE, (shift(1, "wang"), shift(2, "li", override=True), shift(3, "zhao", override=True, begin=1)))
    assert called(rota, NIGHT) == ["li"]
    assert called(rota, NIGHT + HOUR) == ["zhao"]
    assert rota.reach("dispatcher", None, NIGHT).source is Source.OVERRIDE


def test_without_a_shift_those_with_the_role_take_turns() -> None:
    rota = Rota(PEOPLE)
    assert [called(rota, turn=turn) for turn in range(3)] == [["li"], ["wang"], ["li"]]
    assert rota.reach("dispatcher", None, NIGHT).source is Source.ROLE


def test_a_shift_of_another_role_means_nothing() -> None:
    assert called(Rota(PEOPLE, (shift(1, "zhao", role="legal"),))) == ["li"]


def test_who_cannot_be_reached_is_passed_over_and_named() -> None:
    mute, gone = replace(LI, channels=()), replace(WANG, active=False)
    rota = Rota((mute, gone, ZHAO), (shift(1, "zhao"), shift(2, "li", override=True), shift(3, "wang", override=True)))
    reached = rota.reach("dispatcher", None, NIGHT)
    assert [person.person_id for person in reached.people] == ["zhao"]
    assert reached.passed_over == (("wang", "inactive"), ("li", "no_channel"))
    nobody = Rota((mute, gone), (shift(1, "nemo"),)).reach("dispatcher", None, NIGHT)
    assert nobody.people == ()
    assert set(nobody.passed_over) == {("nemo", "unknown"), ("li", "no_channel"), ("wang", "inactive")}


def test_only_channels_that_the_step_allows_count() -> None:
    rota = Rota((LI, WANG), (shift(1, "li"),))
    assert called(rota, allowed=("webhook",)) == ["wang"]
    assert rota.reach("dispatcher", None, NIGHT, ("webhook",)).passed_over == (("li", "no_such_channel"),)
    assert WANG.reachable_by(("webhook",)) == (HOOK,)
    assert WANG.reachable_by(()) == (PHONE, HOOK)


def test_a_depot_is_served_by_its_own_people_first() -> None:
    local, other = replace(WANG, depot="hu"), replace(ZHAO, depot="bj", roles=("dispatcher",))
    rota = Rota((LI, local, other))
    assert [called(rota, depot="hu", turn=turn) for turn in range(2)] == [["wang"], ["li"]]
    assert called(rota, depot=None) == ["li"]
    planned = Rota((LI, local), (shift(1, "li"), shift(2, "wang", depot="hu")))
    assert called(planned, depot="hu") == ["wang"]
    assert called(planned, depot="bj") == ["li"]


# -- holes -------------------------------------------------------------------------------------------------------------

WEEK = 7 * 24 * HOUR
WANTED = (("dispatcher", ()),)


def kinds(rota: Rota, wanted: tuple[tuple[str, tuple[str, ...]], ...] = WANTED) -> list[HoleKind]:
    return [hole.kind for hole in holes(rota, wanted, [None], NIGHT, NIGHT + WEEK)]


def test_a_role_that_nobody_has_is_a_hole_of_the_whole_span() -> None:
    found = holes(Rota(PEOPLE), (("legal", ()),), [None], NIGHT, NIGHT + WEEK)
    assert found == [Hole(HoleKind.NOBODY, "legal", None, (), NIGHT, NIGHT + WEEK)]


def test_a_person_without_a_channel_covers_nothing() -> None:
    mute = replace(LI, channels=())
    assert kinds(Rota((mute,))) == [HoleKind.NOBODY]
    found = holes(Rota((mute, WANG), (shift(1, "li", begin=5),)), WANTED, [None], NIGHT, NIGHT + WEEK)
    on_duty = [hole for hole in found if hole.kind is HoleKind.UNREACHABLE]
    assert [(hole.starts_at, hole.ends_at) for hole in on_duty] == [(NIGHT + 5 * HOUR, NIGHT + 13 * HOUR)]
    assert on_duty[0].passed_over == (("li", "no_channel"),)
    assert on_duty[0].instead == ("wang",)


def test_a_channel_of_the_wrong_kind_is_none() -> None:
    assert kinds(Rota((LI,)), (("dispatcher", ("webhook",)),)) == [HoleKind.NOBODY]
    assert kinds(Rota((WANG,)), (("dispatcher", ("webhook",)),)) == []


def test_a_hole_only_where_the_rota_has_one() -> None:
    shifts = (shift(1, "zhao", hours=24), shift(2, "zhao", begin=30, hours=7 * 24))
    found = holes(Rota((ZHAO,), shifts), WANTED, [None], NIGHT, NIGHT + WEEK)
    assert [(hole.kind, hole.starts_at, hole.ends_at) for hole in found] == [
        (HoleKind.NOBODY, NIGHT + 24 * HOUR, NIGHT + 30 * HOUR)
    ]
    with_someone = holes(Rota((ZHAO, LI), shifts), WANTED, [None], NIGHT, NIGHT + WEEK)
    assert [hole.kind for hole in with_someone] == [HoleKind.UNPLANNED]
    assert with_someone[0].instead == ("li",)


def test_no_rota_and_somebody_with_the_role_is_no_hole() -> None:
    assert kinds(Rota(PEOPLE)) == []


def test_each_depot_is_looked_at() -> None:
    local = replace(LI, depot="hu")
    found = holes(Rota((local,)), WANTED, [None, "hu", "bj"], NIGHT, NIGHT + WEEK)
    assert [(hole.depot, hole.kind) for hole in found] == [(None, HoleKind.NOBODY), ("bj", HoleKind.NOBODY)]


shifts = st.lists(
    st.builds(
        shift,
        st.integers(1, 50),
        st.sampled_from(["li", "wang", "zhao"]),
        begin=st.integers(-20, 40),
        hours=st.integers(1, 30),
        override=st.booleans(),
    ),
    max_size=6,
    unique_by=lambda item: item.shift_id,
)
people = st.tuples(
    *(st.builds(replace, st.just(person), channels=st.sampled_from([(), (PHONE,)])) for person in PEOPLE)
)


@given(people, shifts, st.integers(0, 47))
def test_there_is_a_hole_exactly_when_nobody_would_be_called(
    who: tuple[Person, ...], planned: list[Shift], hour: int
) -> None:
    """Holes are found in advance by the very rule that will call."""
    rota, at = Rota(who, tuple(planned)), NIGHT + (hour + 0.5) * HOUR
    found = holes(rota, WANTED, [None], NIGHT, NIGHT + 48 * HOUR)
    empty = [hole for hole in found if hole.kind is HoleKind.NOBODY and hole.starts_at <= at < hole.ends_at]
    assert bool(empty) == (not rota.reach("dispatcher", None, at).people)
    for one, other in itertools.pairwise(found):
        assert one.ends_at <= other.starts_at
        assert one.ends_at < other.starts_at or replace(one, ends_at=other.ends_at) != replace(
            other, starts_at=one.starts_at
        ), "one span, not two"

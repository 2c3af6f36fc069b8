"""/api/people, /api/duty, /api/response: who is called, when, by which policy, and whether all of that works."""

from dataclasses import asdict, replace
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

import psycopg
from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from fleet_api.access.admission import Caller, Traced, allowed
from fleet_api.access.principal import Principal
from fleet_api.access.roles import EVERYONE, PLANNERS, Scope
from fleet_api.problems import Problem, documented
from fleet_api.requests import Revision, ShortText, Transaction
from fleet_api.times import Utc, Zoned
from fleet_core import clock
from incidents.response import lessons, people, watchdog
from incidents.response.people import ChannelError
from incidents.response.policy import Policy
from incidents.response.rota import Person, Shift

router = APIRouter(prefix="/api", tags=["response"])

_READERS: Final = allowed(*EVERYONE, scope=Scope.READ)
# The rota is one: a shift of one depot stands in for a hole of another.
_PLANNERS: Final = allowed(*PLANNERS, scope=Scope.INCIDENTS, whole_fleet=True)

PersonId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.@-]{1,64}$")]
RoleName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
_LONGEST_SHIFT: Final = timedelta(days=62)


class ChannelIn(BaseModel):
    """A way to reach a person."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["apprise", "webhook"]
    url: str = Field(max_length=1000, description="An apprise address such as mailto://..., or the web hook's.")
    secret: str | None = Field(default=None, min_length=16, max_length=200, description="Signs a web hook's messages.")


class PersonFields(BaseModel):
    """Somebody who can be called."""

    model_config = ConfigDict(extra="forbid")

    name: ShortText
    roles: list[RoleName] = Field(max_length=20)
    depot: ShortText | None = Field(default=None, description="null: works for every depot.")
    language: Literal["en", "zh-CN"] = "en"
    channels: list[ChannelIn] = Field(default=[], max_length=10)
    active: bool = True


class PersonNew(PersonFields):
    """A new person."""

    person_id: PersonId


class PersonEdit(PersonFields):
    """A person as they shall be. Channels left out (null) stay as they are: their secrets are never shown."""

    revision: Revision
    channels: list[ChannelIn] | None = Field(default=None, max_length=10)  # type: ignore[assignment]


class PersonOut(BaseModel):
    """A person. Of channels only the kind is shown: addresses hold credentials."""

    person_id: str
    name: str
    roles: list[str]
    depot: str | None
    language: str
    channels: list[str]
    active: bool
    revision: int


class People(BaseModel):
    """By id."""

    people: list[PersonOut]


class ShiftNew(BaseModel):
    """Somebody on duty for a role."""

    model_config = ConfigDict(extra="forbid")

    role: RoleName
    person_id: PersonId
    starts_at: Zoned
    ends_at: Zoned
    depot: ShortText | None = None
    override: bool = Field(default=False, description="Beats the plan, as when shifts are swapped.")
    by: ShortText | None = Field(default=None, description="Not looked at: whoever is signed in enters it.")


class ShiftOut(BaseModel):
    """A shift."""

    shift_id: int
    role: str
    person_id: str
    starts_at: Utc
    ends_at: Utc
    depot: str | None
    override: bool


class Shifts(BaseModel):
    """By begin."""

    shifts: list[ShiftOut]


class HoleOut(BaseModel):
    """A time in which a role of the policy is not covered as it should be."""

    kind: str = Field(description="nobody, unreachable or unplanned.")
    role: str
    depot: str | None
    starts_at: Utc
    ends_at: Utc
    instead: list[str] = Field(description="Who would be called instead.")


class Holes(BaseModel):
    """By begin."""

    holes: list[HoleOut]


class TroubleOut(BaseModel):
    """Something is wrong with the response."""

    code: str
    sentence: str


class BeatOut(BaseModel):
    """When a job of the incidents worker last ran."""

    name: str
    ticked_at: Utc
    every_s: float


class ResponseHealth(BaseModel):
    """Whether escalation runs, and what proves it."""

    healthy: bool
    troubles: list[TroubleOut]
    jobs: list[BeatOut]


class FalseAlarmsOut(BaseModel):
    """How often people dismissed what a detector version had a part in."""

    detector: str
    version: int
    kind: str
    device_id: str | None
    closed: int
    false: int
    rate: float


class FalseAlarmList(BaseModel):
    """By detector, version and kind: over all devices, then for each device."""

    false_alarms: list[FalseAlarmsOut]


class PolicyOut(BaseModel):
    """The policy in force."""

    version: str
    policy: dict[str, Any]


@router.get("/people", summary="People who can be called", dependencies=[_READERS])
def list_people(connection: Transaction, who: Caller) -> People:
    """Everybody who has a role in the response, for every depot or one of the caller's."""
    return People(people=[_person_out(kept) for kept in people.people(connection) if _concerns(who, kept.person.depot)])


@router.post("/people", status_code=201, summary="Enter a person", dependencies=[_PLANNERS], responses=documented(409))
def create_person(connection: Transaction, traced: Traced, body: PersonNew) -> PersonOut:
    """Enter somebody who can be called."""
    person = _person(body.person_id, body, body.channels)
    revision = people.insert_person(connection, person)
    if revision is None:
        raise Problem(409, f"There is a person {body.person_id!r} already.", "person_id")
    traced.about("person", body.person_id)
    return _person_out(people.Kept(person, revision))


@router.put("/people/{person_id}", summary="Change a person", dependencies=[_PLANNERS], responses=documented(404, 409))
def edit_person(
    connection: Transaction, person_id: Annotated[str, Path(pattern=r"^[A-Za-z0-9_.@-]{1,64}$")], body: PersonEdit
) -> PersonOut:
    """Change who somebody is, what they do and how they are reached."""
    current = next((kept for kept in people.people(connection) if kept.person.person_id == person_id), None)
    if current is None:
        raise Problem(404, f"There is no person {person_id!r}.", "person_id")
    person = _person(person_id, body, body.channels or [])
    if body.channels is None:
        person = replace(person, channels=current.person.channels)
    revision = people.update_person(connection, person, body.revision)
    if revision is None:
        raise Problem(409, f"{person_id} was changed meanwhile, read it again.", "revision",
                      current_revision=current.revision)  # fmt: skip
    return _person_out(people.Kept(person, revision))


@router.get("/duty", summary="Who is on duty when", dependencies=[_READERS])
def list_shifts(
    connection: Transaction,
    who: Caller,
    since: Annotated[Zoned, Query(alias="from", description="On call at or after.")],
    until: Annotated[Zoned, Query(alias="to", description="On call before.")],
) -> Shifts:
    """Shifts that touch a span."""
    found = people.shifts(connection, since, until)
    return Shifts(shifts=[ShiftOut(**asdict(shift)) for shift in found if _concerns(who, shift.depot)])


@router.post(
    "/duty", status_code=201, summary="Put somebody on duty", dependencies=[_PLANNERS], responses=documented(404)
)
def create_shift(connection: Transaction, who: Caller, traced: Traced, body: ShiftNew) -> ShiftOut:
    """A planned shift, or one that overrides the plan."""
    if not body.starts_at < body.ends_at <= body.starts_at + _LONGEST_SHIFT:
        raise Problem(422, "ends_at: a shift ends after its begin, at most 62 days later.", "ends_at")
    shift = Shift(0, body.role, body.person_id, body.starts_at, body.ends_at, body.depot, body.override)
    try:
        shift_id = people.insert_shift(connection, shift, who.user_id, clock.now())
    except psycopg.errors.ForeignKeyViolation:
        raise Problem(404, f"There is no person {body.person_id!r}.", "person_id") from None
    traced.about("shift", shift_id, person_id=body.person_id)
    return ShiftOut(**asdict(replace(shift, shift_id=shift_id)))


@router.delete(
    "/duty/{shift_id}",
    status_code=204,
    summary="Take a shift back",
    dependencies=[_PLANNERS],
    responses=documented(404),
)
def delete_shift(connection: Transaction, shift_id: Annotated[int, Path(ge=1)]) -> None:
    """As if it had never been entered."""
    if not people.delete_shift(connection, shift_id):
        raise Problem(404, f"There is no shift {shift_id}.", "shift_id")


@router.get("/response/holes", summary="Holes in the rota, found in advance", dependencies=[_READERS])
def list_holes(
    request: Request,
    connection: Transaction,
    who: Caller,
    days: Annotated[float, Query(gt=0, le=60, description="How far ahead to look.")] = 14.0,
) -> Holes:
    """Times in which a role of the policy has nobody who can be reached."""
    policy: Policy = request.app.state.policy
    found = people.holes(connection, policy, clock.now(), days)
    return Holes(
        holes=[
            HoleOut(kind=hole.kind.value, role=hole.role, depot=hole.depot, starts_at=hole.starts_at,
                    ends_at=hole.ends_at, instead=list(hole.instead))
            for hole in found if _concerns(who, hole.depot)
        ]
    )  # fmt: skip


@router.get("/response/health", summary="Whether escalation runs", dependencies=[_READERS])
def response_health(connection: Transaction) -> ResponseHealth:
    """Heartbeats of the worker's jobs, and everything that should have been done and was not."""
    troubles = watchdog.check(connection, clock.now())
    return ResponseHealth(
        healthy=not troubles,
        troubles=[TroubleOut(**asdict(trouble)) for trouble in troubles],
        jobs=[
            BeatOut(name=beat.name, ticked_at=beat.ticked_at, every_s=beat.every_s)
            for beat in watchdog.beats(connection)
        ],
    )


@router.get("/response/policy", summary="The policy in force", dependencies=[_READERS])
def read_policy(request: Request) -> PolicyOut:
    """New incidents freeze it; those that are open keep theirs."""
    policy: Policy = request.app.state.policy
    return PolicyOut(version=policy.version, policy=asdict(policy))


@router.get("/response/false-alarms", summary="False alarms by detector and device", dependencies=[_READERS])
def false_alarms(
    connection: Transaction,
    who: Caller,
    since: Annotated[Zoned, Query(alias="from", description="Opened at or after.")],
    until: Annotated[Zoned | None, Query(alias="to", description="Opened before; now when absent.")] = None,
) -> FalseAlarmList:
    """Of closed incidents, how many people dismissed as false. Drills do not count."""
    found = lessons.false_alarms(connection, since, until or clock.now(), depots=who.depot_list)
    return FalseAlarmList(false_alarms=[FalseAlarmsOut(**asdict(one), rate=one.rate) for one in found])


def _concerns(who: Principal, depot: str | None) -> bool:
    """Whether what is for a depot, or for every one (None), concerns somebody."""
    return depot is None or who.has_depot(depot)


def _person(person_id: str, body: PersonFields, channels: list[ChannelIn]) -> Person:
    try:
        checked = people.channels_of([channel.model_dump(exclude_none=True) for channel in channels])
    except ChannelError as error:
        sentence = str(error)
        raise Problem(422, f"channels: {sentence}.", "channels") from None
    return Person(person_id, body.name, tuple(body.roles), checked, body.depot, body.language, body.active)


def _person_out(kept: people.Kept) -> PersonOut:
    person = kept.person
    return PersonOut(
        person_id=person.person_id, name=person.name, roles=list(person.roles), depot=person.depot,
        language=person.language, channels=[channel.kind for channel in person.channels], active=person.active,
        revision=kept.revision,
    )  # fmt: skip

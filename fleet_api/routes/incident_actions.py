"""/api/incidents/{id}/...: what people do with an incident, and how the response to it stands."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from fleet_api.access import visible
from fleet_api.access.admission import Caller, allowed
from fleet_api.access.principal import Principal
from fleet_api.access.roles import EVERYONE, INVOLVED, RESPONDERS, Scope
from fleet_api.problems import Problem, documented
from fleet_api.requests import LongText, ShortText, Transaction, no_such
from fleet_api.routes.incidents import IncidentDetail, IncidentId, detail_of
from fleet_api.times import Utc
from fleet_core import clock
from incidents.response import actions, countermeasures, lessons, obligations, outbox, rounds
from incidents.response.actions import By
from incidents.response.lifecycle import RefusedError

router = APIRouter(prefix="/api/incidents/{incident_id}", tags=["response"])

_READERS: Final = allowed(*EVERYONE, scope=Scope.READ)
_RESPONDERS: Final = allowed(*RESPONDERS, scope=Scope.INCIDENTS)
_INVOLVED: Final = allowed(*INVOLVED, scope=Scope.INCIDENTS)

Item = Annotated[str, Path(pattern=r"^[a-z][a-z0-9_]{0,63}$", description="Item of the checklist.")]


class Action(BaseModel):
    """What whoever acts has seen."""

    model_config = ConfigDict(extra="forbid")

    by: ShortText | None = Field(default=None, description="Not looked at: whoever is signed in does it.")
    revision: int | None = Field(default=None, ge=1, description="The revision you saw; another one is a conflict.")


class WithNote(Action):
    """With something to say, or not."""

    note: LongText | None = None


class WithReason(Action):
    """With the reason, which is kept."""

    reason: LongText = Field(min_length=1)


class Assignment(WithNote):
    """To whom."""

    to: ShortText | None = Field(description="null: to nobody in particular.")


class NewLevel(WithReason):
    """Which level."""

    level: int = Field(ge=1, le=3)


class Injury(WithNote):
    """Whether anybody is hurt."""

    injured: bool


class Resolution(WithReason):
    """What was done, and what caused it."""

    cause: LongText | None = Field(default=None, description="Required at levels 2 and 3.")


class CountermeasureNew(Action):
    """What keeps it from happening again."""

    cause: LongText = Field(min_length=1)
    countermeasure: LongText = Field(min_length=1)
    owner: ShortText
    due_on: date
    check_on: date = Field(description="The day to look whether it worked.")


class Check(WithNote):
    """Whether a countermeasure worked."""

    worked: bool


class ChecklistItemOut(BaseModel):
    """Something to be done."""

    item: str
    text: dict[str, str]
    required: bool
    done_at: Utc | None
    done_by: str | None
    note: str | None


class StepOut(BaseModel):
    """A call of the plan, done or to come."""

    round: int
    level: int
    purpose: str
    step: int
    repeat: int
    role: str
    due_at: Utc
    done_at: Utc | None
    outcome: str | None = Field(description="null: still to come.")
    detail: dict[str, Any]


class ObligationOut(BaseModel):
    """Something that must be done by a clock of its own."""

    obligation_id: int
    kind: str
    role: str
    due_at: Utc
    done_at: Utc | None
    done_by: str | None
    note: str | None
    waived_because: str | None
    reminders: int


class NoticeOut(BaseModel):
    """A notice to a person."""

    purpose: str
    level: int
    person_id: str
    channel_kind: str
    subject: str
    state: str
    attempts: int
    created_at: Utc
    sent_at: Utc | None
    last_error: str | None
    withdrawn_because: str | None
    drill: bool


class RecurrenceOut(BaseModel):
    """An incident of the same kind after a countermeasure."""

    incident_id: int
    vehicle_id: str
    level: int
    status: str
    occurred_at: Utc
    same_vehicle: bool
    same_place: bool
    metres: float | None


class CountermeasureOut(BaseModel):
    """A countermeasure and what came after it."""

    countermeasure_id: int
    cause: str
    countermeasure: str
    owner: str
    due_on: date
    check_on: date
    created_at: Utc
    created_by: str
    done_at: Utc | None
    done_by: str | None
    checked_at: Utc | None
    checked_by: str | None
    worked: bool | None
    note: str | None
    recurrences: list[RecurrenceOut]


class ResponseOut(BaseModel):
    """How the response to an incident stands."""

    checklist: list[ChecklistItemOut]
    steps: list[StepOut]
    obligations: list[ObligationOut]
    notices: list[NoticeOut]
    countermeasures: list[CountermeasureOut]


def act(
    connection: Transaction, who: Principal, incident_id: int, told: Action, do: Callable[[By], object]
) -> IncidentDetail:
    """Do something and answer with the incident as it is then. Raises Problem 404, 409."""
    try:
        do(By(incident_id, who.user_id, clock.now(), told.revision))
    except actions.NoSuchIncidentError:
        raise no_such("incident", str(incident_id)) from None
    except actions.StaleRevisionError as error:
        raise Problem(409, f"Somebody was faster: {error}. Read it again.", "revision",
                      current_revision=error.current) from None  # fmt: skip
    except RefusedError as error:
        raise _refused(error) from None
    return detail_of(connection, incident_id)


def _refused(error: RefusedError) -> Problem:
    refusal = error.refusal
    return Problem(409, refusal.sentence, None, code=refusal.code, missing=list(refusal.missing))


_ERRORS = documented(404, 409)


@router.get("/response", summary="How the response stands", dependencies=[_READERS], responses=documented(404))
def read_response(connection: Transaction, who: Caller, incident_id: IncidentId) -> ResponseOut:
    """Checklist, calls done and to come, obligations with their clocks, notices, countermeasures and recurrences."""
    try:
        items = actions.checklist(connection, incident_id)
    except actions.NoSuchIncidentError:
        raise no_such("incident", str(incident_id)) from None
    return ResponseOut(
        checklist=[
            ChecklistItemOut(
                item=item.item,
                text=dict(item.text),
                required=item.required,
                done_at=None if done is None else done.done_at,
                done_by=None if done is None else done.done_by,
                note=None if done is None else done.note,
            )
            for item, done in items
        ],
        steps=[StepOut(**asdict(step)) for step in rounds.steps_of(connection, incident_id)],
        obligations=[
            ObligationOut.model_validate(asdict(one)) for one in obligations.obligations(connection, incident_id)
        ],
        notices=[NoticeOut.model_validate(asdict(one)) for one in outbox.notices_of(connection, incident_id)],
        countermeasures=[
            CountermeasureOut(
                **{name: value for name, value in asdict(one).items() if name != "incident_id"},
                recurrences=[
                    RecurrenceOut(**asdict(again))
                    for again in lessons.recurrences(connection, one.countermeasure_id)
                    if visible.sees_vehicle(connection, who, again.vehicle_id)
                ],
            )
            for one in countermeasures.countermeasures(connection, incident_id)
        ],
    )


@router.post("/acknowledge", summary="Take notice", dependencies=[_RESPONDERS], responses=_ERRORS)
def acknowledge(connection: Transaction, who: Caller, incident_id: IncidentId, body: WithNote) -> IncidentDetail:
    """Calling stops; what is not sent yet is taken back."""
    return act(connection, who, incident_id, body, lambda by: actions.acknowledge(connection, by, body.note))


@router.post("/assign", summary="Give it to somebody", dependencies=[_RESPONDERS], responses=_ERRORS)
def assign(connection: Transaction, who: Caller, incident_id: IncidentId, body: Assignment) -> IncidentDetail:
    """Say who works on it."""
    return act(connection, who, incident_id, body, lambda by: actions.assign(connection, by, body.to, body.note))


@router.post("/comment", summary="Say something", dependencies=[_INVOLVED], responses=_ERRORS)
def comment(connection: Transaction, who: Caller, incident_id: IncidentId, body: WithReason) -> IncidentDetail:
    """A line of the timeline in somebody's own words, in `reason`."""
    return act(connection, who, incident_id, body, lambda by: actions.comment(connection, by, body.reason))


@router.post("/level", summary="Set the level by hand", dependencies=[_RESPONDERS], responses=_ERRORS)
def change_level(connection: Transaction, who: Caller, incident_id: IncidentId, body: NewLevel) -> IncidentDetail:
    """The plan of the new level begins. Machines may raise the level afterwards, not lower it."""
    return act(
        connection, who, incident_id, body, lambda by: actions.change_level(connection, by, body.level, body.reason)
    )


@router.post("/injury", summary="Say whether anybody is hurt", dependencies=[_RESPONDERS], responses=_ERRORS)
def state_injury(connection: Transaction, who: Caller, incident_id: IncidentId, body: Injury) -> IncidentDetail:
    """If so, the report to the authority is due at any level."""
    return act(
        connection, who, incident_id, body, lambda by: actions.state_injury(connection, by, body.injured, body.note)
    )


@router.post("/checklist/{item}", summary="Tick an item", dependencies=[_RESPONDERS], responses=_ERRORS)
def tick(connection: Transaction, who: Caller, incident_id: IncidentId, item: Item, body: WithNote) -> IncidentDetail:
    """Something on the checklist is done."""
    return act(connection, who, incident_id, body, lambda by: actions.tick(connection, by, item, body.note))


@router.post("/checklist/{item}/undo", summary="Take a tick back", dependencies=[_RESPONDERS], responses=_ERRORS)
def untick(connection: Transaction, who: Caller, incident_id: IncidentId, item: Item, body: WithNote) -> IncidentDetail:
    """It is not done after all."""
    return act(connection, who, incident_id, body, lambda by: actions.untick(connection, by, item, body.note))


@router.post("/dismiss", summary="Close it as a false alarm", dependencies=[_RESPONDERS], responses=_ERRORS)
def dismiss(connection: Transaction, who: Caller, incident_id: IncidentId, body: WithReason) -> IncidentDetail:
    """The reason counts in the false-alarm rate of the detector and the device."""
    return act(connection, who, incident_id, body, lambda by: actions.dismiss(connection, by, body.reason))


@router.post("/resolve", summary="Close it as dealt with", dependencies=[_RESPONDERS], responses=_ERRORS)
def resolve(connection: Transaction, who: Caller, incident_id: IncidentId, body: Resolution) -> IncidentDetail:
    """Refused with what is missing until the plan's conditions are met."""
    return act(connection, who, incident_id, body, lambda by: actions.resolve(connection, by, body.reason, body.cause))


@router.post("/reopen", summary="Take it up again", dependencies=[_RESPONDERS], responses=_ERRORS)
def reopen(connection: Transaction, who: Caller, incident_id: IncidentId, body: WithReason) -> IncidentDetail:
    """Its plan begins anew."""
    return act(connection, who, incident_id, body, lambda by: actions.reopen(connection, by, body.reason))


@router.post("/countermeasures", summary="Plan a countermeasure", dependencies=[_INVOLVED], responses=_ERRORS)
def plan_countermeasure(
    connection: Transaction, who: Caller, incident_id: IncidentId, body: CountermeasureNew
) -> IncidentDetail:
    """What keeps it from happening again, by whom, by when, and when it is checked."""
    plan = countermeasures.Plan(body.cause, body.countermeasure, body.owner, body.due_on, body.check_on)
    return act(
        connection,
        who,
        incident_id,
        body,
        lambda by: countermeasures.add_countermeasure(connection, incident_id, plan, by.actor, by.now),
    )


@router.post(
    "/countermeasures/{countermeasure_id}/done",
    summary="It was carried out",
    dependencies=[_INVOLVED],
    responses=_ERRORS,
)
def finish_countermeasure(
    connection: Transaction, who: Caller, incident_id: IncidentId, countermeasure_id: int, body: WithNote
) -> IncidentDetail:
    """A countermeasure was carried out."""
    _check_its(connection, incident_id, countermeasure_id)
    return act(
        connection,
        who,
        incident_id,
        body,
        lambda by: countermeasures.finish_countermeasure(connection, countermeasure_id, by.actor, by.now, body.note),
    )


@router.post(
    "/countermeasures/{countermeasure_id}/check",
    summary="Whether it worked",
    dependencies=[_INVOLVED],
    responses=_ERRORS,
)
def check_countermeasure(
    connection: Transaction, who: Caller, incident_id: IncidentId, countermeasure_id: int, body: Check
) -> IncidentDetail:
    """One that did not work asks for another."""
    _check_its(connection, incident_id, countermeasure_id)
    return act(
        connection,
        who,
        incident_id,
        body,
        lambda by: countermeasures.check_countermeasure(
            connection, countermeasure_id, body.worked, by.actor, by.now, note=body.note
        ),
    )


@router.post(
    "/obligations/{obligation_id}/done", summary="An obligation was met", dependencies=[_INVOLVED], responses=_ERRORS
)
def finish_obligation(
    connection: Transaction, who: Caller, incident_id: IncidentId, obligation_id: int, body: WithNote
) -> IncidentDetail:
    """The report was made, the customer was told."""
    held = {one.obligation_id for one in obligations.obligations(connection, incident_id)}
    if obligation_id not in held:
        raise Problem(404, f"Incident {incident_id} has no obligation {obligation_id}.", "obligation_id")
    return act(
        connection,
        who,
        incident_id,
        body,
        lambda by: obligations.finish_obligation(connection, obligation_id, by.actor, by.now, body.note),
    )


def _check_its(connection: Transaction, incident_id: int, countermeasure_id: int) -> None:
    held = {one.countermeasure_id for one in countermeasures.countermeasures(connection, incident_id)}
    if countermeasure_id not in held:
        raise Problem(404, f"Incident {incident_id} has no countermeasure {countermeasure_id}.", "countermeasure_id")

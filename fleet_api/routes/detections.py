"""/api/detections: what detectors found, with the history of each judgement."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel

from fleet_api.access.admission import Caller, allowed
from fleet_api.access.roles import EVERYONE, Scope
from fleet_api.problems import documented
from fleet_api.requests import Limit, Transaction, VehicleId, no_such
from fleet_api.routes.incidents import DetectionOut, ReasonOut, detection_out, reasons_out
from fleet_api.times import Utc, Zoned
from incidents import cases, detector

router = APIRouter(prefix="/api/detections", tags=["incidents"])

_READERS: Final = allowed(*EVERYONE, scope=Scope.READ)


class DetectionList(BaseModel):
    """Newest first."""

    detections: list[DetectionOut]


class JudgementOut(BaseModel):
    """One judgement of a detection."""

    judged_at: Utc
    change: str
    version: int
    level: int
    score: float
    reasons: list[ReasonOut]
    measured: dict[str, Any]
    into_detection: int | None


class Judgements(BaseModel):
    """In order."""

    judgements: list[JudgementOut]


class DetectorOut(BaseModel):
    """A detector that runs."""

    name: str
    version: int
    purpose: str
    kinds: list[str]
    lane: str


class Detectors(BaseModel):
    """By name."""

    detectors: list[DetectorOut]


@router.get("", summary="List detections", dependencies=[_READERS])
def list_detections(
    connection: Transaction,
    who: Caller,
    *,
    vehicle_id: Annotated[VehicleId | None, Query(description="Only this vehicle's.")] = None,
    kind: Annotated[str | None, Query(max_length=40, description="Only this kind.")] = None,
    since: Annotated[Zoned | None, Query(alias="from", description="Ended at or after.")] = None,
    until: Annotated[Zoned | None, Query(alias="to", description="Started before.")] = None,
    with_withdrawn: Annotated[bool, Query(description="Also those that later data refuted.")] = False,
    limit: Limit = 100,
) -> DetectionList:
    """What detectors found, also what opened no incident, such as a single harsh stop."""
    found = cases.detections(
        connection, vehicle_id=vehicle_id, kind=kind, since=since, until=until, with_withdrawn=with_withdrawn,
        depots=who.depot_list, limit=limit,
    )  # fmt: skip
    return DetectionList(detections=[detection_out(item) for item in found])


@router.get("/detectors", summary="Detectors that run", dependencies=[_READERS])
def list_detectors() -> Detectors:
    """Every detector of this release with its version."""
    return Detectors(
        detectors=[
            DetectorOut(
                name=one.name, version=one.version, purpose=one.purpose, kinds=list(one.kinds), lane=one.lane.value
            )
            for one in detector.detectors().values()
        ]
    )


@router.get(
    "/{detection_id}/judgements",
    summary="How a detection was judged over time",
    dependencies=[_READERS],
    responses=documented(404),
)
def read_judgements(connection: Transaction, detection_id: Annotated[int, Path(ge=1)]) -> Judgements:
    """Found, revised, withdrawn: every judgement with the version of the rule that made it."""
    found = cases.judgements_of(connection, detection_id)
    if not found:
        raise no_such("detection", str(detection_id))
    return Judgements(judgements=[JudgementOut(**{**item, "reasons": reasons_out(item["reasons"])}) for item in found])

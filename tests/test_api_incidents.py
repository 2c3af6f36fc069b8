"""Incidents over HTTP and the live channel: reported, answered, closed, counted."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from websockets.sync.client import connect

from tests.services import api

NOW = datetime.now(UTC)
SQUARE = {
    "type": "Polygon",
    "coordinates": [[[121.4, 31.2], [121.5, 31.2], [121.5, 31.3], [121.4, 31.3], [121.4, 31.2]]],
}


@pytest.fixture
def client(server: api.Server) -> Iterator[httpx.Client]:
    with server.client() as made:
        assert made.post("/api/vehicles", json={"vehicle_id": "v1", "plate": "沪A12345"}).status_code == 201
        yield made


def report(client: httpx.Client, key: str | None = None, **more: Any) -> dict[str, Any]:
    body = {
        "vehicle_id": "v1", "kind": "accident", "occurred_at": (NOW - timedelta(minutes=3)).isoformat(),
        "told": "another car ran into us", "taken_by": "li", "lat_deg": 31.25, "lon_deg": 121.45, **more,
    }  # fmt: skip
    answer = client.post("/api/reports", json=body, headers={"Idempotency-Key": key} if key else {})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_report_opens_an_incident_that_is_answered_and_closed(client: httpx.Client) -> None:
    incident_id = report(client)["incident_id"]
    case = client.get(f"/api/incidents/{incident_id}").json()
    assert (case["kind"], case["level"], case["status"], case["plate"]) == ("accident", 2, "open", "沪A12345")
    assert case["policy_version"]
    assert [(one["source"], one["kind"]) for one in case["evidence"]] == [("report", "accident")]
    assert case["evidence"][0]["reasons"][0]["text"].keys() == {"en", "zh-CN"}

    path = f"/api/incidents/{incident_id}"
    case = client.post(f"{path}/acknowledge", json={"by": "wang", "revision": case["revision"]}).json()
    assert (case["status"], case["acknowledged_by"]) == ("acknowledged", "wang")
    case = client.post(f"{path}/assign", json={"by": "wang", "to": "zhao"}).json()
    assert case["assigned_to"] == "zhao"
    client.post(f"{path}/comment", json={"by": "wang", "reason": "towing is on its way"})
    refused = client.post(f"{path}/resolve", json={"by": "wang", "reason": "done"})
    assert refused.status_code == 409
    assert refused.json()["missing"]

    standing = client.get(f"{path}/response").json()
    assert standing["steps"], "the plan of the level runs"
    for item in standing["checklist"]:
        if item["required"]:
            assert client.post(f"{path}/checklist/{item['item']}", json={"by": "wang"}).status_code == 200
    done = client.post(f"{path}/resolve", json={"by": "wang", "reason": "towed", "cause": "the other driver"})
    assert done.status_code == 200, done.text
    assert done.json()["status"] == "resolved"
    kinds = [event["kind"] for event in done.json()["timeline"]]
    # Resolving at level 2 begins the closed loop.
    assert kinds[0] == "opened" and kinds[-1] == "obligation_begun"
    assert {"acknowledged", "assigned", "commented", "item_done", "resolved"} <= set(kinds)
    assert all(event["actor"] for event in done.json()["timeline"])


def test_a_report_sent_twice_is_one(client: httpx.Client) -> None:
    assert report(client, "call-0001") == report(client, "call-0001")
    assert len(client.get("/api/incidents").json()["incidents"]) == 1


def test_an_injury_makes_it_an_emergency(client: httpx.Client) -> None:
    incident_id = report(client, injured=True)["incident_id"]
    assert client.get(f"/api/incidents/{incident_id}").json()["level"] == 3


def test_lists_narrow_and_page(client: httpx.Client) -> None:
    for number in range(5):
        client.post("/api/vehicles", json={"vehicle_id": f"w{number}", "depot": "north" if number else "south"})
        report(client, vehicle_id=f"w{number}", occurred_at=(NOW - timedelta(hours=number)).isoformat())
    first = client.get("/api/incidents", params={"limit": 2}).json()
    assert [one["vehicle_id"] for one in first["incidents"]] == ["w0", "w1"]
    second = client.get("/api/incidents", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [one["vehicle_id"] for one in second["incidents"]] == ["w2", "w3"]
    north = client.get("/api/incidents", params={"depot": "north", "min_level": 2, "status": "open"}).json()
    assert len(north["incidents"]) == 4
    assert client.get("/api/incidents", params={"min_level": 3}).json()["incidents"] == []
    counts = client.get("/api/incidents/counts", params={"from": (NOW - timedelta(days=1)).isoformat()}).json()
    assert [(one["kind"], one["incidents"], one["vehicles"]) for one in counts["kinds"]] == [("accident", 5, 5)]
    assert client.get("/api/incidents", params={"cursor": "nonsense"}).status_code == 422


def test_a_drill_is_reported_with_its_response_times(client: httpx.Client) -> None:
    client.post("/api/vehicles", json={"vehicle_id": "drill-front-00001"})
    incident_id = report(client, vehicle_id="drill-front-00001")["incident_id"]
    report(client)
    client.post(f"/api/incidents/{incident_id}/acknowledge", json={"by": "wang"})
    answered = client.get("/api/incidents/drills", params={"from": (NOW - timedelta(days=1)).isoformat()}).json()
    [one] = answered["incidents"]
    assert (one["incident_id"], one["acknowledged_by"], one["closed_s"]) == (incident_id, "wang", None)
    assert one["known_s"] > 100 and one["acknowledged_s"] >= 0
    assert [case["drill"] for case in client.get("/api/incidents", params={"drill": True}).json()["incidents"]] == [
        True
    ]


def test_a_stale_revision_and_an_unknown_incident_are_told(client: httpx.Client) -> None:
    incident_id = report(client)["incident_id"]
    answer = client.post(f"/api/incidents/{incident_id}/acknowledge", json={"by": "wang", "revision": 999})
    assert answer.status_code == 409 and answer.json()["field"] == "revision"
    assert client.post("/api/incidents/999/acknowledge", json={"by": "wang"}).status_code == 404
    assert client.post(f"/api/incidents/{incident_id}/dismiss", json={"by": "wang"}).status_code == 422


def test_weather_is_told_in_incidents_at_its_place(client: httpx.Client) -> None:
    incident_id = report(client)["incident_id"]
    warning = {
        "source": "cma", "source_key": "w-1", "kind": "hail", "level": 2, "area": SQUARE,
        "valid_from": (NOW - timedelta(hours=1)).isoformat(), "valid_until": (NOW + timedelta(hours=1)).isoformat(),
    }  # fmt: skip
    assert client.post("/api/weather", json=warning).status_code == 201
    assert client.post("/api/weather", json=warning).status_code == 201
    evidence = client.get(f"/api/incidents/{incident_id}").json()["evidence"]
    assert [one["kind"] for one in evidence if one["source"] == "weather"] == ["hail"]
    assert len(client.get("/api/weather").json()["warnings"]) == 1
    crossed = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}
    assert "crosses itself" in client.post("/api/weather", json={**warning, "area": crossed}).json()["detail"]


def test_geofences_are_created_changed_and_retired(client: httpx.Client) -> None:
    fence = {"fence_id": "airport", "name": "Airport", "area": SQUARE, "rules": ["entry", "dwell"], "dwell_s": 600}
    made = client.post("/api/geofences", json=fence)
    assert made.status_code == 201 and made.json()["revision"] == 1
    assert client.post("/api/geofences", json=fence).status_code == 409
    edit = {key: value for key, value in fence.items() if key != "fence_id"} | {"revision": 1, "name": "Airport T2"}
    assert client.put("/api/geofences/airport", json=edit).json()["name"] == "Airport T2"
    assert client.put("/api/geofences/airport", json=edit).status_code == 409
    assert client.put("/api/geofences/airport", json=edit | {"revision": 2, "retired": True}).status_code == 200
    assert client.get("/api/geofences").json()["geofences"] == []
    assert client.put("/api/geofences/nowhere", json=edit).status_code == 404


def test_people_duty_and_holes(client: httpx.Client) -> None:
    assert client.get("/api/response/holes", params={"days": 2}).json()["holes"]
    person = {
        "person_id": "wang", "name": "王", "roles": ["dispatcher"], "language": "zh-CN",
        "channels": [{"kind": "webhook", "url": "https://example.test/hook", "secret": "0123456789abcdef"}],
    }  # fmt: skip
    made = client.post("/api/people", json=person)
    assert made.status_code == 201 and made.json()["channels"] == ["webhook"]
    assert "0123456789abcdef" not in client.get("/api/people").text
    shift = {
        "role": "dispatcher", "person_id": "wang", "by": "chief",
        "starts_at": NOW.isoformat(), "ends_at": (NOW + timedelta(days=3)).isoformat(),
    }  # fmt: skip
    shift_id = client.post("/api/duty", json=shift).json()["shift_id"]
    holes = client.get("/api/response/holes", params={"days": 2}).json()["holes"]
    assert "dispatcher" not in {hole["role"] for hole in holes}
    assert client.delete(f"/api/duty/{shift_id}").status_code == 204
    assert client.post("/api/duty", json=shift | {"person_id": "nobody"}).status_code == 404
    edit = {key: value for key, value in person.items() if key not in ("person_id", "channels")} | {"revision": 1}
    assert client.put("/api/people/wang", json=edit).json()["channels"] == ["webhook"]


def test_response_health_and_policy(client: httpx.Client) -> None:
    health = client.get("/api/response/health").json()
    assert not health["healthy"] and health["troubles"][0]["code"] == "never_ran"
    policy = client.get("/api/response/policy").json()
    assert policy["version"] and policy["policy"]
    assert client.get("/api/response/false-alarms", params={"from": NOW.isoformat()}).json() == {"false_alarms": []}
    names = {one["name"] for one in client.get("/api/detections/detectors").json()["detectors"]}
    assert names


def test_changes_are_pushed_live(server: api.Server, client: httpx.Client) -> None:
    with connect(server.live_url, additional_headers=server.headers) as socket:
        texts = []

        def next_incident() -> dict[str, Any]:
            while True:
                message = socket.recv(timeout=20)
                if isinstance(message, str):
                    text = json.loads(message)
                    texts.append(text)
                    if text["type"] == "incident":
                        return dict(text)

        while not any(text.get("feed") == "live" or text.get("state") == "live" for text in texts):
            texts.append(json.loads(socket.recv(timeout=20)))
        incident_id = report(client)["incident_id"]
        told = next_incident()
        assert (told["incident_id"], told["status"], told["level"]) == (incident_id, "open", 2)
        client.post(f"/api/incidents/{incident_id}/acknowledge", json={"by": "wang"})
        while told["status"] != "acknowledged":
            told = next_incident()
        assert told["acknowledged_by"] == "wang"


def test_detections_are_listed_with_their_history(client: httpx.Client, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        row = connection.execute(
            "INSERT INTO detections (vehicle_id, kind, detector, version, level, score, started_at, occurred_at,"
            " ended_at, measured, reasons, first_judged_at, delay_s, judged_at, stale)"
            " VALUES ('v1', 'harsh_braking', 'harsh_braking', 1, 1, 0.9, now(), now(), now(), '{}',"
            """ '[{"code": "unworded", "values": {"g": 0.5}}]', now(), 0, now(), false) RETURNING detection_id"""
        ).fetchone()
        assert row is not None
        connection.execute(
            "INSERT INTO detection_judgements (detection_id, judged_at, change, version, level, score, reasons,"
            " measured) VALUES (%s, now(), 'found', 1, 1, 0.9, '[]', '{}')",
            [row[0]],
        )
    [found] = client.get("/api/detections", params={"vehicle_id": "v1"}).json()["detections"]
    assert found["kind"] == "harsh_braking" and found["reasons"][0]["text"]["en"] == "unworded g=0.5"
    history = client.get(f"/api/detections/{found['detection_id']}/judgements").json()["judgements"]
    assert [one["change"] for one in history] == ["found"]

"""The incidents page in a real browser: told at once, worked on by keyboard, closed with reasons; signing in."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from playwright.sync_api import Page, Route, expect

from tests import response_cases
from tests.services import api

pytestmark = pytest.mark.browser

Open = Callable[..., Page]


@pytest.fixture
def writer(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url) as connection:
        yield connection


def put_case(writer: psycopg.Connection[Any], vehicle_id: str, level: int, **columns: Any) -> int:
    """A vehicle at its place and an incident of it, as ingest would have them, and the ring of the bell."""
    now = datetime.now(UTC)
    api.put_position(writer, vehicle_id, now, 31.23, 121.47)
    incident_id = response_cases.open_case(writer, now, vehicle_id=vehicle_id, level=level, **columns)
    api.ring(writer, "i")
    writer.commit()
    return incident_id


def test_incidents_are_told_at_once_and_gravest_first(
    database_url: str, writer: psycopg.Connection[Any], open_page: Open
) -> None:
    put_case(writer, "hu-1", 1)
    put_case(writer, "hu-drill", 3, drill=True)
    with api.running(api.settings_for(database_url)) as server:
        page = open_page(server)
        expect(page.locator(".pin")).to_have_count(2)
        # One of level 3 arrives while people look at the map.
        grave = put_case(writer, "hu-3", 3)
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text("Crash · hu-3")
        pin = page.locator(f".pin[data-incident='{grave}']")
        expect(pin).to_have_accessible_name("Level 3, Emergency: Crash, hu-3, Unanswered")
        expect(page.locator("#vehicles [role=option]").first).to_contain_text("hu-3")
        pin.press("Enter")
        expect(page).to_have_url(re.compile(rf"/incidents/{grave}$"))
        rows = page.locator("#queue [role=option]")
        expect(rows).to_have_count(3)
        # Real before drills, whatever the level.
        expect(rows.nth(0)).to_have_accessible_name(re.compile(r"^Level 3, Emergency: Crash, hu-3"))
        expect(rows.nth(1)).to_have_accessible_name(re.compile(r"^Level 1, Attention: Crash, hu-1"))
        expect(rows.nth(2)).to_have_accessible_name(re.compile(r"hu-drill.*DRILL$"))

        # By keyboard alone: to the drill, whose banner nobody can overlook.
        queue = page.get_by_role("listbox", name="Incidents")
        queue.focus()
        queue.press("End")
        queue.press("Enter")
        expect(page.get_by_text("DRILL. Act as if it were real; call no emergency service.")).to_be_visible()


def test_a_report_is_taken_answered_and_closed(
    database_url: str, writer: psycopg.Connection[Any], open_page: Open
) -> None:
    api.put_position(writer, "hu-1", datetime.now(UTC), 31.23, 121.47)
    writer.execute("UPDATE vehicles SET plate = '沪A12345'")
    writer.commit()
    with api.running(api.settings_for(database_url)) as server:
        page = open_page(server, "/incidents/report")
        page.get_by_label("Vehicle (id or plate)").fill("沪a12345")
        page.get_by_label("Taken by").fill("li")
        page.get_by_label("In their own words").fill("another car ran into us")
        page.get_by_role("group", name="Is anybody hurt?").get_by_label("No", exact=True).check()
        page.get_by_role("button", name="Keep the report").click()
        expect(page.get_by_role("heading", name="Accident reported")).to_be_visible()
        expect(page.get_by_text("another car ran into us")).to_be_visible()

        acknowledge = page.get_by_role("button", name="Acknowledge")
        acknowledge.click()
        expect(page.locator(".tag.status-acknowledged")).to_have_text("Acknowledged")
        expect(acknowledge).to_have_count(0)

        # Refused with what is missing, until the checklist is done.
        page.get_by_role("button", name="Resolve").click()
        page.get_by_label("What was done").fill("towed")
        page.get_by_label("Cause").fill("the other one was at fault")
        form = page.get_by_role("form", name="Resolve")
        form.get_by_role("button", name="Resolve").click()
        expect(page.locator("article [role=alert]")).to_contain_text("Still missing:")
        boxes = page.get_by_role("region", name="Checklist").get_by_role("checkbox")
        for number in range(boxes.count()):
            boxes.nth(number).check()
            expect(page.get_by_role("region", name="Checklist").locator(".by")).to_have_count(number + 1)
        expect(page.get_by_text("complete", exact=True)).to_be_visible()

        # Another level needs its reason, and a closed incident can be taken up again.
        page.get_by_role("button", name="Change level").click()
        page.get_by_label("Level 1, Attention").check()
        page.get_by_label("Reason").fill("only the bumper")
        page.get_by_role("form", name="Change level").get_by_role("button", name="Change level").click()
        expect(page.locator(".lead .level-1")).to_be_visible()
        page.get_by_role("button", name="False alarm").click()
        page.get_by_role("button", name="Driver says all is well").click()
        page.get_by_role("form").get_by_role("button", name="False alarm").click()
        expect(page.locator(".tag.status-dismissed")).to_have_text("Dismissed")
        timeline = page.get_by_role("region", name="Timeline")
        expect(timeline).to_contain_text("Driver says all is well")
        expect(page.get_by_text("No open incidents.")).to_be_visible()
        page.get_by_role("link", name="Statistics").click()
        expect(page.get_by_role("row", name=re.compile("^Accident reported"))).to_be_visible()


def test_somebody_else_was_faster(database_url: str, writer: psycopg.Connection[Any], open_page: Open) -> None:
    incident_id = put_case(writer, "hu-1", 2)
    with api.running(api.settings_for(database_url)) as server:
        page = open_page(server, f"/incidents/{incident_id}")
        expect(page.get_by_role("button", name="Acknowledge")).to_be_visible()
        # Changed without the bell and without its list, so that the page has not heard of it when it acts.
        page.route("**/api/incidents?**", lambda route: route.abort())
        writer.execute("UPDATE incidents SET revision = revision + 1")
        writer.commit()
        page.get_by_role("button", name="Acknowledge").click()
        expect(page.locator("article [role=alert]")).to_contain_text("Somebody was faster")
        page.get_by_role("button", name="Acknowledge").click()
        expect(page.locator(".tag.status-acknowledged")).to_be_visible()


def test_administration_says_what_is_wrong(database_url: str, open_page: Open) -> None:
    with api.running(api.settings_for(database_url)) as server:
        page = open_page(server, "/administration")
        expect(page.get_by_text("Nobody is entered: no incident can call anybody.")).to_be_visible()
        expect(page.get_by_role("region", name="Holes in the rota, next 14 days")).to_contain_text(
            "nobody can be reached"
        )


def test_speed_is_plotted_round_the_moment(database_url: str, writer: psycopg.Connection[Any], open_page: Open) -> None:
    incident_id = put_case(writer, "hu-1", 2, lat_deg=None, lon_deg=None)
    now = datetime.now(UTC)
    with api.running(api.settings_for(database_url)) as server:
        page = open_page(server)
        # Without a place of its own its pin is at its vehicle.
        expect(page.locator(".pin")).to_have_count(1)

        def track(route: Route) -> None:
            point = {"seq": "1", "received_at": now.isoformat(), "accuracy_m": 3, "heading_deg": 90, "ignition": True}
            points = [
                point
                | {
                    "device_time": (now - timedelta(seconds=60 - at)).isoformat(),
                    "lat_deg": 31.23, "lon_deg": 121.47 + at / 1e5, "speed_kmh": max(0, 50 - at), "buffered": False,
                }
                for at in range(60)
            ]  # fmt: skip
            route.fulfill(json={"points": points})

        page.route("**/track?**", track)
        page.goto(f"{server.http_url}/incidents/{incident_id}")
        expect(page.locator(".uplot canvas")).to_be_visible()
        # Without a place of its own it is shown where the reading next to it was.
        expect(page.get_by_text("By the reading next to it:")).to_be_visible()
        expect(page.locator(".small .maplibregl-canvas")).to_be_visible()

"""The live map in a real browser: vehicles are drawn and move, the list agrees, it comes back after a restart."""

import gzip
import json
import re
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from playwright.sync_api import Page, expect

from fleet_api.access import passwords
from fleet_api.access.roles import Role
from fleet_core import db
from tests.services import api

pytestmark = pytest.mark.browser

Open = Callable[..., Page]


@pytest.fixture
def writer(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url) as connection:
        yield connection


def move(writer: psycopg.Connection[Any], vehicle_id: str, lon_deg: float, speed_kmh: float = 36.0) -> None:
    api.put_position(writer, vehicle_id, datetime.now(UTC), 31.23, lon_deg, speed_kmh=speed_kmh)
    api.ring(writer)
    writer.commit()


# The colour on the map where a vehicle is drawn, while it is being drawn.
COLOUR_AT = """(id) => new Promise((done) => {
  const { map, fleet } = fleetward;
  map.map.once("render", () => {
    const gl = map.map.painter.context.gl;
    const [x, y] = map.toScreen(...fleet.placeAt(fleet.slotOf(id), performance.now()));
    const pixel = new Uint8Array(4);
    const scale = gl.drawingBufferWidth / map.map.getContainer().clientWidth;
    gl.readPixels(Math.round(x * scale), gl.drawingBufferHeight - Math.round(y * scale), 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel);
    done([...pixel]);
  });
  map.map.triggerRepaint();
})"""  # noqa: E501
MOVING_RGB = (0x0B, 0x6E, 0x8A)


def drawn_as_moving(page: Page, vehicle_id: str) -> None:
    page.wait_for_function(
        f"async () => {{ const [r, g, b] = await ({COLOUR_AT})({json.dumps(vehicle_id)});"
        f" return [r - {MOVING_RGB[0]}, g - {MOVING_RGB[1]}, b - {MOVING_RGB[2]}].every((d) => Math.abs(d) < 24); }}"
    )


def test_vehicles_move_and_the_list_says_the_same(
    database_url: str,
    writer: psycopg.Connection[Any],
    open_page: Open,
) -> None:
    move(writer, "hu-1", 121.47)
    api.put_position(writer, "hu-2", datetime(2026, 1, 1, tzinfo=UTC), 31.24, 121.49, speed_kmh=0.0)
    writer.execute("UPDATE vehicles SET plate = '沪A12345' WHERE vehicle_id = 'hu-2'")
    writer.commit()
    with api.running(api.settings_for(database_url)) as server:
        page = open_page(server)
        expect(page.locator("#link")).to_have_text("Live")
        rows = page.locator("#vehicles [role=option]")
        expect(rows).to_have_count(2)
        expect(rows.nth(0)).to_have_accessible_name(re.compile(r"^hu-1, Moving, 36 km/h, fix \d+ s old$"))
        expect(rows.nth(1)).to_contain_text("沪A12345")
        expect(page.locator("#n-moving")).to_have_text("1")
        expect(page.locator("#n-stale")).to_have_text("1")
        drawn_as_moving(page, "hu-1")

        before = page.evaluate("fleetward.fleet.placeAt(fleetward.fleet.slotOf('hu-1'), performance.now())[0]")
        move(writer, "hu-1", 121.48, speed_kmh=54.0)
        page.wait_for_function(
            "(lon) => fleetward.fleet.placeAt(fleetward.fleet.slotOf('hu-1'), performance.now())[0] > lon", arg=before
        )
        expect(rows.nth(0)).to_contain_text("54 km/h")
        drawn_as_moving(page, "hu-1")


def test_search_filters_and_keyboard(
    database_url: str,
    writer: psycopg.Connection[Any],
    open_page: Open,
) -> None:
    for number in range(1, 41):
        move(writer, f"hu-{number}", 121.40 + number / 1000, speed_kmh=0.0 if number % 2 else 40.0)
    writer.execute("UPDATE vehicles SET plate = '沪B' || vehicle_id WHERE vehicle_id = 'hu-7'")
    writer.commit()
    with api.running(api.settings_for(database_url)) as server:
        page = open_page(server)
        expect(page.locator("#list-title")).to_have_text("40 vehicles in view")
        rows = page.locator("#vehicles [role=option]")
        search = page.locator("#search")
        search.fill("沪b")
        expect(rows).to_have_count(1)
        search.fill("")
        page.locator("summary").click()
        page.get_by_role("button", name="Moving").click()
        expect(page.locator("#list-title")).to_have_text("20 vehicles in view")
        assert page.evaluate("fleetward.map.vehicles.count") == 20
        page.get_by_role("button", name="Clear filters").click()
        page.locator("summary").click()

        # One stop of the tab key; arrows move, Enter chooses, and the map goes there.
        listbox = page.get_by_role("listbox")
        listbox.focus()
        for _ in range(3):
            listbox.press("ArrowDown")
        expect(listbox).to_have_attribute("aria-activedescendant", "vehicles-hu-3")
        listbox.press("End")
        expect(listbox).to_have_attribute("aria-activedescendant", "vehicles-hu-40")
        listbox.press("Enter")
        expect(page.locator("#vehicles-hu-40")).to_have_attribute("aria-selected", "true")
        card = page.get_by_role("region", name="Chosen vehicle hu-40")
        expect(card).to_contain_text("40 km/h")
        expect(page.locator("#list-title")).not_to_have_text("40 vehicles in view")
        # One that is out of view is found by searching, and the map goes to it.
        search.fill("hu-1")
        away = page.locator("#vehicles-hu-1")
        expect(away).to_contain_text("not in view")
        away.click()
        expect(away).not_to_contain_text("not in view")
        card = page.get_by_role("region", name="Chosen vehicle hu-1")
        card.get_by_role("button", name="Follow").click()
        expect(page.get_by_text("Following hu-1")).to_be_visible()


def test_city_pack_language_and_colours_are_remembered(
    database_url: str,
    writer: psycopg.Connection[Any],
    open_page: Open,
    tmp_path: Path,
) -> None:
    road = {
        "type": "Feature",
        "properties": {"class": "primary", "rank": 2, "name": "南京路", "name_en": "Nanjing Road"},
        "geometry": {"type": "LineString", "coordinates": [[121.40, 31.23], [121.54, 31.23]]},
    }
    (tmp_path / "roads.geojson.gz").write_bytes(
        gzip.compress(json.dumps({"type": "FeatureCollection", "features": [road]}).encode())
    )
    meta = {
        "name": {"zh": "上海", "en": "Shanghai"},
        "bounds": [121.4, 31.2, 121.54, 31.26],
        "attribution": {"zh": "道路", "en": "roads"},
    }
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    move(writer, "hu-1", 121.47)
    with api.running(api.settings_for(database_url, city_pack=str(tmp_path))) as server:
        page = open_page(server)
        expect(page.locator(".attribution")).to_have_text("roads")
        page.wait_for_function("() => window.fleetward?.map.map.isSourceLoaded('roads')")
        assert page.evaluate("fleetward.map.map.querySourceFeatures('roads').length") > 0
        page.locator("#language").select_option("zh-CN")
        expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
        expect(page.locator("#link")).to_have_text("实时")
        expect(page.locator(".attribution")).to_have_text("道路")
        expect(page.locator("#list-title")).to_have_text("视野内 1 辆车")
        page.locator("#theme").select_option("dark")
        page.reload()
        expect(page.locator("#link")).to_have_text("实时")
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_an_alarm_is_told_and_can_be_put_away(
    database_url: str,
    writer: psycopg.Connection[Any],
    open_page: Open,
) -> None:
    move(writer, "hu-1", 121.47)
    with api.running(api.settings_for(database_url)) as server:
        page = open_page(server)
        expect(page.locator("#link")).to_have_text("Live")
        api.put_alarm(writer, "hu-1", datetime(2026, 3, 1, 8, 0, tzinfo=UTC), "crash")
        api.ring(writer, "a")
        writer.commit()
        alarm = page.get_by_role("alert")
        expect(alarm).to_contain_text("Device alarm: Crash · hu-1 · 16:00:00")
        alarm.get_by_role("button", name="Hide this alarm").click()
        expect(alarm).to_be_empty()


def test_nobody_sees_anything_before_signing_in(
    database_url: str, writer: psycopg.Connection[Any], open_page: Open
) -> None:
    move(writer, "hu-1", 121.47)
    with api.running(api.settings_for(database_url)) as server:
        with db.connect(database_url, "test") as connection:
            given = passwords.hashed(api.PASSWORD)
            api.put_user(connection, "li", [Role.DISPATCHER], password_hash=given, must_change=True)
        page = open_page(server, signed_in=False)
        page.get_by_label("User").fill("li")
        page.get_by_label("Password").fill("not the password")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_have_text("User, password or code is wrong.")
        expect(page.locator("#vehicles")).to_have_count(0)
        page.get_by_label("Password").fill(api.PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        # The password was given by somebody else: nothing is shown until another is chosen.
        page.get_by_label("Password you were given").fill(api.PASSWORD)
        page.get_by_label("New password", exact=True).fill("correct horse battery")
        page.get_by_label("New password again").fill("correct horse battery")
        expect(page.locator("#vehicles")).to_have_count(0)
        page.get_by_role("button", name="Change password").click()
        expect(page.locator("#link")).to_have_text("Live")
        expect(page.locator("#vehicles [role=option]")).to_have_count(1)
        page.reload()
        expect(page.locator("#vehicles [role=option]")).to_have_count(1)
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("Password")).to_be_visible()
        expect(page.locator("#vehicles")).to_have_count(0)
        assert writer.execute("SELECT count(*) FROM sessions WHERE user_id = 'li'").fetchone() == (0,)


def test_page_goes_on_when_the_server_restarts(
    database_url: str,
    writer: psycopg.Connection[Any],
    open_page: Open,
) -> None:
    move(writer, "hu-1", 121.47)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    fixed = api.settings_for(database_url, http_port=port)
    rows = "#vehicles [role=option]"
    with api.running(fixed) as server:
        page = open_page(server)
        expect(page.locator(rows)).to_have_count(1)
    expect(page.locator("#link")).to_have_text("Server out of reach, trying again …")
    expect(page.locator(rows)).to_have_count(1)
    move(writer, "hu-2", 121.471)
    with api.running(fixed):
        expect(page.locator("#link")).to_have_text("Live", timeout=30_000)
        expect(page.locator(rows)).to_have_count(2)

"""The plain page in a real browser: vehicles move, the list agrees, two languages, comes back after a restart."""

import shutil
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from fleet_api.access import passwords
from fleet_api.access.roles import Role
from fleet_core import db
from tests.services import api

pytestmark = pytest.mark.browser

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed (make test installs it when run as root)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def writer(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url) as connection:
        yield connection


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Any]:
    """Opens the page; at the end nothing may have gone elsewhere and no script may have failed."""
    context = browser.new_context(viewport={"width": 1100, "height": 700}, locale="en-GB", timezone_id="Asia/Shanghai")
    trouble: list[str] = []

    def only_loopback(route: Route) -> None:
        if urlsplit(route.request.url).hostname == "127.0.0.1":
            route.continue_()
        else:
            trouble.append(f"asked for {route.request.url}")
            route.abort()

    context.route("**/*", only_loopback)

    def opened(server: api.Server, *, signed_in: bool = True) -> Page:
        if signed_in:
            name, _, value = server.cookie.partition("=")
            context.add_cookies([{"name": name, "value": value, "url": server.http_url}])
        page = context.new_page()
        page.on("pageerror", lambda error: trouble.append(f"script failed: {error}"))
        page.on("websocket", lambda ws: "//127.0.0.1:" in ws.url or trouble.append(f"opened a socket to {ws.url}"))
        page.goto(server.http_url)
        return page

    yield opened
    context.close()
    assert trouble == []


def move(writer: psycopg.Connection[Any], vehicle_id: str, lon_deg: float, speed_kmh: float = 36.0) -> None:
    api.put_position(writer, vehicle_id, datetime.now(UTC), 31.23, lon_deg, speed_kmh=speed_kmh)
    api.ring(writer)
    writer.commit()


# The middle, in page pixels, of what is painted on the vehicles' canvas in the colour of moving vehicles.
PAINTED_AT = """() => {
  const canvas = document.getElementById("vehicles");
  const { width, height } = canvas;
  const colour = getComputedStyle(document.documentElement).getPropertyValue("--moving").trim();
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  let n = 0, x = 0;
  for (let at = 0; at < data.length; at += 4)
    if (data[at] === r && data[at + 1] === g && data[at + 2] === b && data[at + 3] === 255) {
      n++;
      x += (at / 4) % width;
    }
  return n ? x / n : null;
}"""


def test_vehicles_move_and_the_list_says_the_same(
    database_url: str, writer: psycopg.Connection[Any], open_page: Any
) -> None:
    move(writer, "hu-1", 121.47)
    api.put_position(writer, "hu-2", datetime(2026, 1, 1, tzinfo=UTC), 31.24, 121.49, speed_kmh=0.0)
    writer.commit()
    with api.running(api.settings_for(database_url)) as server:
        page = open_page(server)
        expect(page.locator("#link")).to_have_text("Live")
        rows = page.locator("#rows tr")
        expect(rows).to_have_count(2)
        expect(rows.nth(0)).to_contain_text("hu-1")
        expect(rows.nth(0)).to_contain_text("36 km/h")
        expect(rows.nth(1).get_by_role("button")).to_have_accessible_name("Show hu-2 on the map (No recent fix)")
        expect(page.locator("#n-moving")).to_have_text("1")
        expect(page.locator("#n-stale")).to_have_text("1")

        page.wait_for_function(f"() => ({PAINTED_AT})() !== null")
        before = page.evaluate(PAINTED_AT)
        move(writer, "hu-1", 121.48, speed_kmh=54.0)
        page.wait_for_function(f"() => ({PAINTED_AT})() > {before} + 20")
        expect(rows.nth(0)).to_contain_text("54 km/h")

        page.locator("#filter").fill("HU-2")
        expect(rows).to_have_count(1)
        page.locator("#filter").fill("")
        rows.nth(0).get_by_role("button").click()
        expect(rows.nth(0)).to_have_attribute("aria-current", "true")
        # Centred and zoomed in on hu-1: the other one is out of view, and the list follows the view.
        expect(page.locator("#list-title")).to_have_text("1 vehicles in view")
        page.locator("#vehicles").press("Home")
        expect(page.locator("#list-title")).to_have_text("2 vehicles in view")


def test_language_switch_and_alarm(database_url: str, writer: psycopg.Connection[Any], open_page: Any) -> None:
    move(writer, "hu-1", 121.47)
    with api.running(api.settings_for(database_url)) as server:
        page = open_page(server)
        expect(page.locator("#link")).to_have_text("Live")
        page.locator("#language").select_option("zh-CN")
        expect(page.locator("#link")).to_have_text("实时")
        expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
        expect(page.locator("#list-title")).to_have_text("视野内 1 辆车")
        api.put_alarm(writer, "hu-1", datetime(2026, 3, 1, 8, 0, tzinfo=UTC), "crash")
        api.ring(writer, "a")
        writer.commit()
        alarm = page.get_by_role("alert")
        expect(alarm).to_contain_text("碰撞 · hu-1 · 16:00:00")
        # The banner takes room from the map: the canvas follows, or shapes would be squeezed.
        page.wait_for_function(
            "() => { const c = document.getElementById('vehicles');"
            " return c.height === Math.round(c.clientHeight * devicePixelRatio); }"
        )
        alarm.get_by_role("button", name="隐藏此告警").click()
        expect(alarm).to_be_empty()
        page.reload()
        expect(page.locator("#link")).to_have_text("实时")
        page.locator("#language").select_option("en")
        expect(page.locator("#link")).to_have_text("Live")


def test_nobody_sees_anything_before_signing_in(
    database_url: str, writer: psycopg.Connection[Any], open_page: Any
) -> None:
    move(writer, "hu-1", 121.47)
    with api.running(api.settings_for(database_url)) as server:
        with db.connect(database_url, "test") as connection:
            given = passwords.hashed(api.PASSWORD)
            api.put_user(connection, "li", [Role.DISPATCHER], password_hash=given, must_change=True)
        page = open_page(server, signed_in=False)
        form = page.locator("#sign-in")
        expect(form).to_be_visible()
        expect(page.locator("main")).to_be_hidden()
        page.get_by_label("Name", exact=True).fill("li")
        page.get_by_label("Password", exact=True).fill("not the password")
        page.get_by_role("button", name="Sign in", exact=True).click()
        expect(form.get_by_role("alert")).to_have_text("Name, password or code is wrong.")
        page.locator("#language").select_option("zh-CN")
        page.get_by_label("密码", exact=True).fill(api.PASSWORD)
        page.get_by_role("button", name="登录").click()
        # The password was given by somebody else: nothing is shown until another is chosen.
        expect(page.locator("#new-password")).to_be_visible()
        expect(page.locator("main")).to_be_hidden()
        page.locator("#language").select_option("en")
        page.get_by_label("Password you were given").fill(api.PASSWORD)
        page.get_by_label("New password", exact=True).fill("correct horse battery")
        page.get_by_label("New password again").fill("correct horse battery")
        page.get_by_role("button", name="Change password").click()
        expect(page.locator("#link")).to_have_text("Live")
        expect(page.locator("#rows tr")).to_have_count(1)
        expect(page.locator("#user")).to_have_text("Li")
        page.reload()
        expect(page.locator("#rows tr")).to_have_count(1)
        page.get_by_role("button", name="Sign out").click()
        expect(form).to_be_visible()
        expect(page.locator("main")).to_be_hidden()
        assert writer.execute("SELECT count(*) FROM sessions WHERE user_id = 'li'").fetchone() == (0,)


def test_page_goes_on_when_the_server_restarts(
    database_url: str, writer: psycopg.Connection[Any], open_page: Any
) -> None:
    move(writer, "hu-1", 121.47)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    fixed = api.settings_for(database_url, http_port=port)
    with api.running(fixed) as server:
        page = open_page(server)
        expect(page.locator("#rows tr")).to_have_count(1)
    expect(page.locator("#link")).to_have_text("Server out of reach, trying again …")
    expect(page.locator("#rows tr")).to_have_count(1)
    move(writer, "hu-2", 121.471)
    with api.running(fixed):
        expect(page.locator("#link")).to_have_text("Live", timeout=30_000)
        expect(page.locator("#rows tr")).to_have_count(2)


def test_both_catalogues_have_the_same_words_and_places() -> None:
    import json
    import re

    folder = Path(__file__).resolve().parents[1] / "fleet_api" / "web" / "i18n"
    catalogues = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]
    english, chinese = catalogues
    assert english.keys() == chinese.keys()
    for key, text in english.items():
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", chinese[key])), key

"""Base maps of others: checked when read, asked for only when chosen, and drawn in their own datum."""

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from playwright.sync_api import Page, expect

from fleet_api import base_maps, guard
from fleet_core.settings import SettingsError
from tests.services import api

MAP: dict[str, Any] = {
    "id": "street",
    "name": {"zh": "街道", "en": "Streets"},
    "url": "https://tiles.example:8443/{z}/{x}/{y}.png",
    "attribution": {"zh": "某某地图", "en": "Some Maps"},
    "crs": "gcj02",
}


def written(folder: Path, *maps: dict[str, Any]) -> str:
    path = folder / "maps.json"
    path.write_text(json.dumps(maps), "utf-8")
    return str(path)


def test_no_file_means_no_maps_and_no_other_host() -> None:
    assert base_maps.load("") == []
    assert guard.security_headers(()) == guard.SECURITY_HEADERS


def test_hosts_of_pictures_are_let_in_for_pictures_alone(tmp_path: Path) -> None:
    (found,) = base_maps.load(written(tmp_path, MAP))
    assert found.origin == "https://tiles.example:8443"
    policy = dict(guard.security_headers([found.origin]))[b"content-security-policy"].decode()
    assert {part.split()[0] for part in policy.split("; ") if found.origin in part} == {"img-src", "connect-src"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"url": "https://tiles.example/{z}.png"}, "expected {z}, {x} and {y}"),
        ({"url": "ftp://tiles.example/{z}/{x}/{y}"}, "expected http"),
        ({"url": "https://a;script-src *//{z}/{x}/{y}"}, "expected http"),
        ({"crs": "utm"}, "0.crs"),
        ({"id": "a b"}, "0.id"),
        ({"attribution": {"zh": "", "en": ""}}, "0.attribution"),
        ({"more": 1}, "0.more"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=r"FLEET_BASE_MAPS") as refused:
        base_maps.load(written(tmp_path, MAP | change))
    assert told in str(refused.value)


def test_no_two_maps_have_one_id(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="two maps have one id"):
        base_maps.load(written(tmp_path, MAP, MAP))


@pytest.mark.browser
def test_what_is_drawn_moves_with_the_datum_and_what_is_asked_does_not(
    database_url: str, open_page: Callable[..., Page], tmp_path: Path
) -> None:
    lon, lat = 121.4737, 31.2304
    with psycopg.connect(database_url) as writer:
        api.put_position(writer, "hu-1", datetime.now(UTC), lat, lon)
    # Pictures come from this machine in a test; that there are none does not matter.
    maps = written(tmp_path, MAP | {"url": "http://127.0.0.1:9/{z}/{x}/{y}.png"})
    with api.running(api.settings_for(database_url, base_maps=maps)) as server:
        page = open_page(server)
        expect(page.locator("#vehicles [role=option]")).to_have_count(1)
        expect(page.locator(".attribution")).to_have_text("No base map configured")
        page.locator("#base-map").select_option("street")
        expect(page.locator(".attribution")).to_have_text("Some Maps")
        page.wait_for_function(
            "() => window.fleetward?.map.base.datum === 'gcj02' && fleetward.map.vehicles.count === 1"
        )
        # Known at People's Square: 429 m east and 217 m south.
        shown_lon, shown_lat = page.evaluate("at => fleetward.toDisplay('gcj02', ...at)", [lon, lat])
        assert (shown_lon - lon) * 111_320 * math.cos(math.radians(lat)) == pytest.approx(429, abs=5)
        assert (shown_lat - lat) * 110_900 == pytest.approx(-217, abs=5)
        assert page.evaluate("at => fleetward.toDisplay('gcj02', ...at)", [2.35, 48.85]) == [2.35, 48.85]
        for datum in ("gcj02", "bd09"):
            back = page.evaluate(
                "([datum, ...at]) => fleetward.fromDisplay(datum, ...fleetward.toDisplay(datum, ...at))",
                [datum, lon, lat],
            )
            assert back == pytest.approx([lon, lat], abs=1e-8)
        # A vehicle is drawn where the map's own pictures have it, and hit there.
        x, y = page.evaluate(
            "at => { const p = fleetward.map.map.project(at); return [p.x, p.y]; }", [shown_lon, shown_lat]
        )
        assert page.evaluate("at => fleetward.map.toScreen(...at)", [lon, lat]) == pytest.approx([x, y], abs=0.01)
        assert page.evaluate("at => fleetward.map.pick(...at)", [x, y]) is not None
        # What the server is asked for is WGS-84.
        west, south, east, north = page.evaluate("() => fleetward.map.box()")
        centre = page.evaluate("() => fleetward.map.map.getCenter().toArray()")
        assert [(west + east) / 2, (south + north) / 2] == pytest.approx(
            page.evaluate("at => fleetward.fromDisplay('gcj02', ...at)", centre), abs=2e-4
        )

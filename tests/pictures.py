"""`make pictures`: the pictures of the pages in docs/images, taken of a demo that this starts and stops."""

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Page, sync_playwright

from fleet_core.embedded import service
from tests.services import api
from tests.services.console import ARGUMENTS

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
SIZE = {"width": 1280, "height": 800}
VEHICLES = 60
WAIT_S = 60.0
# So that the map has driven a while, and vehicles have a trail.
DRIVE_S = 40.0
SETTLE_S = 8.0
FLEET = (sys.executable, "-m", "fleet_core.cli")


def answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/api/health").status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def demo(folder: Path) -> Iterator[str]:
    """`fleet up` on free ports. Yields the address of the pages."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    options = ["--http-port", str(port), "--mqtt-port", "0", "--vehicles", str(VEHICLES)]
    up = subprocess.Popen([*FLEET, "up", "--data", folder, *options])
    try:
        service.wait_until(lambda: answers(address), up, WAIT_S, "the demo")
        yield address
    finally:
        up.terminate()
        up.wait(60)


def dress(client: httpx.Client) -> None:
    """Plates, and somebody to call."""
    for vehicle in client.get("/api/vehicles", params={"limit": 500}).json()["vehicles"]:
        number = int("".join(filter(str.isdigit, vehicle["vehicle_id"])) or 0)
        edit = {"revision": vehicle["revision"], "plate": f"沪A{10_000 + 37 * number % 90_000}"}
        client.patch(f"/api/vehicles/{vehicle['vehicle_id']}", json=edit)
    roles = [role["role"] for role in client.get("/api/response/policy").json()["policy"]["roles"]]
    hook = {"kind": "webhook", "url": "http://127.0.0.1:9/notices", "secret": "only-for-pictures"}
    for person_id, name, held in (("li", "Li Na 李娜", roles[:5]), ("wang", "Wang Wei 王伟", roles[1:])):
        body = {"person_id": person_id, "name": name, "roles": held, "language": "zh-CN", "channels": [hook]}
        client.post("/api/people", json=body).raise_for_status()


def simulate(folder: Path, *scenario: str) -> None:
    arguments = [*FLEET, "simulate", *scenario, "--vehicles", "1", "--speed", "0", "--data", str(folder)]
    subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)


def take(page: Page, name: str, path: str = "/") -> None:
    page.goto(path)
    page.locator("#link[data-state='live']").wait_for()
    page.wait_for_timeout(SETTLE_S * 1000)
    page.screenshot(path=IMAGES / f"{name}.png")


def database_of(folder: Path) -> str:
    told = subprocess.run([*FLEET, "status", "--data", folder, "--json"], check=True, capture_output=True)
    dsn: str = json.loads(told.stdout)["database_dsn"]
    return dsn


def take_all(address: str, client: httpx.Client, cookie: str) -> None:
    incidents: list[dict[str, Any]] = client.get("/api/incidents").json()["incidents"]
    crash = next(one["incident_id"] for one in incidents if one["kind"] == "crash")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        for locale, theme, names in (
            (
                "en-GB",
                "light",
                {"live-map": "/", "incident": f"/incidents/{crash}", "administration": "/administration"},
            ),
            ("zh-CN", "dark", {"live-map-night": "/", "statistics": "/incidents/statistics"}),
        ):
            context = browser.new_context(
                base_url=address,
                viewport=SIZE,
                locale=locale,
                color_scheme=theme,
                timezone_id="Asia/Shanghai",  # type: ignore[arg-type]
            )
            name, _, value = cookie.partition("=")
            context.add_cookies([{"name": name, "value": value, "url": address}])
            page = context.new_page()
            page.route(
                "**/*", lambda route: route.continue_() if route.request.url.startswith(address) else route.abort()
            )
            for picture_name, path in names.items():
                take(page, picture_name, path)
            context.close()
        browser.close()


def picture(folder: Path) -> None:
    with demo(folder) as address, httpx.Client(base_url=address, timeout=30) as client:
        database_url = database_of(folder)
        client.headers = api.headers_of(database_url, api.USER, list(api.USER_ROLES))
        cookie = api.session_of(database_url, api.USER, list(api.USER_ROLES))["Cookie"]
        time.sleep(DRIVE_S)
        dress(client)
        simulate(folder, "frontal_crash", "--id-prefix", "hu-a")
        simulate(folder, "parked_struck", "--drill")
        time.sleep(SETTLE_S)
        take_all(address, client, cookie)


def main() -> None:
    """Take all of them."""
    with tempfile.TemporaryDirectory() as name:
        # The embedded database may run as another user, who must be able to pass.
        Path(name).chmod(0o755)
        picture(Path(name) / "data")


if __name__ == "__main__":
    main()

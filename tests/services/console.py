"""The console in a real Chromium. Nothing may leave this machine, and no script may fail."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route, sync_playwright

from fleet_api.pages import WEB
from tests.services import api

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


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed (make test installs it when run as root)")
    assert (WEB / "index.html").is_file(), "the pages are not built: make pages"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def watched(browser: Browser, **context_options: Any) -> Iterator[Callable[..., Page]]:
    """Opens pages of a server; at the end nothing may have gone elsewhere and no script may have failed."""
    options = {"viewport": {"width": 1100, "height": 700}, "locale": "en-GB", "timezone_id": "Asia/Shanghai"}
    context = browser.new_context(**(options | context_options))
    trouble: list[str] = []

    def only_loopback(route: Route) -> None:
        if urlsplit(route.request.url).hostname == "127.0.0.1":
            route.continue_()
        else:
            trouble.append(f"asked for {route.request.url}")
            route.abort()

    context.route("**/*", only_loopback)

    def opened(server: api.Server, path: str = "/", *, signed_in: bool = True) -> Page:
        if signed_in:
            name, _, value = server.cookie.partition("=")
            context.add_cookies([{"name": name, "value": value, "url": server.http_url}])
        page = context.new_page()
        page.on("pageerror", lambda error: trouble.append(f"script failed: {error}"))
        page.on("console", lambda said: "Content Security" in said.text and trouble.append(said.text))
        page.on("websocket", lambda ws: "//127.0.0.1:" in ws.url or trouble.append(f"opened a socket to {ws.url}"))
        page.goto(server.http_url + path)
        return page

    try:
        yield opened
    finally:
        context.close()
    assert trouble == []


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    with watched(browser) as opened:
        yield opened

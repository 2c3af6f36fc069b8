"""The pages: built from web/ into fleet_api/web, which is not kept in the repository but shipped in the wheel."""

from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from fastapi.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from fleet_api import problems
from fleet_api.access import admission

WEB: Final = Path(str(files("fleet_api"))) / "web"
# Addresses that the pages' own router knows. Each is answered with the one document that there is.
ADDRESSES: Final = ("/", "/sign-in", "/incidents", "/incidents/{rest:path}", "/administration")


class _Files(StaticFiles):
    def __init__(self, directory: Path, cache_control: str) -> None:
        super().__init__(directory=directory, check_dir=False)
        self._cache_control = cache_control

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """The file, and how long a browser may keep it."""
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = self._cache_control
        return response


def install_pages(app: FastAPI) -> None:
    """Serve the document at the pages' addresses, everything else that was built under /web."""

    def document() -> Response:
        index = WEB / "index.html"
        if not index.is_file():
            return problems.response(404, "The pages are not built; build them with: make pages.")
        return FileResponse(index, headers={"Cache-Control": "no-cache"})

    for address in ADDRESSES:
        app.get(address, include_in_schema=False, dependencies=[admission.PUBLIC])(document)
    # Names with a hash of their content in them never change; the others are asked for again each time.
    app.mount("/web/assets", _Files(WEB / "assets", "public, max-age=31536000, immutable"), name="assets")
    app.mount("/web", _Files(WEB, "no-cache"), name="web")

"""Hatch's build hook: a wheel without the built pages is an error, an editable installation builds them later."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PagesHook(BuildHookInterface):
    """See the module."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Refuse a wheel that would have no pages."""
        if version != "editable" and not (Path(self.root) / "fleet_api" / "web" / "index.html").is_file():
            raise RuntimeError("fleet_api/web/index.html is missing: build the pages first, with make pages")

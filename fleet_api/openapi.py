"""`python -m fleet_api.openapi` writes the API's OpenAPI document to standard output: the pages' types come from it."""

import json
import sys

from fleet_api.app import create_app
from fleet_core.settings import Settings


def document() -> str:
    """The document as JSON. Needs no database."""
    # Never connected to: it is only that an application without an address cannot be made.
    app = create_app(Settings(database_url="postgresql://nobody@127.0.0.1:1/none"))
    return json.dumps(app.openapi(), ensure_ascii=False, indent=1, sort_keys=True)


if __name__ == "__main__":
    sys.stdout.write(document() + "\n")

"""Fresh, migrated databases, cloned from a template so that each test may have its own."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import psycopg

from fleet_core import db, migrate, storage_layout
from fleet_core.settings import Settings

TEMPLATE = "fleet_template"
_number = itertools.count(1)


class Server(Protocol):
    """A PostgreSQL server of which we are the administrator."""

    def url_of(self, database: str) -> str: ...


def make_template(server: Server, name: str = TEMPLATE) -> str:
    """Create and migrate the template. Returns the sentence about its storage."""
    with psycopg.connect(server.url_of("postgres"), autocommit=True) as administrator:
        administrator.execute(f"DROP DATABASE IF EXISTS {name}")
        administrator.execute(f"CREATE DATABASE {name}")
    with db.connect(server.url_of(name), "test-template") as connection:
        migrate.migrate(connection)
        return storage_layout.arrange(connection, Settings())


@contextmanager
def fresh_database(server: Server, template: str = TEMPLATE) -> Iterator[str]:
    """URL of a copy of `template`, dropped afterwards whoever is still connected."""
    name = f"test_{next(_number)}"
    with psycopg.connect(server.url_of("postgres"), autocommit=True) as administrator:
        # Compressing the pages that are copied is most of the work.
        administrator.execute("SET wal_compression = off")
        administrator.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield server.url_of(name)
    finally:
        with psycopg.connect(server.url_of("postgres"), autocommit=True) as administrator:
            administrator.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


Maker = Callable[[], str]

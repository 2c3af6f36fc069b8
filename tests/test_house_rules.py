"""Rules of the house that a reader cannot be trusted to notice, held over the syntax tree and the database.

Each rule is a function from source text to complaints, and each is shown to complain before it is believed.
"""

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import psycopg
import pytest

from fleet_core import processes, sql
from fleet_core.cli import BENCHES, COMMANDS

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("fleet_core", "maintenance", "incidents", "ingest", "fleet_api", "simulators", "benchmarks")

# Which of our packages each may import besides itself. Nobody imports ingest, fleet_api or simulators: they are started
# as processes. Benchmarks, like tests, stand outside the house and measure it.
MAY_IMPORT: dict[str, set[str]] = {
    "fleet_core": set(),
    "maintenance": {"fleet_core"},
    "incidents": {"fleet_core", "maintenance"},
    "ingest": {"fleet_core", "maintenance", "incidents"},
    "fleet_api": {"fleet_core", "maintenance", "incidents"},
    "simulators": {"fleet_core"},
    "benchmarks": {"fleet_core", "maintenance", "incidents", "ingest", "fleet_api", "simulators"},
}
# Simulators know topics and payloads, never the store: they must not share our mistakes.
SIMULATORS_MAY_NOT = ("db", "sql", "migrate", "storage_layout", "retention")
# Only the pipeline of ingest reaches into incidents and maintenance: the file that lists its stages, and those that run
# recorded messages through decoding and detectors without a store.
REACHES_UP = {"ingest/pipeline.py", "ingest/dry_run.py", "ingest/detect_command.py"}

PAHO_LIVES_IN = ("ingest/source.py", "simulators/", "benchmarks/")
# The ingest loop, a worker's tick, a request, a command: nothing else decides that work is done.
MAY_COMMIT = {
    "ingest/writer.py": "the ingest loop",
    "ingest/pipeline.py": "the ingest loop",
    "incidents/worker.py": "the incidents worker's tick",
    "fleet_api/commands.py": "a command",
    "fleet_api/access/commands.py": "a command",
    "ingest/commands.py": "a command",
    "fleet_api/pool.py": "a request",
    "fleet_core/migrate.py": "the migration command",
    "fleet_core/storage_layout.py": "the migration command",
    # A read-only snapshot of several statements: ends, never writes.
    "fleet_api/live.py": "the live channel's reads",
    "benchmarks/": "a benchmark",
}
# What ASGI calls has to be async; everything that decides or reads the store is not, but for the live channel.
MAY_BE_ASYNC = {
    "fleet_api/live.py",
    "fleet_api/live_client.py",
    "fleet_api/live_wire.py",
    "fleet_api/app.py",
    "fleet_api/guard.py",
    "fleet_api/serve.py",
}
PURE_FOLDERS = ("incidents/detectors/", "maintenance/rules/")
IMPURE_MODULES = {
    "random", "secrets", "uuid", "time", "os", "io", "pathlib", "socket", "subprocess", "threading", "urllib", "http",
    "logging", "psycopg", "paho", "requests", "httpx", "shutil", "tempfile", "asyncio",
}  # fmt: skip
IMPURE_KERNEL = {"clock", "db", "sql", "settings", "logs", "lifetime", "embedded"}
IMPURE_CALLS = {"now", "utcnow", "today", "open", "print", "input", "default_rng", "seed"}
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "data", "misc"}
MAX_LINES = 400

SOURCES = {
    path.relative_to(REPOSITORY).as_posix(): path.read_text(encoding="utf-8")
    for package in PACKAGES
    for path in sorted((REPOSITORY / package).rglob("*.py"))
}
SQL_FILES = [
    path.relative_to(REPOSITORY).as_posix()
    for package in PACKAGES
    for path in sorted((REPOSITORY / package).rglob("*.sql"))
    if path.parent.name != "migrations"
]
# Only with TimescaleDB is there such a function.
TIMESCALE_ONLY = {"drop_old_chunks"}

Rule = Callable[[str, str], list[str]]


def imported(source: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything imported; `from a.b import c` is a.b.c."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def arrows(path: str, source: str) -> list[str]:
    own = path.split("/", maxsplit=1)[0]
    found = []
    for line, name in imported(source):
        parts = name.split(".")
        if parts[0] in MAY_IMPORT and parts[0] != own:
            if parts[0] not in MAY_IMPORT[own]:
                found.append(f"{path}:{line}: {own} must not import {parts[0]}")
            elif own == "simulators" and parts[1] in SIMULATORS_MAY_NOT:
                found.append(f"{path}:{line}: simulators know only topics and payloads, not {name}")
            elif own == "ingest" and parts[0] in ("incidents", "maintenance") and path not in REACHES_UP:
                found.append(f"{path}:{line}: only the pipeline of ingest imports {parts[0]}")
    return found


def paho_in_its_place(path: str, source: str) -> list[str]:
    if path.startswith(PAHO_LIVES_IN):
        return []
    return [f"{path}:{line}: paho is imported" for line, name in imported(source) if name.split(".")[0] == "paho"]


def outermost_commits(path: str, source: str) -> list[str]:
    if path.startswith(tuple(MAY_COMMIT)):
        return []
    return [
        f"{path}:{node.lineno}: .{node.func.attr}() outside the outermost callers"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and (
            node.func.attr == "commit"
            # On a connection it commits at its end; the pool's hands out a request's connection.
            or (node.func.attr == "transaction" and not _is_pool(node.func.value))
        )
    ]


def _is_pool(value: ast.expr) -> bool:
    return isinstance(value, ast.Name) and value.id == "pool"


def synchronous(path: str, source: str) -> list[str]:
    if path in MAY_BE_ASYNC:
        return []
    return [
        f"{path}:{node.lineno}: async code"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.AsyncFunctionDef | ast.AsyncWith | ast.AsyncFor | ast.Await)
    ]


def pure(path: str, source: str) -> list[str]:
    if not path.startswith(PURE_FOLDERS):
        return []
    found = [
        f"{path}:{line}: {name} has no place in a pure rule"
        for line, name in imported(source)
        if name.split(".")[0] in IMPURE_MODULES
        or (name.split(".")[0] == "fleet_core" and name.split(".")[1] in IMPURE_KERNEL)
        or name.startswith("numpy.random")
    ]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in IMPURE_CALLS:
                found.append(f"{path}:{node.lineno}: {called}() has no place in a pure rule")
        elif isinstance(node, ast.Attribute) and node.attr == "random":
            found.append(f"{path}:{node.lineno}: randomness has no place in a pure rule")
    return found


def sized_and_named(path: str, source: str) -> list[str]:
    found = []
    if Path(path).stem in FORBIDDEN_NAMES:
        found.append(f"{path}: a file named after everything")
    lines = len(source.splitlines())
    if lines > MAX_LINES:
        found.append(f"{path}: {lines} lines, more than {MAX_LINES}")
    return found


RULES: dict[str, tuple[Rule, list[tuple[str, str]]]] = {
    "arrows": (
        arrows,
        [
            ("fleet_core/x.py", "import ingest.store"),
            ("fleet_core/x.py", "def f():\n    from incidents import worker"),
            ("incidents/x.py", "from fleet_api.queries import y"),
            ("maintenance/x.py", "import incidents"),
            ("fleet_api/x.py", "from ingest import store"),
            ("ingest/store.py", "from incidents import detectors"),
            ("simulators/x.py", "from fleet_core import db"),
            ("simulators/x.py", "from fleet_core.sql import load"),
            ("ingest/x.py", "import benchmarks"),
        ],
    ),
    "paho": (
        paho_in_its_place,
        [("ingest/writer.py", "from paho.mqtt.client import Client"), ("a/x.py", "import paho")],
    ),
    "commits": (
        outermost_commits,
        [
            ("ingest/queries.py", "connection.commit()"),
            ("incidents/queries.py", "with connection.transaction():\n    pass"),
        ],
    ),
    "synchronous": (synchronous, [("ingest/x.py", "async def f():\n    pass")]),
    "pure": (
        pure,
        [
            ("incidents/detectors/x.py", "import time"),
            ("incidents/detectors/x.py", "from datetime import datetime\ndatetime.now()"),
            ("incidents/detectors/x.py", "from fleet_core import clock"),
            ("incidents/detectors/x.py", "import numpy as np\nnp.random.rand()"),
            ("incidents/detectors/x.py", "import logging"),
            ("maintenance/rules/x.py", "open('f')"),
            ("maintenance/rules/x.py", "from numpy.random import default_rng"),
        ],
    ),
    "size and name": (sized_and_named, [("ingest/utils.py", ""), ("ingest/x.py", "x = 1\n" * (MAX_LINES + 1))]),
}


@pytest.mark.parametrize("name", RULES)
def test_the_house_keeps_the_rule(name: str) -> None:
    rule, _ = RULES[name]
    complaints = [complaint for path, source in SOURCES.items() for complaint in rule(path, source)]
    assert not complaints, "\n" + "\n".join(complaints)


@pytest.mark.parametrize("name", RULES)
def test_the_rule_notices(name: str) -> None:
    rule, bad = RULES[name]
    for path, source in bad:
        assert rule(path, source), f"{source!r} in {path} went unnoticed"


@pytest.mark.parametrize(
    ("rule", "exceptions"),
    [(outermost_commits, MAY_COMMIT), (paho_in_its_place, PAHO_LIVES_IN), (synchronous, MAY_BE_ASYNC)],
)
def test_exceptions_are_still_needed(rule: Rule, exceptions: Iterable[str]) -> None:
    for exception in exceptions:
        sources = [source for path, source in SOURCES.items() if path.startswith(exception)]
        assert any(rule("elsewhere.py", source) for source in sources), f"{exception} needs no exception any more"


def test_what_is_named_by_string_exists() -> None:
    """Processes and commands are named by string, so that nothing is imported early; a typo would only show in use."""
    named = [*COMMANDS.values(), *BENCHES.values(), *(process.entry for process in processes.PROCESSES)]
    for reference in named:
        module, _, attribute = reference.partition(":")
        path = f"{module.replace('.', '/')}.py"
        assert path in SOURCES, f"{reference}: there is no {path}"
        tree = ast.parse(SOURCES[path])
        defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert attribute in defined, f"{reference} is not defined"


@pytest.mark.parametrize("path", SQL_FILES)
def test_every_block_is_used(path: str) -> None:
    package = path.split("/", maxsplit=1)[0]
    text = (REPOSITORY / path).read_text(encoding="utf-8")
    strings = {
        node.value
        for source_path, source in SOURCES.items()
        if source_path.startswith(f"{package}/")
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    unused = set(sql.parse(text, path)) - strings
    assert not unused, f"{path}: no code names {sorted(unused)}"


@pytest.mark.parametrize("path", SQL_FILES)
def test_every_block_prepares(path: str, database_url: str) -> None:
    """The server parses each statement against the migrated schema: names, columns and types."""
    _prepare_all(path, database_url, skip=TIMESCALE_ONLY)


@pytest.mark.parametrize("path", SQL_FILES)
def test_every_block_prepares_on_timescale(path: str, timescale_database_url: str) -> None:
    _prepare_all(path, timescale_database_url, skip=set())


def _prepare_all(path: str, url: str, skip: set[str]) -> None:
    blocks = sql.parse((REPOSITORY / path).read_text(encoding="utf-8"), path)
    with psycopg.connect(url) as connection:
        for name, statement in blocks.items():
            if name in skip:
                continue
            try:
                if re.match(r"(SELECT|INSERT|UPDATE|DELETE|MERGE|WITH|VALUES)\b", statement.lstrip(), re.IGNORECASE):
                    connection.execute(f"PREPARE house AS {_numbered(statement)}".encode())
                    connection.execute("DEALLOCATE house")
                else:
                    # CREATE TEMPORARY TABLE and the like cannot be prepared; later blocks need what they make.
                    connection.execute(_numbered(statement).encode())
            except psycopg.Error as error:
                raise AssertionError(f"{path}: block {name}: {error}") from None
        connection.rollback()


def _numbered(statement: str) -> str:
    """Placeholders of psycopg as those of the server."""
    names: list[str] = []

    def number(match: re.Match[str]) -> str:
        if match.group(0) == "%%":
            return "%"
        name = match.group(1)
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return re.sub(r"%%|%\((\w+)\)[sbt]", number, statement)

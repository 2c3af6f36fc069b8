"""The `fleet` command. Each subcommand lives in the package it belongs to and is imported only when it is called."""

import importlib
import os
import sys
import threading
from typing import Any, Final

import click
import psycopg

from fleet_core import db, logs, settings, topics
from fleet_core.settings import Settings

# name -> module:attribute of a click command. Strings, so that the kernel imports nothing above it.
COMMANDS: Final[dict[str, str]] = {
    "up": "fleet_core.embedded.commands:up",
    "run": "fleet_core.cli:run_process",
    "status": "fleet_core.embedded.commands:status",
    "migrate": "fleet_core.cli:migrate_database",
    "device": "fleet_api.commands:device",
    "user": "fleet_api.access.commands:user",
    "depot": "fleet_api.access.commands:depot",
    "token": "fleet_api.access.commands:token",
    "dlq": "ingest.commands:dlq",
    "decode": "ingest.commands:decode",
    "detect": "ingest.detect_command:detect",
    "simulate": "simulators.commands:simulate",
    "replay": "simulators.replay_command:replay",
    "score": "benchmarks.score:score",
    "bench": "fleet_core.cli:bench",
}

BENCHES: Final[dict[str, str]] = {
    "ingest": "benchmarks.ingest:bench",
    "live": "benchmarks.live:bench",
    "detect": "benchmarks.detect:bench",
}


class Refusal(click.ClickException):
    """An expected failure: one sentence on standard error and a non-zero exit."""


def load(reference: str) -> Any:
    """Import `module:attribute`."""
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)


class LazyGroup(click.Group):
    """A group whose commands are imported on use, so that `fleet status` does not load NumPy."""

    def __init__(self, table: dict[str, str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        reference = self._table.get(cmd_name)
        if reference is None:
            return None
        command = load(reference)
        assert isinstance(command, click.Command)
        return command


@click.group(
    cls=LazyGroup, table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="fleetward", prog_name="fleet")
def fleet() -> None:
    """Fleetward: vehicle data in, incidents answered by level, provable later."""


@click.command("run")
@click.argument("name", metavar="PROCESS")
def run_process(name: str) -> None:
    """Run one process (ingest, incidents, maintenance, api) against the configured services."""
    from fleet_core import lifetime, processes  # noqa: PLC0415  only this command needs them

    process = processes.BY_NAME.get(name)
    if process is None:
        raise Refusal(f"there is no process {name!r}: choose one of {', '.join(processes.BY_NAME)}")
    configured = settings.from_process()
    logs.configure(configured.log_level)
    entry: Any = load(process.entry)
    stop: threading.Event = lifetime.stop_event()
    entry(configured, stop)


@click.command("migrate")
def migrate_database() -> None:
    """Bring the database to this release's schema."""
    from fleet_core import migrate, storage_layout  # noqa: PLC0415

    configured: Settings = settings.from_process()
    configured.require("database_url")
    with db.connect(configured.database_url, "migrate") as connection:
        for name in migrate.migrate(connection):
            click.echo(f"applied {name}")
        click.echo(f"storage: {storage_layout.arrange(connection, configured)}")


@click.group(cls=LazyGroup, table=BENCHES)
def bench() -> None:
    """Speed, as ratios measured in one run."""


def main() -> None:
    """Entry point: expected failures become one clear sentence and a non-zero exit."""
    try:
        fleet(standalone_mode=True)
    except (settings.SettingsError, db.DatabaseUnusableError, topics.TopicError) as error:
        _fail(str(error))
    except psycopg.OperationalError as error:
        reason = " ".join(str(error).split())
        _fail(f"the database cannot be reached: {reason}")
    except BrokenPipeError:
        # The reader of our output (head, less) went away: not an error of ours, and nothing more to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _fail(sentence: str) -> None:
    click.echo(f"Error: {sentence}", err=True)
    sys.exit(1)


if __name__ == "__main__":
    main()

"""What runs on a data directory: a lock that dies with its holder, and a file that says what runs."""

import fcntl
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any


@dataclass(frozen=True, slots=True)
class ProcessState:
    """One process of the supervisor: `running`, `restarting` or `stopped`; no pid unless it runs."""

    pid: int | None
    state: str


@dataclass(frozen=True, slots=True)
class State:
    """What a running `fleet up` says about itself. The URLs carry a local administrator's credentials."""

    pid: int
    database_dsn: str
    mqtt_url: str
    http_url: str
    processes: dict[str, ProcessState] = field(default_factory=dict)

    def public(self) -> dict[str, Any]:
        """The object `fleet status --json` prints."""
        whole = asdict(self)
        del whole["pid"]
        return whole


def take(data_dir: Path) -> IO[str] | None:
    """Take the data directory, or None when another process holds it. Held until closed or this process ends.

    Raises OSError for a folder that cannot be made or written.
    """
    # Others may pass through, not list: the database's user needs to.
    data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
    lock = (data_dir / "fleet.lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return None
    return lock


def write(data_dir: Path, state: State) -> None:
    """Replace the state file, readable by its owner alone."""
    fresh = data_dir / "state.json.new"
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(asdict(state), file)
    fresh.replace(data_dir / "state.json")


def forget(data_dir: Path) -> None:
    """Remove the state file."""
    (data_dir / "state.json").unlink(missing_ok=True)


def read(data_dir: Path) -> State | None:
    """State of the supervisor that runs on `data_dir`, or None when none does.

    Raises PermissionError when it belongs to another user.
    """
    if not (data_dir / "fleet.lock").exists():
        return None
    # A state file alone proves nothing after a kill: the lock does.
    with (data_dir / "fleet.lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            pass
        else:
            return None
    try:
        raw = json.loads((data_dir / "state.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    processes = {name: ProcessState(**item) for name, item in raw.pop("processes").items()}
    return State(**raw, processes=processes)

"""Keeps a list of children running: starts them in order, starts again what dies, stops all in the reverse order."""

import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

from fleet_core.embedded import tether
from fleet_core.embedded.output import BoundedLog, Pump, Terminal
from fleet_core.embedded.restarts import Restarts
from fleet_core.embedded.service import EmbeddedServiceError
from fleet_core.embedded.state import ProcessState

_log = logging.getLogger("fleet.up")

_STOP_WITHIN_S: Final = 15.0
_LOOK_EVERY_S: Final = 0.2


class Child(Protocol):
    """Something that is started, watched and stopped: a process of ours, the broker, the database."""

    @property
    def pid(self) -> int | None: ...
    def start(self, output: tether.Output = None) -> None: ...
    def poll(self) -> int | None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...


class Command:
    """A `fleet` command as a child process."""

    def __init__(self, arguments: list[str], environ: Mapping[str, str]) -> None:
        self._arguments = [sys.executable, "-m", "fleet_core.cli", *arguments]
        self._environ = environ
        self._process: tether.Process | None = None

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self, output: tether.Output = None) -> None:
        """Start it; killed when we are, which it must survive by design."""
        self._process = tether.spawn(self._arguments, death_signal=signal.SIGKILL, environ=self._environ, output=output)

    def poll(self) -> int | None:
        """Exit code, None while it runs."""
        return None if self._process is None else self._process.poll()

    def ask_to_stop(self) -> None:
        """Send SIGTERM."""
        if self.pid is not None and self._process is not None:
            self._process.terminate()

    def stop(self) -> None:
        """Send SIGTERM and wait; SIGKILL when it does not listen."""
        self.ask_to_stop()
        if self._process is None:
            return
        try:
            self._process.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            _log.warning("process %d did not stop within %.0f s and is killed", self._process.pid, _STOP_WITHIN_S)
            self.kill()

    def kill(self) -> None:
        """Send SIGKILL."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(5.0)


class Watched:
    """A child with its output, its back-off and its state."""

    def __init__(self, name: str, child: Child, pump: Pump, *, may_finish: bool) -> None:
        self.name = name
        self.child = child
        self.pump = pump
        # Exit code 0 of such a child means done, not dead.
        self.may_finish = may_finish
        self.restarts = Restarts()
        self.start_at_s: float | None = None
        self.state = "stopped"

    def start(self) -> None:
        """Start the child. Raises EmbeddedServiceError when a service cannot be started."""
        self.child.start(self.pump.write_end)
        self.restarts.started(time.monotonic())
        self.start_at_s = None
        self.state = "running"

    @property
    def public(self) -> ProcessState:
        """For the state file."""
        return ProcessState(self.child.pid, self.state)


class Supervisor:
    """Children in the order they need each other. All methods belong to one thread."""

    def __init__(self, logs: Path, terminal: Terminal, on_change: Callable[[dict[str, ProcessState]], None]) -> None:
        self._logs = logs
        self._terminal = terminal
        self._on_change = on_change
        self._watched: list[Watched] = []

    def add(self, name: str, child: Child, *, may_finish: bool = False) -> None:
        """Start `child` and keep it running from now on. Raises EmbeddedServiceError."""
        pump = Pump(name, BoundedLog(self._logs / f"{name}.log"), self._terminal)
        watched = Watched(name, child, pump, may_finish=may_finish)
        self._watched.append(watched)
        watched.start()
        self.publish()

    def publish(self) -> None:
        """Tell the outside what runs."""
        self._on_change({watched.name: watched.public for watched in self._watched})

    def has_died(self, name: str) -> bool:
        """Whether the child of this name is not running now."""
        return any(watched.name == name and watched.child.poll() is not None for watched in self._watched)

    def run(self, stop: threading.Event) -> None:
        """Watch until `stop` is set."""
        while not stop.wait(_LOOK_EVERY_S):
            self.look(time.monotonic())

    def look(self, now_s: float) -> None:
        """One round: note who died, start whose time has come. `now_s` is of the monotonic clock."""
        changed = False
        for watched in self._watched:
            changed |= self._look_at(watched, now_s)
        if changed:
            self.publish()

    def _look_at(self, watched: Watched, now_s: float) -> bool:
        if watched.state == "running":
            code = watched.child.poll()
            if code is None:
                return False
            if code == 0 and watched.may_finish:
                watched.state = "stopped"
                self._terminal.line(watched.name, "finished")
                return True
            watched.state = "restarting"
            watched.start_at_s = watched.restarts.died(now_s)
            ended = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
            self._terminal.line(watched.name, f"{ended}; starting again in {watched.start_at_s - now_s:.1f} s")
            return True
        if watched.state == "restarting" and watched.start_at_s is not None and now_s >= watched.start_at_s:
            try:
                watched.start()
            except EmbeddedServiceError as error:
                watched.start_at_s = watched.restarts.died(time.monotonic())
                self._terminal.line(watched.name, str(error))
            return True
        return False

    def stop(self, hurry: threading.Event) -> None:
        """Stop all: first our processes, all at once, then broker and database. `hurry` turns asking into killing."""
        # All get the signal at once: each may need its seconds.
        for watched in self._watched:
            if isinstance(watched.child, Command):
                watched.child.ask_to_stop()
        deadline = time.monotonic() + _STOP_WITHIN_S
        commands = [watched for watched in self._watched if isinstance(watched.child, Command)]
        while any(watched.child.pid is not None for watched in commands):
            if hurry.is_set() or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        for watched in reversed(self._watched):
            if isinstance(watched.child, Command):
                if watched.child.pid is not None:
                    self._terminal.line(watched.name, "did not stop in time and is killed")
                watched.child.kill()
            elif hurry.is_set():
                watched.child.kill()
            else:
                watched.child.stop()
            watched.state = "stopped"
            watched.pump.finish()

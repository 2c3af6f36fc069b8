"""One client of the live channel: what is pending for it; and the door-bell that says when to read."""

import asyncio
import contextlib
from collections import deque
from typing import Final

import numpy as np
from fastapi import WebSocket

from fleet_api import live_frames, live_wire
from fleet_api.live_state import Depots, FleetState, Sent
from fleet_api.live_wire import LiveWire

MAX_PENDING_TEXTS: Final = 500


class DoorBell:
    """Which reads were asked for since the last look: `v`ehicles, `a`larms, `i`ncidents, positions (``)."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()
        self._reasons: set[str] = set()

    def ring(self, payload: str) -> None:
        """Note a notification; an unknown payload asks for positions."""
        self._reasons.add(payload if payload in ("a", "i", "v") else "")
        self._rung.set()

    async def wait(self, seconds: float) -> set[str]:
        """What was asked for, at once when something was, after `seconds` at the latest."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._rung.wait(), max(0.0, seconds))
        self._rung.clear()
        reasons, self._reasons = self._reasons, set()
        return reasons


class Client:
    """What is pending for one client, who is shown the vehicles of `depots`."""

    def __init__(self, socket: WebSocket, depots: Depots = None) -> None:
        self.socket = socket
        self.depots = depots
        self.wire: LiveWire | None = socket.scope.get("extensions", {}).get(live_wire.EXTENSION)
        self.wake = asyncio.Event()
        self.texts: deque[str] = deque()
        self.box: live_frames.Box | None = None
        self.sent: Sent | None = None
        # Revision up to which was looked for news: it goes on while `sent` waits for something in the box to change.
        self.looked_at = 0
        self.state: FleetState | None = None
        self.named = np.zeros(0, dtype=np.bool_)

    def tell(self, text: str) -> None:
        """Queue a text; a client that leaves too many unread is cut off, since none may be dropped silently."""
        if len(self.texts) < MAX_PENDING_TEXTS:
            self.texts.append(text)
        elif self.wire is not None:
            self.wire.cut_off("too slow: alarms were not read")
        self.wake.set()

"""The live channel, `/api/live`: the only asynchronous code, because it holds many sockets that mostly wait.

One feed reads the database and keeps the positions of all vehicles; each client has one task that sends. NOTIFY is only
the door-bell, the tables are the truth. Nothing is queued for a client but alarms: what it gets next is worked out when
it can take it, from where it stands, so a slow client skips and never lags, and a stuck one is cut off (live_wire.py).
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final, Literal

import numpy as np
import psycopg
from fastapi import Depends, FastAPI, WebSocket, WebSocketDisconnect
from psycopg import IsolationLevel
from starlette.concurrency import run_in_threadpool

from fleet_api import live_frames, live_source
from fleet_api.access.admission import Answer, LiveAdmission
from fleet_api.access.principal import Declaration, Denial, Principal
from fleet_api.access.roles import WATCHERS, Scope
from fleet_api.live_client import Client, DoorBell
from fleet_api.live_source import SQL
from fleet_api.live_state import Depots, FleetState
from fleet_core import clock
from incidents import cases

log = logging.getLogger("fleet.api.live")

AsyncConnection = psycopg.AsyncConnection[tuple[Any, ...]]

CHANNEL: Final = "fleet_live"
MAX_CLIENTS: Final = 500
POLL_SECONDS: Final = 1.0
MIN_READ_SECONDS: Final = 0.2
MIN_FRAME_SECONDS: Final = 0.1
HEARTBEAT_SECONDS: Final = 5.0
READ_TIMEOUT_SECONDS: Final = 10.0
FIRST_BACKOFF_SECONDS: Final = 0.25
MAX_BACKOFF_SECONDS: Final = 5.0

TRY_LATER: Final = 1013
BAD_MESSAGE: Final = 1008
SIGN_IN: Final = 4401
NOT_ALLOWED: Final = 4403
# How long an ended session, or a right that was taken away, may still be watched with.
LOOK_AGAIN_SECONDS: Final = 30.0

ADMISSION: Final = LiveAdmission(Declaration(frozenset(WATCHERS), Scope.READ))


class LiveHub:
    """The feed and its clients."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._state = FleetState()
        self._clients: set[Client] = set()
        self._retired: frozenset[str] = frozenset()
        self._seen_positions: str | None = None
        self._seen_alarms: str | None = None
        self._seen_incidents: str | None = None
        self.slow_clients_cut = 0
        self.state: Literal["starting", "live", "lost"] = "starting"

    @property
    def vehicle_count(self) -> int:
        """Vehicles with a position."""
        return self._state.count

    @property
    def client_count(self) -> int:
        """Open live connections."""
        return len(self._clients)

    @property
    def revision(self) -> int:
        """Revision of the newest change."""
        return self._state.revision

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the feed while the block runs."""
        feed = asyncio.create_task(self._feed(), name="live-feed")
        try:
            yield
        finally:
            feed.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await feed

    # ---- the feed

    async def _feed(self) -> None:
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            try:
                await self._follow()
            except* (psycopg.Error, OSError, TimeoutError, ValueError) as group:
                log.warning("live feed interrupted, trying again: %s", "; ".join(map(str, group.exceptions)))
            backoff = FIRST_BACKOFF_SECONDS if self.state == "live" else min(2 * backoff, MAX_BACKOFF_SECONDS)
            self._announce("lost")
            await asyncio.sleep(backoff)

    async def _follow(self) -> None:
        """Read as the bell rings until the database is lost; leaves only by an exception."""
        async with await self._connect("live-read") as reader, await self._connect("live-bell") as listener:
            await reader.set_isolation_level(IsolationLevel.REPEATABLE_READ)
            await reader.set_read_only(True)
            await listener.set_autocommit(True)
            await listener.execute(f"LISTEN {CHANNEL}")
            bell = DoorBell()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen(listener, bell))
                tasks.create_task(self._read_on(reader, bell))

    async def _connect(self, purpose: str) -> AsyncConnection:
        return await psycopg.AsyncConnection.connect(
            self._url,
            application_name=f"fleetward-{purpose}",
            connect_timeout=5,
            keepalives=1,
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
            options="-c timezone=UTC",
        )

    async def _listen(self, listener: AsyncConnection, bell: DoorBell) -> None:
        async for notification in listener.notifies():
            bell.ring(notification.payload)
        raise psycopg.OperationalError("the connection for notifications ended")

    async def _read_on(self, reader: AsyncConnection, bell: DoorBell) -> None:
        await self._read_alarms(reader)
        await self._read_incidents(reader)
        await self._read_vehicles(reader, start_again=True)
        self._announce("live")
        now = asyncio.get_running_loop().time
        read_at, wanted = now(), False
        while True:
            due = read_at + (MIN_READ_SECONDS if wanted else POLL_SECONDS)
            reasons = await bell.wait(due - now())
            wanted = wanted or "" in reasons or "a" in reasons
            polled = now() >= read_at + POLL_SECONDS
            if "a" in reasons or polled:
                await self._read_alarms(reader)
            if "i" in reasons or polled:
                await self._read_incidents(reader)
            if "v" in reasons:
                await self._read_vehicles(reader)
            if polled or (wanted and now() >= read_at + MIN_READ_SECONDS):
                read_at, wanted = now(), False
                await self._read_positions(reader)

    async def _read_alarms(self, reader: AsyncConnection) -> None:
        async with asyncio.timeout(READ_TIMEOUT_SECONDS), reader.transaction():
            current = await self._snapshot(reader)
            seen = self._seen_alarms
            # A feed that starts, or finds another database, begins now: old alarms are not news.
            rows: list[tuple[Any, ...]] = []
            if seen is not None and not live_source.went_back(seen, current):
                cursor = await reader.execute(SQL["alarms"], {"seen": seen, "limit": live_source.MAX_ALARMS})
                rows = await cursor.fetchall()
        self._seen_alarms = current
        for message in live_source.alarm_messages(rows):
            self._tell(message)

    async def _read_incidents(self, reader: AsyncConnection) -> None:
        async with asyncio.timeout(READ_TIMEOUT_SECONDS), reader.transaction():
            current = await self._snapshot(reader)
            seen = self._seen_incidents
            rows: list[tuple[Any, ...]] = []
            if seen is not None and not live_source.went_back(seen, current):
                parameters = {"seen": seen, "limit": live_source.MAX_INCIDENTS}
                rows = await (await reader.execute(cases.CHANGED_CASES, parameters)).fetchall()
        self._seen_incidents = current
        for message in live_source.incident_messages(rows):
            self._tell(message)

    async def _read_positions(self, reader: AsyncConnection) -> None:
        async with asyncio.timeout(READ_TIMEOUT_SECONDS), reader.transaction():
            current = await self._snapshot(reader)
            cursor = await reader.execute(SQL["positions"], {"seen": self._seen_positions}, binary=True)
            row = await cursor.fetchone()
        assert row is not None
        columns = live_source.in_service(live_source.position_columns(row), self._retired)
        self._seen_positions = current
        if self._state.apply(columns):
            self._wake_all()

    async def _read_vehicles(self, reader: AsyncConnection, *, start_again: bool = False) -> None:
        """Read everything. Vehicles that are gone, or `start_again`, give every client a fresh snapshot."""
        async with asyncio.timeout(READ_TIMEOUT_SECONDS), reader.transaction():
            current = await self._snapshot(reader)
            retired = await (await reader.execute(SQL["retired_vehicles"])).fetchall()
            depots = await (await reader.execute(SQL["depots_of_vehicles"])).fetchall()
            cursor = await reader.execute(SQL["positions"], {"seen": None}, binary=True)
            row = await cursor.fetchone()
        assert row is not None
        self._retired = frozenset(vehicle_id for (vehicle_id,) in retired)
        columns = live_source.in_service(live_source.position_columns(row), self._retired)
        self._seen_positions = current
        if not self._state.knows_only(columns.vehicle_ids):
            self._state = FleetState(self._state.revision + 1, self._state.generation + 1)
        elif start_again:
            self._state.distrust()
        self._state.set_depots(dict(depots))
        self._state.apply(columns)
        self._wake_all()

    async def _snapshot(self, reader: AsyncConnection) -> str:
        row = await (await reader.execute(SQL["current_snapshot"])).fetchone()
        assert row is not None
        return str(row[0])

    def _announce(self, state: Literal["live", "lost"]) -> None:
        if self.state != state:
            log.info("live feed: %s", state)
            self.state = state
            self._tell({"type": "feed", "state": state})

    def _tell(self, message: dict[str, object]) -> None:
        text = json.dumps(message, allow_nan=False)
        vehicle_id = message.get("vehicle_id")
        for client in self._clients:
            if vehicle_id is None or self._state.is_shown(str(vehicle_id), client.depots):
                client.tell(text)

    def _wake_all(self) -> None:
        for client in self._clients:
            client.wake.set()

    # ---- one client

    async def serve(self, socket: WebSocket, who: Answer) -> None:
        """Talk to one client until it goes, is cut off or may no more."""
        # Accepted first: a browser is told no reason of a connection that never was.
        await socket.accept()
        if not isinstance(who, Principal):
            await _turn_away(socket, who)
            return
        if len(self._clients) >= MAX_CLIENTS:
            await socket.close(TRY_LATER, f"too many live connections: at most {MAX_CLIENTS}")
            return
        client = Client(socket, who.depots)
        client.tell(json.dumps({"type": "hello", "protocol": live_frames.VERSION, "feed": self.state}))
        self._clients.add(client)
        try:
            sending = asyncio.create_task(self._send_on(client))
            receiving = asyncio.create_task(self._receive_on(client))
            watching = asyncio.create_task(_look_again_on(socket, who.depots))
            done, rest = await asyncio.wait((sending, receiving, watching), return_when=asyncio.FIRST_COMPLETED)
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)
            for task in done:
                task.result()
        except WebSocketDisconnect:
            pass
        finally:
            self._clients.discard(client)
            if client.wire is not None and client.wire.cut:
                self.slow_clients_cut += 1

    async def _receive_on(self, client: Client) -> None:
        while True:
            text = await client.socket.receive()
            if text["type"] == "websocket.disconnect":
                return
            try:
                message = json.loads(text.get("text") or "")
                if not isinstance(message, dict) or set(message) != {"viewport"}:
                    raise ValueError('expected {"viewport": [west, south, east, north]}')
                client.box = live_frames.widen(live_frames.parse_viewport(message["viewport"]))
            except (ValueError, RecursionError) as error:
                reason = f"not understood: {error}".encode()[:120].decode(errors="ignore")
                await client.socket.close(BAD_MESSAGE, reason)
                return
            client.wake.set()

    async def _send_on(self, client: Client) -> None:
        loop = asyncio.get_running_loop()
        frame_at = beat_at = loop.time()
        while True:
            pending = client.box is not None and not self._up_to_date(client)
            until = frame_at + MIN_FRAME_SECONDS if pending else beat_at + HEARTBEAT_SECONDS
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(client.wake.wait(), max(0.0, until - loop.time()))
            client.wake.clear()
            if client.wire is not None:
                await client.wire.writable.wait()
            while client.texts:
                await client.socket.send_text(client.texts.popleft())
            if self._up_to_date(client):
                if client.sent is not None and loop.time() >= beat_at + HEARTBEAT_SECONDS:
                    await client.socket.send_bytes(live_frames.encode_heartbeat(client.sent.revision, clock.now_ms()))
                    beat_at = loop.time()
            elif client.box is not None and loop.time() >= frame_at + MIN_FRAME_SECONDS:
                frame_at = loop.time()
                if await self._send_positions(client, client.box):
                    beat_at = frame_at

    def _up_to_date(self, client: Client) -> bool:
        """Whether there is nothing new to work out for the client."""
        sent = client.sent
        return (
            sent is not None
            and client.state is self._state
            and (sent.box, sent.generation) == (client.box, self._state.generation)
            and client.looked_at == self._state.revision
        )

    async def _send_positions(self, client: Client, box: live_frames.Box) -> bool:
        state, now_ms = self._state, clock.now_ms()
        if client.state is not state:
            client.state, client.sent, client.named = state, None, np.zeros(0, dtype=np.bool_)
        update = state.update_for(box, client.sent, now_ms, client.depots)
        client.looked_at = state.revision
        if (
            client.sent is not None
            and client.sent.box == box
            and client.sent.generation == state.generation
            and not len(update.rows)
        ):
            return False
        names = self._names_for(client, state, update.rows, now_ms)
        client.sent = update.after
        if names is not None:
            await client.socket.send_bytes(names)
        await client.socket.send_bytes(update.frame)
        return True

    @staticmethod
    def _names_for(client: Client, state: FleetState, rows: np.ndarray[Any, Any], now_ms: int) -> bytes | None:
        """Names of the vehicles in a frame that this client was never told."""
        if len(client.named) < state.count:
            named = np.zeros(state.count, dtype=np.bool_)
            named[: len(client.named)] = client.named
            client.named = named
        unnamed = rows[~client.named[rows]]
        if not len(unnamed):
            return None
        client.named[unnamed] = True
        names = [state.names[row] for row in unnamed.tolist()]
        return live_frames.encode_names(state.revision, now_ms, unnamed.astype(np.uint32), names)


async def _look_again_on(socket: WebSocket, depots: Depots) -> None:
    """End the connection when the session does, or what they may see has changed."""
    while True:
        await asyncio.sleep(LOOK_AGAIN_SECONDS)
        who = await run_in_threadpool(ADMISSION.look_again, socket)
        if who != "unknown" and (not isinstance(who, Principal) or who.depots != depots):
            await _turn_away(socket, who)
            return


async def _turn_away(socket: WebSocket, who: Answer) -> None:
    if who == "unknown":
        await socket.close(TRY_LATER, "the database cannot be reached")
    elif isinstance(who, Denial):
        await socket.close(NOT_ALLOWED, who.sentence)
    else:
        await socket.close(SIGN_IN, "sign in first" if who is None else "your depots changed: connect again")


def install_live(app: FastAPI) -> None:
    """Add `/api/live` to the application; its hub is app.state.live."""

    @app.websocket("/api/live")
    async def live(socket: WebSocket, who: Annotated[Answer, Depends(ADMISSION)]) -> None:
        hub: LiveHub = socket.app.state.live
        await hub.serve(socket, who)

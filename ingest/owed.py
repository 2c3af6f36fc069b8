"""What a session owes the broker: PUBACKs, in the order in which the messages came (MQTT 3.1.1, MQTT-4.6.0-2)."""

from ingest.message import Message


class Owed:
    """Messages of one connection that are held, by packet id, and those passed over in between."""

    def __init__(self) -> None:
        self._held: dict[int, Message] = {}
        # Packet ids passed over while others were held, by the id of the last one held before them.
        self._passed: dict[int, list[int]] = {}

    def held(self, packet_id: int) -> Message | None:
        """The message held under a packet id."""
        return self._held.get(packet_id)

    def hold(self, message: Message) -> None:
        """Owe an acknowledgement for a message that is to be stored. QoS 0 owes none."""
        if message.packet_id:
            self._held[message.packet_id] = message

    def pass_over(self, packet_id: int) -> list[int]:
        """A message that another session stores. Returns the packet ids to acknowledge now, in order."""
        if self._held:
            self._passed.setdefault(next(reversed(self._held)), []).append(packet_id)
            return []
        return [packet_id] if packet_id else []

    def settle(self, message: Message) -> list[int]:
        """A held message is stored. Returns the packet ids to acknowledge now, in order."""
        if not message.packet_id:
            return []
        del self._held[message.packet_id]
        return [message.packet_id, *self._passed.pop(message.packet_id, ())]

    def forget(self) -> None:
        """The connection is gone, and with it what was owed on it."""
        self._held.clear()
        self._passed.clear()

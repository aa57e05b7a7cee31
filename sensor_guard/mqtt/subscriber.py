"""MQTT in: two connections whose messages and whose own story go into the inbox.

The bulk connection brings everything but smoke and panic; those come over the urgent one, because within a session the
order is first in, first out, and an alarm must not wait behind a night's readings.
"""

from collections.abc import Callable, Iterable

from sensor_guard.clock import Clock
from sensor_guard.inbox import Inbox
from sensor_guard.model import Message
from sensor_guard.mqtt.access import Access
from sensor_guard.mqtt.bulk import BulkLane
from sensor_guard.mqtt.connection import Connection
from sensor_guard.mqtt.handler import Handler
from sensor_guard.mqtt.lane import BULK, URGENT, Before, Shared, Topics
from sensor_guard.mqtt.link import Stage
from sensor_guard.mqtt.urgent import UrgentLane


class Subscriber:
    """See the module. ``start`` first, then ``ack`` what is on disk, ``stop`` at the end.

    ``connect`` makes each of the two connections; a simulation makes them without a socket.
    """

    def __init__(
        self,
        access: Access,
        topics: Topics,
        inbox: Inbox,
        clock: Clock,
        before: Before,
        *,
        connect: Callable[[Access, str, str, Clock, Handler], Connection] = Connection,
    ) -> None:
        self._shared = Shared(access, inbox, clock, was_offline=before.was_offline)
        client_id = f"sensor_guard-{access.gateway}"
        self._urgent_lane = UrgentLane(self._shared, topics, before)
        self._bulk_lane = BulkLane(self._shared, topics, before, self._urgent_lane)
        self.bulk = connect(access, BULK, client_id, clock, self._bulk_lane)
        self.urgent = connect(access, URGENT, f"{client_id}-urgent", clock, self._urgent_lane)
        self._bulk_lane.connection, self._urgent_lane.connection = self.bulk, self.urgent
        self._clock = clock

    def start(self) -> tuple[tuple[str, Callable[[], None]], ...]:
        """Tell the engine since when nothing is known, and give the bodies of the two threads with their names.

        The inbox is to be taken from before the engine is fed anything else: until LinkLost has reached it, it would
        fire deadlines that what waits in the broker disproves.
        """
        self._bulk_lane.begin()
        return (f"mqtt-{BULK}", self.bulk.run), (f"mqtt-{URGENT}", self.urgent.run)

    def ack(self, messages: Iterable[Message]) -> None:
        """Acknowledge what is on disk, from any thread. Messages of an earlier connection are passed over."""
        bulk: list[Message] = []
        urgent: list[Message] = []
        for message in messages:
            (urgent if message.urgent else bulk).append(message)
        if bulk:
            self.bulk.acknowledge(bulk)
            self._bulk_lane.prove()
        if urgent:
            self.urgent.acknowledge(urgent)
            self._urgent_lane.prove()

    def follow(self, topics: Topics) -> None:
        """Subscribe to what is new in ``topics`` and unsubscribe from what is gone, from any thread."""
        self._urgent_lane.follow(topics)  # first: until the new topics are subscribed there, nothing is dropped here
        self._bulk_lane.wanted = topics
        self.bulk.wake()
        self.urgent.wake()

    def drain_again(self) -> None:
        """Send the canaries anew, from any thread: readings were left in the broker for a while.

        Drained comes again when what waits there has been handed over; the engine is to be told LinkLost before.
        """
        self._urgent_lane.must_drain = self._bulk_lane.must_drain = True
        self.bulk.wake()
        self.urgent.wake()

    def stop(self, within: float = 2.0) -> bool:
        """Say goodbye and keep the session; False if a connection was not through with it in time."""
        deadline = self._clock.monotonic() + within
        for connection in (self.bulk, self.urgent):
            connection.stop()
        return all(each.join(deadline - self._clock.monotonic()) for each in (self.bulk, self.urgent))

    # -- how it stands --------------------------------------------------------------------------------------------

    def healthy(self, limit: float = 30.0) -> bool:
        """Say whether both threads turn. Without a broker they do, too."""
        return self.bulk.is_turning(limit) and self.urgent.is_turning(limit)

    def canary_age(self, now: float) -> float | None:
        """Say for how many seconds nothing has come from the broker through the loop: the older of both connections'.

        A pulse of ours goes that way every 10 s. None while no connection is up and drained: an outage of the broker is
        no reason for anything. now: Clock.monotonic().
        """
        ages = [age for lane in (self._bulk_lane, self._urgent_lane) if (age := lane.proof_age(now)) is not None]
        return max(ages, default=None)

    def trouble(self) -> str:
        """Say which connections are not there, and why: "bulk: refused: Not authorized"; "" if all is well."""
        return self._shared.trouble()

    def report_by(self, report: Callable[[], dict[str, object]]) -> None:
        """Let the bulk connection publish, retained, what ``report`` says of the daemon; it is called by the loop."""
        self._bulk_lane.report = report

    def activity(self) -> dict[str, float]:
        """Give each connection's last turn, in seconds of Clock.monotonic()."""
        return {f"mqtt-{each.name}": each.turned_at for each in (self.bulk, self.urgent)}

    def gauges(self) -> dict[str, float]:
        """Give what /metrics shows."""
        return {
            "mqtt_bulk_up": float(self.bulk.is_up),
            "mqtt_urgent_up": float(self.urgent.is_up),
            "mqtt_connections": float(self.bulk.generation + self.urgent.generation),
            "mqtt_drained": float(self._bulk_lane.link.stage is Stage.DRAINED),
            "mqtt_held_dropped": float(self._bulk_lane.link.dropped_count),
            "broker_dropped": float(self._bulk_lane.drops.count or 0),
        }

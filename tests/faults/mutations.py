"""Mistakes that the harness must find. Each replaces a piece of the program in the launched process only.

What cannot be found here: a commit without fsync. A killed process leaves its writes in the kernel's cache; only a cut
of the power, or of a simulated disk, shows that they had not been written.
"""

import sqlite3
import threading
from collections.abc import Callable
from dataclasses import replace

import paho.mqtt.client as paho

from sensor_guard import core
from sensor_guard.core import Core
from sensor_guard.inbox import Inbox
from sensor_guard.journal import Journal, readings
from sensor_guard.journal.batch import Batch
from sensor_guard.journal.outbox import Outbox
from sensor_guard.journal.packets import RecentPackets
from sensor_guard.journal.readings import ReadingTable
from sensor_guard.model import LinkLost
from sensor_guard.mqtt import Subscriber, access, connection
from sensor_guard.mqtt.bulk import BulkLane
from sensor_guard.mqtt.connection import Connection
from sensor_guard.mqtt.lane import Lane
from sensor_guard.mqtt.link import Link
from sensor_guard.mqtt.urgent import UrgentLane
from sensor_guard.mqtt.wire import Wire
from sensor_guard.notify.twilio import TwilioNotifier
from sensor_guard.notify.worker import SmsWorker


def _remember(owner: type) -> list:
    """Give a list that holds the object of this class once it is made."""
    made: list = []
    original = owner.__init__

    def init(self, *words, **named):
        original(self, *words, **named)
        made.append(self)

    owner.__init__ = init
    return made


def ack_before_commit() -> None:
    subscribers, ack, turn = _remember(Subscriber), Subscriber.ack, Core.turn

    def hasty_turn(self, events, now):
        made = turn(self, events, now)
        if subscribers and made.messages():
            ack(subscribers[0], made.messages())
        return made

    Core.turn = hasty_turn
    Subscriber.ack = lambda _self, _messages: None


def auto_ack() -> None:
    """Acknowledge each message as it comes, as paho does by default; nothing afterwards."""
    acknowledge = Connection.acknowledge
    for lane in (BulkLane, UrgentLane):

        def hasty_message(self, message, original=lane.message):
            acknowledge(self.connection, (message,))
            original(self, message)

        lane.message = hasty_message
    Connection.acknowledge = lambda _self, _messages: None


def default_clean_start() -> None:
    connect = paho.Client.connect

    def forgetful_connect(self, *words, clean_start=None, **named):
        del clean_start  # paho's own default wipes the session at the first connect of a client
        return connect(self, *words, **named)

    paho.Client.connect = forgetful_connect


def qos_2() -> None:
    """Subscribe at QoS 2, and answer as paho does: PUBREC and PUBCOMP at once. The publisher publishes at 2, too."""
    subscribe, read, acknowledge = access.subscribe, Wire._read, Wire.acknowledge
    handle_pubrel = paho.Client._handle_pubrel
    seconds: set[tuple[int, int]] = set()

    def subscribe_twice(client, filters, **named):
        return subscribe(client, [each._replace(qos=2) if each.qos else each for each in filters], **named)

    def hasty_read(self, block, first, *places):
        if first >> 1 & 3 != 2:
            return read(self, block, first, *places)
        packet = read(self, block, first ^ 0b110, *places)  # as one of QoS 1
        seconds.add((id(self), packet.packet_id))
        self.send(b"\x50\x02" + packet.packet_id.to_bytes(2))
        return packet

    def fitting_acknowledge(self, packet_ids):
        acknowledge(self, [each for each in packet_ids if (id(self), each) not in seconds])
        seconds.difference_update([(id(self), each) for each in packet_ids])

    def completed_pubrel(self):
        result = handle_pubrel(self)
        self._send_pubcomp(int.from_bytes(self._in_packet["packet"][:2]))
        return result

    connection.subscribe = subscribe_twice
    paho.Client._handle_pubrel = completed_pubrel
    Wire._read, Wire.acknowledge = hasty_read, fitting_acknowledge


def no_dedupe() -> None:
    open_ = Journal.open.__func__

    def open_without_index(cls, path, **named):
        journal = open_(cls, path, **named)
        db: sqlite3.Connection = journal._db
        db.execute("DROP INDEX IF EXISTS readings_once")
        return journal

    Journal.open = classmethod(open_without_index)
    readings._INSERT = readings._INSERT.partition("ON CONFLICT")[0]
    RecentPackets.seen = lambda *_words, **_named: False


def sent_again_at_once() -> None:
    """A text in doubt counts as not there, without a look."""
    TwilioNotifier.find = lambda *_words: {}


def never_sent_again() -> None:
    """A text in doubt that the provider does not have is forgotten."""
    settle = SmsWorker._settle

    def settle_found_only(self, notification, receipt, now):
        if receipt is not None:
            settle(self, notification, receipt, now)

    SmsWorker._settle = settle_found_only


def sent_before_commit() -> None:
    """The worker gets a text before its attempt is on disk."""
    workers, lease, step = _remember(SmsWorker), Batch.lease, SmsWorker.step

    def hasty_lease(self, *words, **named):
        for notification in lease(self, *words, **named):
            workers[0].submit(notification)
        return []

    def restless_step(self, now):
        return min(step(self, now), 1.0)  # virtual: nobody wakes it before the commit

    Batch.lease, SmsWorker.step = hasty_lease, restless_step


def outbox_apart() -> None:
    """Texts are written in a later transaction than the alarm that wants them."""
    add, enter = Outbox.add, Batch.__enter__
    waiting: list = []

    def put_off(_self, wanted, _now):
        waiting.append(wanted)
        return True

    def catch_up(self):
        batch = enter(self)
        while waiting:
            add(self._parts.outbox, waiting.pop(0), self._now)
        return batch

    Outbox.add, Batch.__enter__ = put_off, catch_up
    core.CHECKPOINT_INPUTS = 1  # else the tail is replayed at the next start, and finds the texts missing


def link_lost_unsaid() -> None:
    """The engine is not told that the connection is gone, nor that it is at a start."""
    put, restore = Inbox.put, Core.restore

    def put_but_losses(self, event, **named):
        return True if isinstance(event, LinkLost) else put(self, event, **named)

    def sighted_restore(self, now, **named):
        return restore(self, now, **{**named, "blind_start": False})

    Inbox.put, Core.restore = put_but_losses, sighted_restore


def loss_unsaid() -> None:
    """A gap never counts as blind, and a missing session is no fault."""
    connected = Lane.connected

    def trusting_connected(self, now, *, session_present):
        self._expects_session = False
        connected(self, now, session_present=session_present)

    Link._blind_from = lambda _self, _now: None
    Lane.connected = trusting_connected


def one_made_up() -> None:
    """Now and then a reading is stored that nobody has sent."""
    append = ReadingTable.append

    def inventive_append(self, rows):
        return append(self, [*rows, rows[0]._replace(seq=rows[0].seq + 1_000_000_000)])

    ReadingTable.append = inventive_append


def dead_thread() -> None:
    """The first connection that is lost takes its thread with it."""
    drop = Connection._drop

    def fatal_drop(self, reason):
        drop(self, reason)
        self._turn = lambda _timeout: threading.Event().wait()

    Connection._drop = fatal_drop
    Subscriber.healthy.__defaults__ = (2.0,)  # so that it need not be watched for half a minute


def slow_reconnect() -> None:
    connection.BACK_OFF = (600.0, 600.0)


def alarm_twice() -> None:
    """An alarm's number is new at every start of the program."""
    record = Batch.record

    def renamed_record(self, effects, **named):
        for alarm_id, alarm in list(effects.alarms.items()):
            copy = replace(alarm, alarm_id=f"{alarm_id}x")
            effects.alarms[copy.alarm_id] = copy
        return record(self, effects, **named)

    Batch.record = renamed_record


MUTATIONS: dict[str, Callable[[], None]] = {
    mutation.__name__: mutation
    for mutation in (
        ack_before_commit,
        auto_ack,
        default_clean_start,
        qos_2,
        no_dedupe,
        sent_again_at_once,
        never_sent_again,
        sent_before_commit,
        outbox_apart,
        link_lost_unsaid,
        loss_unsaid,
        one_made_up,
        dead_thread,
        slow_reconnect,
        alarm_twice,
    )
}

"""What is committed to Postgres tables that cache_sync is attached to, as it is committed.

    async for change in cache_sync.changes("postgresql://localhost/app", tables=["page"]):
        ...

A change is of one kind:

    row     a row was written, created or deleted: `key_hash` says which one, as `key_hash()` does, `version` its version, or None
    table   any row of the table may have changed
    tag     a row that changed has or had the value in one of the table's tags that `key_hash` says (`cache_sync.tag_hash` in SQL)
    gap     anything may have changed: it is the first one, and comes again where something may have been missed
    silent  the feed is not heard any more: what is held may be older than the bound from now on
    heard   it is heard, and what was missed has been told

docs/feed.md says what comes over the connection, byte by byte.
"""
import asyncio
import base64
import contextlib
import dataclasses
import json
import struct
import time

import asyncpg

PROTOCOL = 3
HEADER = struct.Struct(">BcQQQQQQ")  # protocol, kind, epoch, position, hlc(), the log, when it was made, as of when it is complete
CHANGE = struct.Struct(">iqQB")  # table, hash, version, kind
KINDS = ("row", "row", "table", "tag")
BOUND = 3.0  # seconds: there is a heartbeat every second
QUEUE_MAX = 10_000  # messages for a caller who takes none; then the connection ends, and goes on where it was once he does
PAUSE_MIN, PAUSE_MAX = 0.1, 2.0  # seconds between two tries to connect
CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # goes on while the machine is suspended, where it is the former
# What passes by itself: the connection, the server's resources, an administrator; a standby may be promoted, and a table that was attached anew
# has another number.
PASSES = ("08", "53", "57", "CS005", "CS008")
LOST = (OSError, asyncio.TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


@dataclasses.dataclass(frozen=True)
class Change:
    """Something that happened: see the module."""

    kind: str
    table: str | None = None
    key_hash: int | None = None
    version: int | None = None


@dataclasses.dataclass(frozen=True)
class Message:
    """A message of the feed. Changes are tuples of table number, hash, version and kind."""

    kind: str
    resumed: bool | None
    epoch: int
    position: int
    hlc: int
    lsn: int
    sent: int
    as_of: int
    changes: tuple


def decode(payload):
    """Reads the payload of a notification. A feed that speaks another protocol is an error (RuntimeError)."""
    data = base64.b64decode(payload + "=" * (-len(payload) % 4))
    if not data or data[0] != PROTOCOL:
        raise RuntimeError(f"the feed speaks protocol {data[0] if data else 'none'}, this listener {PROTOCOL}")
    _protocol, kind, *numbers = HEADER.unpack_from(data)
    rest = data[HEADER.size:]
    resumed = rest == b"\1" if kind == b"S" else None
    changes = tuple(CHANGE.iter_unpack(rest)) if kind == b"C" else ()
    return Message(kind.decode(), resumed, *numbers, changes)


async def key_hash(connection, table, key):
    """The hash under which the feed tells of the row with this key, a dict of the primary key's columns; `connection` is asyncpg's."""
    return await connection.fetchval("SELECT cache_sync.key_hash($1::text::regclass, $2::text::jsonb)", table, json.dumps(key))


async def changes(dsn, tables, *, bound=BOUND):
    """Tells of everything that is committed to these tables from now on, by whomever. Their names are as SQL would write them.

    The first connection must succeed. One that is lost later is made again; what does not pass by itself, such as a right that is gone,
    is raised. `bound` is how old, in seconds, what is told may be before the feed counts as silent.
    """
    feed, pause = _Feed(list(tables), bound), PAUSE_MIN
    while True:
        try:
            async with contextlib.aclosing(feed.follow(dsn)) as told:
                async for change in told:
                    pause = PAUSE_MIN
                    yield change
        except LOST as error:
            sqlstate = getattr(error, "sqlstate", None)
            if feed.epoch is None or (sqlstate and not sqlstate.startswith(PASSES)):
                raise
        if feed.is_heard:
            feed.is_heard = False
            yield Change("silent")
        await asyncio.sleep(pause)
        pause = min(2 * pause, PAUSE_MAX)


class _Feed:
    def __init__(self, tables, bound):
        self.tables, self.bound = tables, bound
        self.epoch = self.position = self.names = None
        self.is_heard = False

    async def follow(self, dsn):
        """What one connection tells, until it is lost."""
        connection = await asyncpg.connect(dsn, server_settings={"statement_timeout": "0"})
        call = None
        try:
            names = await self.numbers(connection)
            is_other = self.names not in (None, names)
            self.names = names
            messages = asyncio.Queue()

            def hear(_connection, _pid, _channel, payload):
                if messages.qsize() < QUEUE_MAX:
                    messages.put_nowait(payload)
                else:
                    connection.terminate()

            await connection.add_listener("cache_sync", hear)
            # The feed needs no LISTEN, and is refused to who does.
            await connection.execute("UNLISTEN *")
            since = "NULL, NULL" if self.epoch is None or is_other else f"{self.epoch}, {self.position}"
            asked = _now()
            call = asyncio.ensure_future(connection.execute(f"CALL cache_sync.stream('{{{','.join(map(str, names))}}}', {since})"))
            call.add_done_callback(lambda _: messages.put_nowait(None))
            ahead = None  # of the server's clock, at least
            while (payload := await asyncio.wait_for(messages.get(), self.bound)) is not None:
                message = decode(payload)
                if message.kind == "S":
                    ahead = asked - message.sent
                # It may have been on its way for long, or have waited for the caller, or while this process was stopped.
                if message.as_of and _now() - (message.as_of + ahead) > self.bound * 1e6:
                    raise asyncio.TimeoutError
                for change in self.told(message):
                    yield change
            raise call.exception() or ConnectionError("the server ended the feed")
        finally:
            if call:
                call.cancel()
            connection.terminate()

    async def numbers(self, connection):
        """The tables' names by their numbers."""
        found = await connection.fetch(
            "SELECT name, table_id FROM unnest($1::text[]) name LEFT JOIN cache_sync.tables ON tbl = name::regclass", self.tables)
        missing = [name for name, number in found if number is None]
        if missing:
            raise LookupError(f"not attached: {', '.join(missing)}")
        return {number: name for name, number in found}

    def told(self, message):
        if message.kind == "G" or message.resumed is False:
            yield Change("gap")
        for number, key, version, kind in message.changes:
            if number in self.names:
                key = None if KINDS[kind] == "table" else key
                yield Change(KINDS[kind], self.names[number], key, version or None)
        self.epoch, self.position = message.epoch, message.position
        if message.as_of and not self.is_heard:
            self.is_heard = True
            yield Change("heard")


def _now():
    """Microseconds."""
    return time.clock_gettime(CLOCK) * 1e6

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
import random
import struct
import time

import asyncpg

PROTOCOL = 3
HEADER = struct.Struct(">BcQQQQQQ")  # protocol, kind, epoch, position, hlc(), the log, when it was made, as of when it is complete
CHANGE = struct.Struct(">iqQB")  # table, hash, version, kind
KINDS = ("row", "row", "table", "tag")
BOUND = 3.0  # seconds
HEARTBEATS_MIN = 3  # that must fit into the bound: one may be late, or lost with its connection
BEGIN_MAX = 10.0  # seconds from a connection's beginning to the feed's first message
RENEW = 3600.0  # seconds after which a connection is made anew, for clocks drift and are matched when one begins
QUEUE_MAX = 10_000  # messages for a caller who takes none; then the connection ends, and goes on where it was once he does
PAUSE_MIN, PAUSE_MAX = 0.1, 2.0  # seconds between two tries to connect; up to half of it less, so that not all come at once
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
    """Reads the payload of a notification. One of another protocol, or that is cut off, is an error (RuntimeError)."""
    try:
        data = base64.b64decode(payload + "=" * (-len(payload) % 4))
    except ValueError as error:
        raise RuntimeError(f"a message of the feed is cut off or no base64: {error}") from None
    if not data or data[0] != PROTOCOL:
        raise RuntimeError(f"the feed speaks protocol {data[0] if data else 'none'}, this listener {PROTOCOL}")
    kind, rest = data[1:2], data[HEADER.size:]
    if len(data) < HEADER.size or (kind == b"S" and not rest) or (kind == b"C" and len(rest) % CHANGE.size):
        raise RuntimeError(f"a message of the feed is cut off after {len(data)} bytes")
    _protocol, _kind, *numbers = HEADER.unpack_from(data)
    resumed = rest[0] == 1 if kind == b"S" else None
    changes = tuple(CHANGE.iter_unpack(rest)) if kind == b"C" else ()
    return Message(kind.decode(), resumed, *numbers, changes)


def passes(error):
    """Whether what asyncpg raised passes by itself, so that it helps to connect again. What it will not send is a ValueError, too."""
    sqlstate = getattr(error, "sqlstate", None)
    return isinstance(error, LOST) and not isinstance(error, ValueError) and (sqlstate is None or sqlstate.startswith(PASSES))


async def key_hash(connection, table, key):
    """The hash under which the feed tells of the row with this key, a dict of the primary key's columns; `connection` is asyncpg's."""
    return await connection.fetchval("SELECT cache_sync.key_hash($1::text::regclass, $2::text::jsonb)", table, json.dumps(key))


async def changes(dsn, tables, *, bound=BOUND, renew=RENEW, queue_max=QUEUE_MAX):
    """Tells of everything that is committed to these tables from now on, by whomever. Their names are as SQL would write them.

    The first connection must succeed. One that is lost later is made again; what does not pass by itself, such as a right that is gone,
    is raised. `bound` is how old, in seconds, what is told may be before the feed counts as silent; some heartbeats of the server must fit
    into it. A connection is made anew with what it tells first after `renew` seconds, or somewhat before, which are no fewer than `bound`;
    and up to `queue_max` messages wait for a caller who takes none.
    """
    if isinstance(tables, str) or not tables:
        raise ValueError(f"tables is a list of names, not {tables!r}")
    # A bound that is no number is refused once the server's heartbeat is known.
    if not renew > 0 or renew < bound:
        raise ValueError(f"renew is a number of seconds, and no fewer than the bound of {bound!r}, not {renew!r}")
    if not queue_max >= 1:
        raise ValueError(f"queue_max is a number from 1, not {queue_max!r}")
    feed = _Feed(list(tables), bound, renew, queue_max)
    while True:
        try:
            async with contextlib.aclosing(feed.follow(dsn)) as told:
                async for change in told:
                    yield change
            continue
        except LOST as error:
            if feed.epoch is None or not passes(error):
                raise
        if feed.is_heard:
            feed.is_heard = False
            yield Change("silent")
        await asyncio.sleep(feed.pause * random.uniform(0.5, 1))
        feed.pause = min(2 * feed.pause, PAUSE_MAX)


class _Feed:
    def __init__(self, tables, bound, renew, queue_max):
        self.tables, self.bound, self.renew, self.queue_max = tables, bound, renew, queue_max
        self.epoch = self.position = self.names = None
        self.is_heard, self.pause = False, PAUSE_MIN
        self.fresh = None  # as of when everything has been told

    async def follow(self, dsn):
        """What one connection tells, until it is lost (an error) or to be made anew."""
        line = _Line(self.queue_max)
        ends = _now() + self.renew * random.uniform(0.9, 1)
        try:
            message, asked = await self.begun(line, dsn)
            ahead = asked - message.sent / 1e6  # our clock, at least
            while True:
                if message.as_of:
                    self.fresh = message.as_of / 1e6 + ahead
                    # It may have been on its way for long, or have waited for the caller, or while this process was stopped.
                    if _now() > self.fresh + self.bound:
                        raise asyncio.TimeoutError("what is told is too old")
                for change in self.told(message):
                    yield change
                # Only once this connection is heard, or one would follow another and none tell anything.
                if message.as_of and _now() > ends:
                    return
                message = await line.next(self.left())
        finally:
            line.close()

    async def begun(self, line, dsn):
        within = min(BEGIN_MAX, self.left()) if self.is_heard else BEGIN_MAX
        try:
            return await asyncio.wait_for(self.begin(line, dsn), within)
        except asyncio.TimeoutError:
            raise asyncio.TimeoutError(f"the feed did not begin within {within:.1f} s") from None

    async def begin(self, line, dsn):
        """Asks for the feed. Its first message, and when it was asked for."""
        connection = line.connection = await asyncpg.connect(dsn, timeout=BEGIN_MAX)
        # The function loads the library, where no preloading has, and so the settings.
        await connection.execute("SET statement_timeout = 0; SELECT cache_sync.hlc()")
        names = await self.numbers(connection)
        await self.refuse_bound(connection)
        is_other = self.names not in (None, names)
        since = "NULL, NULL" if self.epoch is None or is_other else f"{self.epoch}, {self.position}"
        await line.hear()
        asked = _now()
        line.call(f"CALL cache_sync.stream('{{{','.join(map(str, names))}}}', {since})")
        start = await line.next(BEGIN_MAX)
        self.names = names
        return start, asked

    async def numbers(self, connection):
        """The tables' names by their numbers."""
        found = await connection.fetch(
            "SELECT name, table_id FROM unnest($1::text[]) WITH ORDINALITY u (name, place) LEFT JOIN cache_sync.tables ON tbl = name::regclass"
            " ORDER BY place", self.tables)
        missing = [name for name, number in found if number is None]
        if missing:
            raise LookupError(f"not attached: {', '.join(missing)}")
        return {number: name for name, number in found}

    async def refuse_bound(self, connection):
        """The feed would count as silent between two heartbeats."""
        heartbeat = await connection.fetchval("SELECT setting::int FROM pg_settings WHERE name = 'cache_sync.heartbeat_interval'")
        if not HEARTBEATS_MIN * heartbeat <= self.bound * 1e3:
            raise ValueError(f"a bound of {self.bound} s: it must be at least {HEARTBEATS_MIN} times the server's cache_sync.heartbeat_interval,"
                             f" which is {heartbeat} ms")

    def left(self):
        """Seconds until the feed counts as silent, if nothing comes; while what was missed is being told, since it was asked for the next."""
        return self.fresh + self.bound - _now() if self.is_heard else self.bound

    def told(self, message):
        if message.kind == "G" or message.resumed is False:
            yield Change("gap")
        for number, key, version, kind in message.changes:
            if number in self.names:
                key = None if KINDS[kind] == "table" else key
                yield Change(KINDS[kind], self.names[number], key, version or None)
        self.epoch, self.position = message.epoch, message.position
        if message.as_of:
            self.pause = PAUSE_MIN
            if not self.is_heard:
                self.is_heard = True
                yield Change("heard")


class _Line:
    """A connection, and what it has told and nobody has taken yet."""

    def __init__(self, queue_max):
        self.queue_max = queue_max
        self.connection = self.running = self.why = None
        self.payloads, self.is_full = asyncio.Queue(), False

    async def hear(self):
        await self.connection.add_listener("cache_sync", self.put)
        # The feed needs no LISTEN, and is refused to who does.
        await self.connection.execute("UNLISTEN *")

    def put(self, _connection, _pid, _channel, payload):
        # Once one is dropped, later ones are, too: their position would say that it had been told.
        self.is_full = self.is_full or self.payloads.qsize() >= self.queue_max
        if self.is_full:
            self.connection.terminate()
        else:
            self.payloads.put_nowait(payload)

    def call(self, statement):
        # Not awaited: it is answered when the feed ends.
        self.running = asyncio.ensure_future(self.connection.execute(statement))
        self.running.add_done_callback(self.end)

    def end(self, running):
        self.why = None if running.cancelled() else running.exception()
        self.payloads.put_nowait(None)

    async def next(self, within):
        """The next message, if there is one or it comes within so many seconds."""
        payload = await asyncio.wait_for(self.payloads.get(), within) if self.payloads.empty() else self.payloads.get_nowait()
        if payload is None:
            raise self.why or ConnectionError("the server ended the feed")
        return decode(payload)

    def close(self):
        if self.running:
            self.running.cancel()
        if self.connection:
            self.connection.terminate()


def _now():
    """Seconds, on a clock that goes on while the machine is suspended, where there is one."""
    for name in ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC"):
        if hasattr(time, name):
            return time.clock_gettime(getattr(time, name))
    return time.monotonic()

"""Follows rows of an attached table with asyncpg: prints them, and prints them again whenever somebody changed them.

    DATABASE_URL=postgresql://... python3 listener.py account id 1 2 3

A small cache: what it holds is right as long as the feed is heard. docs/feed.md tells the messages byte by byte.
"""
import asyncio
import base64
import os
import struct
import sys
import time

import asyncpg

PROTOCOL = 3
HEADER = struct.Struct(">BcQQQQQQ")  # protocol, kind, epoch, position, hlc(), the log, when it was made, as of when it is complete
CHANGE = struct.Struct(">iQQB")  # table, hash, version, kind
FLUSH_TABLE, TAG = 2, 3
BOUND = 3.0  # seconds: what is held may be so old; there is a heartbeat every second
LOST = (OSError, asyncio.TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


def now():
    """Microseconds on a clock that goes on while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) * 1e6


class Rows:
    """The rows of some keys. Those that are in doubt must be loaded (again)."""

    def __init__(self, dsn, table, column, keys):
        self.dsn, self.table, self.column, self.keys = dsn, table, column, keys
        self.rows, self.key_of_hash = {}, {}
        self.in_doubt, self.wake = set(), asyncio.Event()
        self.epoch = self.position = self.asked = self.ahead = None

    def doubt(self, keys):
        self.in_doubt |= set(keys)
        self.wake.set()

    def hear(self, payload):
        message = base64.b64decode(payload + "=" * (-len(payload) % 4))
        protocol, kind, epoch, position, _hlc, _lsn, made, as_of = HEADER.unpack_from(message)
        if protocol != PROTOCOL:
            sys.exit(f"the feed speaks protocol {protocol}, this listener {PROTOCOL}")
        if kind == b"S":
            self.ahead = self.asked - made  # of the server's clock, at least
        rest = message[HEADER.size:]
        if kind == b"G" or (kind == b"S" and rest == b"\0"):
            self.doubt(self.keys)
        elif kind == b"C":
            for _table, key_hash, _version, change in CHANGE.iter_unpack(rest):
                if change == FLUSH_TABLE:
                    self.doubt(self.keys)
                elif change != TAG and key_hash in self.key_of_hash:
                    self.doubt([self.key_of_hash[key_hash]])
        self.epoch, self.position = epoch, position
        # It may have been on its way for long, or have waited while this process was stopped.
        if as_of and now() - (as_of + self.ahead) > BOUND * 1e6:
            raise asyncio.TimeoutError

    async def follow(self):
        """Hears the feed over one connection, until that is lost."""
        connection = await asyncpg.connect(self.dsn, server_settings={"statement_timeout": "0"})
        try:
            hashes = await connection.fetch(
                "SELECT k, cache_sync.key_hash($1::text::regclass, jsonb_build_object($2::text, k)) FROM unnest($3::bigint[]) k",
                self.table, self.column, self.keys)
            self.key_of_hash = {key_hash % 2**64: key for key, key_hash in hashes}
            # The server quotes the names.
            table_id, self.statement = await connection.fetchrow(
                """SELECT table_id, format('SELECT to_jsonb(t)::text FROM %s t WHERE t.%I = $1::bigint', tbl, $2::text)
                   FROM cache_sync.tables WHERE tbl = $1::text::regclass""", self.table, self.column)
            messages = asyncio.Queue()
            await connection.add_listener("cache_sync", lambda *told: messages.put_nowait(told[-1]))
            # The feed needs no LISTEN; what others notify must neither come nor pile up behind the CALL.
            await connection.execute("UNLISTEN *")
            since = "NULL, NULL" if self.epoch is None else f"{self.epoch}, {self.position}"
            self.asked = now()
            call = asyncio.ensure_future(connection.execute(f"CALL cache_sync.stream('{{{table_id}}}', {since})"))
            call.add_done_callback(lambda _: messages.put_nowait(None))
            while (payload := await asyncio.wait_for(messages.get(), BOUND)) is not None:
                self.hear(payload)
            raise call.exception() or ConnectionError("the server ended the feed")
        finally:
            connection.terminate()

    async def load(self):
        """Loads what is in doubt, and prints what is new. What changes meanwhile is in doubt again."""
        connection = None
        while await self.wake.wait():
            self.wake.clear()
            while self.in_doubt:
                key = self.in_doubt.pop()
                try:
                    if connection is None or connection.is_closed():
                        connection = await asyncpg.connect(self.dsn)
                    row = await connection.fetchval(self.statement, key)
                except LOST:
                    connection = None
                    self.in_doubt.add(key)
                    await asyncio.sleep(0.1)
                    continue
                if self.rows.get(key, "") != row:
                    self.rows[key] = row
                    print(key, row, flush=True)


async def main():
    table, column, *keys = sys.argv[1:]
    rows = Rows(os.environ["DATABASE_URL"], table, column, [int(key) for key in keys])
    loading = asyncio.ensure_future(rows.load())
    while not loading.done():
        try:
            await rows.follow()
        except LOST as error:
            print("the feed was lost:", error or "silence", file=sys.stderr, flush=True)
            await asyncio.sleep(0.1)
    loading.result()


asyncio.run(main())

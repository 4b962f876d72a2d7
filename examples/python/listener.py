"""Follows rows of an attached table: prints them, and prints them again whenever somebody changed them.

    pip install ./listeners/python
    DATABASE_URL=postgresql://... python3 examples/python/listener.py account id 1 2 3

The server: PostgreSQL 17 or later, or 15 or 16 with the library preloaded. The role: cache_sync_user, and SELECT on the table.

A small cache over the package in listeners/python: what it holds is right as long as the feed is heard.
"""
import asyncio
import os
import sys

import asyncpg
import cache_sync

ANSWER_MAX = 5  # seconds
PAUSE = 0.1  # seconds until a row is loaded again after that failed


class Rows:
    """The rows of some keys. Those that are in doubt must be loaded (again)."""

    def __init__(self, dsn, table, column, keys):
        self.dsn, self.table, self.column, self.keys = dsn, table, column, keys
        self.rows, self.key_of_hash, self.statement = {}, {}, None
        self.in_doubt, self.wake = set(), asyncio.Event()

    def doubt(self, keys):
        self.in_doubt |= set(keys)
        self.wake.set()

    async def follow(self):
        async for change in cache_sync.changes(self.dsn, [self.table]):
            if change.kind in ("gap", "table"):
                # What they were looked up by may be another.
                self.statement = None
                self.doubt(self.keys)
            elif change.kind == "row" and change.key_hash in self.key_of_hash:
                self.doubt([self.key_of_hash[change.key_hash]])
            elif change.kind in ("silent", "heard"):
                print("the feed is", change.kind, file=sys.stderr, flush=True)

    async def look_up(self, connection):
        # Before rows are loaded: what was told of a hash that was not known yet is in them.
        self.key_of_hash = {await cache_sync.key_hash(connection, self.table, {self.column: key}): key for key in self.keys}
        # The server quotes the names.
        self.statement = await connection.fetchval(
            "SELECT format('SELECT to_jsonb(t)::text FROM %s t WHERE t.%I = $1::bigint', $1::text::regclass, $2::text)", self.table, self.column)

    async def load(self):
        """Loads what is in doubt, and prints what is new. What changes meanwhile is in doubt again."""
        connection = None
        while await self.wake.wait():
            self.wake.clear()
            while self.in_doubt:
                key = self.in_doubt.pop()
                try:
                    if connection is None or connection.is_closed():
                        connection = await asyncpg.connect(self.dsn, timeout=ANSWER_MAX, command_timeout=ANSWER_MAX)
                    if self.statement is None:
                        await self.look_up(connection)
                    row = await connection.fetchval(self.statement, key)
                except Exception as error:
                    if not cache_sync.passes(error):
                        raise
                    print("loading:", str(error) or type(error).__name__, file=sys.stderr, flush=True)
                    if connection:
                        connection.terminate()
                    connection = None
                    self.in_doubt.add(key)
                    await asyncio.sleep(PAUSE)
                    continue
                if self.rows.get(key, "") != row:
                    self.rows[key] = row
                    print(key, row, flush=True)


async def main():
    table, column, *keys = sys.argv[1:]
    rows = Rows(os.environ["DATABASE_URL"], table, column, [int(key) for key in keys])
    await asyncio.gather(rows.follow(), rows.load())


asyncio.run(main())

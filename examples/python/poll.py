"""Follows rows of an attached table with psycopg 3, which hands notifications over only when a command ends: this has
`changes()` wait until there is something to tell, over any connection, also through a pooler.

    pip install "psycopg[binary]"
    DATABASE_URL=postgresql://... python3 examples/python/poll.py account id 1 2 3

The server: PostgreSQL 17 or later, or 15 or 16 with the library preloaded. The role: cache_sync_user, and SELECT on the table.
"""
import os
import sys
import time

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

CHANGES = "SELECT epoch, feed_position, tbl = %s::regclass, key_hash, kind FROM cache_sync.changes(%s, %s, wait => %s)"
WAIT = "5 seconds"  # for changes; a pooler in transaction mode keeps a connection for it as long
PAUSE = 0.1  # seconds, after a connection was lost


class Rows:
    """The rows of some keys, and from where on changes are asked for."""

    def __init__(self, table, column, keys):
        self.table, self.column, self.keys = table, column, keys
        self.row = sql.SQL("SELECT to_jsonb(t)::text FROM {} t WHERE t.{} = %s").format(
            sql.Identifier(*table.split(".")), sql.Identifier(column))
        self.rows, self.since = {}, (None, None)
        self.in_doubt = set()

    def poll(self, connection):
        """One question to the feed: loads what may have changed, and prints what is new."""
        if self.since == (None, None):
            # The position first, then the rows: what changes in between is told next time.
            self.in_doubt = set(self.keys)
            self.since = connection.execute(CHANGES + " WHERE kind = 'position'", (self.table, None, None, None)).fetchone()[:2]
        else:
            wait = None if self.in_doubt else WAIT
            told = connection.execute(CHANGES, (self.table, *self.since, wait)).fetchall()
            changed = {key_hash for *_, is_ours, key_hash, kind in told if is_ours and kind != "tag"}
            if changed:
                self.in_doubt |= {key for key in self.keys if self.hash(connection, key) in changed}
            if told[0][4] == "gap" or None in changed:
                self.in_doubt = set(self.keys)
            self.since = told[-1][:2]
        # What is lost with the connection is still in doubt then.
        for key in sorted(self.in_doubt):
            found = connection.execute(self.row, (key,)).fetchone()
            self.in_doubt.discard(key)
            row = found and found[0]
            if self.rows.get(key, "") != row:
                self.rows[key] = row
                print(key, row, flush=True)

    def hash(self, connection, key):
        asked = (self.table, Jsonb({self.column: key}))
        return connection.execute("SELECT cache_sync.key_hash(%s::regclass, %s)", asked).fetchone()[0]


def main():
    table, column, *keys = sys.argv[1:]
    rows = Rows(table, column, [int(key) for key in keys])
    while True:
        try:
            # Without prepared statements, which a pooler in transaction mode may not know.
            with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True, prepare_threshold=None) as connection:
                while True:
                    rows.poll(connection)
        except psycopg.OperationalError as error:
            print("the connection was lost:", error, file=sys.stderr, flush=True)
            time.sleep(PAUSE)


main()

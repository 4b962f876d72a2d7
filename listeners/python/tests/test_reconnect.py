"""Tries to connect become rarer until the feed is heard, and are spread: over a driver that tells what it is given."""
import base64
import math
import struct
import unittest
from unittest import mock

import cache_sync


def message(kind, as_of, rest=bytes(1)):
    """One without changes, unless they are given; a start says that something may have been missed."""
    return base64.b64encode(struct.pack(">B1s6Q", 3, kind, 0, 0, 0, 0, 0, as_of) + rest).decode()


START, HEARTBEAT = message(b"S", 0), message(b"H", 1)
# It goes on where an earlier connection stopped; a row of the first table.
RESUMED, CHANGE = message(b"S", 0, b"\1"), message(b"C", 1, bytes(21))


class Connection:
    """Of asyncpg: it tells the next feed and is lost."""

    def __init__(self, feeds):
        self.feeds = feeds

    async def add_listener(self, _channel, callback):
        self.callback = callback

    async def execute(self, statement):
        if statement.startswith("CALL"):
            for payload in self.feeds.pop(0):
                self.callback(self, 0, "cache_sync", payload)
            raise ConnectionResetError

    async def fetch(self, _statement, tables):
        return [(name, number) for number, name in enumerate(tables)]

    async def fetchval(self, _statement):
        return 1000

    def terminate(self):
        pass


async def told(feeds, last):
    """The kinds of what is told up to the last of these, and the seconds between the connections."""
    waits, kinds = [], []

    async def connect(_dsn, **_options):
        return Connection(feeds)

    async def sleep(wait):
        waits.append(wait)

    with mock.patch("asyncpg.connect", connect), mock.patch("asyncio.sleep", sleep):
        async for change in cache_sync.changes("", ["page"]):
            kinds.append(change.kind)
            if not feeds and change.kind == last:
                return kinds, waits


class Reconnects(unittest.IsolatedAsyncioTestCase):
    async def test_pauses_grow_up_to_a_limit_until_the_feed_is_heard(self):
        kinds, waits = await told([[START]] * 7 + [[START, HEARTBEAT], [START]], "gap")
        self.assertEqual(kinds, ["gap"] * 8 + ["heard", "silent", "gap"])
        most = [0.1, 0.2, 0.4, 0.8, 1.6, 2, 2, 0.1]
        self.assertEqual(len(waits), len(most))
        for wait, at_most in zip(waits, most):
            self.assertTrue(at_most / 2 <= wait <= at_most, waits)

    async def test_pauses_differ_so_that_not_all_come_at_once(self):
        _kinds, waits = await told([[START, HEARTBEAT]] * 40, "heard")
        self.assertGreater(max(waits) - min(waits), 0.02)

    async def test_a_connection_that_is_due_to_be_made_anew_tells_something_first(self):
        feeds, kinds, clock = [[START, HEARTBEAT], [RESUMED, CHANGE], [RESUMED, CHANGE]], [], [0]

        async def connect(_dsn, **_options):
            clock[0] += 2.9
            return Connection(feeds)

        with mock.patch("asyncpg.connect", connect), mock.patch("cache_sync._now", lambda: clock[0]), mock.patch("random.uniform", min):
            async for change in cache_sync.changes("", ["page"], bound=3, renew=3):
                kinds.append(change.kind)
                if not feeds:
                    break
        self.assertEqual(kinds, ["gap", "heard", "row", "row"])

    async def test_what_cannot_be_meant_is_refused(self):
        with mock.patch("asyncpg.connect", mock.AsyncMock(return_value=Connection([]))):
            for options in ({"tables": "page"}, {"tables": []}, {"renew": 0}, {"renew": math.nan}, {"renew": 2.9},
                            {"bound": 4, "renew": 3.9}, {"queue_max": 0}, {"bound": math.nan}):
                with self.assertRaisesRegex(ValueError, "tables is|renew is|queue_max is|a bound of"):
                    await anext(cache_sync.changes("", **{"tables": ["page"], **options}))


if __name__ == "__main__":
    unittest.main()

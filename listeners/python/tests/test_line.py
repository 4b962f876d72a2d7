"""What a connection tells waits for a caller who takes none, up to a limit."""
import asyncio
import unittest

import cache_sync

# A heartbeat, and its position.
HEARTBEAT = "A0gAAAAAAAAAAQAAAAAAAAA{}AAAAAAAAAAMAAAAAAW6RqAAAAAAAAAAGAAAAAAAAAAU"


class Connection:
    is_closed = False

    def terminate(self):
        self.is_closed = True


def line_of(queue_max):
    line = cache_sync._Line(queue_max)
    line.connection = Connection()
    return line, lambda *letters: [line.put(None, 0, "cache_sync", HEARTBEAT.format(letter)) for letter in letters]


class Line(unittest.IsolatedAsyncioTestCase):
    async def test_what_was_told_is_taken_in_its_order_also_after_the_connections_end(self):
        line, tell = line_of(3)
        tell("C", "D")
        line.running = asyncio.get_running_loop().create_future()
        line.running.set_exception(ConnectionError("reset"))
        line.end(line.running)
        self.assertEqual([(await line.next(0)).position for _ in "CD"], [2, 3])
        with self.assertRaisesRegex(ConnectionError, "reset"):
            await line.next(60)

    async def test_after_one_that_is_dropped_nothing_is_taken_though_there_is_room_again(self):
        line, tell = line_of(2)
        tell("C", "D", "E")
        self.assertTrue(line.connection.is_closed)
        self.assertEqual((await line.next(0)).position, 2)
        tell("F")
        self.assertEqual((await line.next(0)).position, 3)
        with self.assertRaises(asyncio.TimeoutError):
            await line.next(0.01)

    async def test_who_waits_is_woken_by_what_comes(self):
        line, tell = line_of(1)
        asyncio.get_running_loop().call_soon(tell, "C")
        self.assertEqual((await line.next(60)).position, 2)


if __name__ == "__main__":
    unittest.main()

"""Messages are read as docs/feed.md says: each of its test vectors."""
import base64
import pathlib
import unittest

import cache_sync

FEED = pathlib.Path(__file__).parents[3] / "docs" / "feed.md"


def vectors():
    lines = FEED.read_text(encoding="utf-8").split("## Test vectors")[1].split("```text\n")[1].split("```")[0].splitlines()
    return list(zip(lines[::2], lines[1::2]))


def in_words(message):
    resumed = f" resumed={int(message.resumed)}" if message.kind == "S" else ""
    numbers = f"epoch={message.epoch} position={message.position} hlc={message.hlc} lsn={message.lsn} sent={message.sent} as_of={message.as_of}"
    changes = "".join(f" {table}:{key % 2**64}:{version}:{kind}" for table, key, version, kind in message.changes)
    return f"{message.kind}{resumed} {numbers}{changes}"


class Messages(unittest.TestCase):
    def test_every_vector_is_read(self):
        self.assertEqual(len(vectors()), 6)
        for words, payload in vectors():
            self.assertEqual(in_words(cache_sync.decode(payload)), words)

    def test_another_protocol_is_refused(self):
        for data in (b"", b"\4C" + bytes(48), b"\2"):
            with self.assertRaisesRegex(RuntimeError, "protocol"):
                cache_sync.decode(base64.b64encode(data).decode().rstrip("="))

    def test_what_is_cut_off_is_refused(self):
        for words, payload in vectors():
            # An S that lost its last byte says not whether it resumed; what lost a change's end has a part of one.
            whole = base64.b64decode(payload + "=" * (-len(payload) % 4))
            for end in range(1, len(whole)):
                if words[0] in "HG" or (end - 50) % 21:
                    with self.assertRaisesRegex(RuntimeError, "cut off", msg=f"{words} up to {end}"):
                        cache_sync.decode(base64.b64encode(whole[:end]).decode().rstrip("="))
        with self.assertRaisesRegex(RuntimeError, "cut off"):
            cache_sync.decode("A0gAA")


if __name__ == "__main__":
    unittest.main()

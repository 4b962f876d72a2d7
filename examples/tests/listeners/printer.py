"""Prints what is told, a line each: kind, table, and whether there are hash and version.

Its arguments are the table and options as JSON, times in milliseconds. If it holds, it takes nothing after a row until its input ends.
"""
import asyncio
import json
import os
import sys

import cache_sync


async def main():
    table, options = sys.argv[1], json.loads(sys.argv[2])
    released = asyncio.ensure_future(asyncio.to_thread(sys.stdin.read))
    named = {name: options[name] / 1e3 for name in ("bound", "renew") if name in options}
    if "queueMax" in options:
        named["queue_max"] = options["queueMax"]
    async for told in cache_sync.changes(os.environ["DATABASE_URL"], [table], **named):
        print(told.kind, told.table or "-", told.key_hash is not None, told.version is not None, flush=True)
        if options.get("holds") and told.kind == "row":
            await released


asyncio.run(main())

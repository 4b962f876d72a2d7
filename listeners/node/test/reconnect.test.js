"use strict";

// Tries to connect become rarer until the feed is heard, and are spread: over a driver that tells what it is given.

const assert = require("node:assert");
const { EventEmitter } = require("node:events");
const test = require("node:test");
const pg = require("pg");
const timers = require("node:timers/promises");

const START = message("S", 0n);
const HEARTBEAT = message("H", 1n);
/** What the next connections tell until they are lost. */
let feeds = [];
/** Milliseconds between them. */
let waits = [];

/** One without changes; a start says that something may have been missed. */
function message(kind, asOf) {
  const data = Buffer.alloc(51);
  data.write(`\x03${kind}`, "latin1");
  data.writeBigUInt64BE(asOf, 42);
  return data.toString("base64");
}

class Client extends EventEmitter {
  connection = { stream: { destroy() {} } };

  async connect() {}

  async query(statement) {
    if (statement.startsWith("CALL")) {
      feeds.shift().forEach((payload) => this.emit("notification", { payload }));
      await new Promise(setImmediate);
      throw new Error("reset");
    }
    return { rows: statement.includes("table_id") ? [{ table_id: 7, name: "page" }] : [{ setting: 1000 }] };
  }
}

timers.setTimeout = async (wait) => { waits.push(wait); };
pg.Client = Client;
const { changes } = require("../index.js");

/** The kinds of what is told up to the last of these. */
async function told(given, last) {
  [feeds, waits] = [given, []];
  const kinds = [];
  for await (const { kind } of changes({ connection: {}, tables: ["page"] })) {
    kinds.push(kind);
    if (feeds.length === 0 && kind === last) {
      return kinds;
    }
  }
}

test("pauses grow up to a limit until the feed is heard", async () => {
  const kinds = await told([...Array(7).fill([START]), [START, HEARTBEAT], [START]], "gap");
  assert.deepEqual(kinds, [...Array(8).fill("gap"), "heard", "silent", "gap"]);
  const most = [100, 200, 400, 800, 1600, 2000, 2000, 100];
  assert.equal(waits.length, most.length);
  waits.forEach((wait, at) => assert.ok(wait >= most[at] / 2 && wait <= most[at], `${at}: ${wait}`));
});

test("pauses differ, so that not all come at once", async () => {
  await told(Array(40).fill([START, HEARTBEAT]), "heard");
  assert.ok(Math.max(...waits) - Math.min(...waits) > 20, `${waits}`);
});

test("what cannot be meant is refused", async () => {
  for (const options of [{ tables: "page" }, { tables: [] }, { renew: 0 }, { renew: NaN }, { queueMax: 0 }, { bound: NaN }]) {
    await assert.rejects(changes({ connection: {}, tables: ["page"], ...options }).next(), /tables is|renew is|queueMax is|a bound of/);
  }
});

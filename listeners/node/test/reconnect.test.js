"use strict";

// Tries to connect become rarer until the feed is heard, and are spread: over a driver that tells what it is given.

const assert = require("node:assert");
const { EventEmitter } = require("node:events");
const os = require("node:os");
const test = require("node:test");
const pg = require("pg");
const timers = require("node:timers/promises");

const START = message("S", 0n);
const HEARTBEAT = message("H", 1n);
/** It goes on where an earlier connection stopped. */
const RESUMED = message("S", 0n, [1]);
/** A row of table 7. */
const CHANGE = message("C", 1n, [0, 0, 0, 7, ...Array(17).fill(0)]);
/** What the next connections tell until they are lost. */
let feeds = [];
/** Milliseconds between them. */
let waits = [];
/** Milliseconds that a connection takes by the clock. */
let connecting = 0;
let clock = 0;

/** One without changes, unless they are given; a start says that something may have been missed. */
function message(kind, asOf, rest = [0]) {
  const data = Buffer.alloc(50);
  data.write(`\x03${kind}`, "latin1");
  data.writeBigUInt64BE(asOf, 42);
  return Buffer.concat([data, Buffer.from(rest)]).toString("base64");
}

class Client extends EventEmitter {
  connection = { stream: { destroy() {} } };

  async connect() { clock += connecting; }

  async query(statement) {
    if (statement.startsWith("CALL")) {
      feeds.shift().forEach((payload) => this.emit("notification", { payload }));
      await new Promise(setImmediate);
      throw new Error("reset");
    }
    return { rows: statement.includes("table_id") ? [{ table_id: 7, name: "page" }] : [{ setting: 1000 }] };
  }
}

os.uptime = () => clock / 1e3;
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

test("a connection that is due to be made anew tells something first", async () => {
  const random = Math.random;
  [feeds, connecting, Math.random] = [[[START, HEARTBEAT], [RESUMED, CHANGE], [RESUMED, CHANGE]], 2900, () => 0];
  const kinds = [];
  for await (const { kind } of changes({ connection: {}, tables: ["page"], bound: 3000, renew: 3000 })) {
    kinds.push(kind);
    if (feeds.length === 0) {
      break;
    }
  }
  [connecting, Math.random] = [0, random];
  assert.deepEqual(kinds, ["gap", "heard", "row", "row"]);
});

test("what cannot be meant is refused", async () => {
  for (const options of [{ tables: "page" }, { tables: [] }, { renew: 0 }, { renew: NaN }, { renew: 2999 }, { bound: 4000, renew: 3999 }, { queueMax: 0 }, { bound: NaN }]) {
    await assert.rejects(changes({ connection: {}, tables: ["page"], ...options }).next(), /tables is|renew is|queueMax is|a bound of/);
  }
});

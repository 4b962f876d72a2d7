"use strict";

// Follows rows of an attached table: prints them, and prints them again whenever somebody changed them.
//
//     npm install --prefix examples/node
//     DATABASE_URL=postgresql://... node examples/node/listener.js account id 1 2 3
//
// The server: PostgreSQL 17 or later, or 15 or 16 with the library preloaded. The role: cache_sync_user, and SELECT on the table.
//
// A small cache over the package in listeners/node: what it holds is right as long as the feed is heard.

const { setTimeout: sleep } = require("node:timers/promises");
const { Client } = require("pg");
const { changes, keyHash, passes } = require("cache-sync-listener");

const connectionString = process.env.DATABASE_URL;
/** Milliseconds for an answer. */
const ANSWER_MAX = 5000;
/** Milliseconds until a row is loaded again after that failed. */
const PAUSE = 100;
const [table, column, ...keys] = process.argv.slice(2);

/** What was printed last of each key; the keys of the hashes; how a row is loaded. */
const rows = new Map();
const keyOfHash = new Map();
let statement = null;
/** Keys whose rows must be loaded (again), and how the loader is woken. */
const inDoubt = new Set();
let wake = () => {};

function doubt(doubted) {
  doubted.forEach((key) => inDoubt.add(key));
  wake();
}

async function follow() {
  for await (const change of changes({ connection: connectionString, tables: [table] })) {
    if (change.kind === "gap" || change.kind === "table") {
      // What they were looked up by may be another.
      statement = null;
      doubt(keys);
    } else if (change.kind === "row" && keyOfHash.has(change.keyHash)) {
      doubt([keyOfHash.get(change.keyHash)]);
    } else if (change.kind === "silent" || change.kind === "heard") {
      console.error("the feed is", change.kind);
    }
  }
}

async function lookUp(client) {
  // Before rows are loaded: what was told of a hash that was not known yet is in them.
  for (const key of keys) {
    keyOfHash.set(await keyHash(client, table, { [column]: Number(key) }), key);
  }
  // The server quotes the names.
  const format = "format('SELECT to_jsonb(t)::text AS row FROM %s t WHERE t.%I = $1::bigint', $1::text::regclass, $2::text)";
  return (await client.query(`SELECT ${format} AS statement`, [table, column])).rows[0].statement;
}

/** Loads what is in doubt, and prints what is new, until the connection is lost. What changes meanwhile is in doubt again. */
async function load(client) {
  for (;;) {
    while (inDoubt.size === 0) {
      await new Promise((resolve) => { wake = resolve; });
    }
    for (const key of [...inDoubt]) {
      inDoubt.delete(key);
      try {
        statement ??= await lookUp(client);
        const found = await client.query(statement, [key]);
        const row = found.rows.length > 0 ? found.rows[0].row : "None";
        if (rows.get(key) !== row) {
          rows.set(key, row);
          console.log(key, row);
        }
      } catch (error) {
        inDoubt.add(key);
        throw error;
      }
    }
  }
}

async function loadForever() {
  for (;;) {
    const client = new Client({ connectionString, connectionTimeoutMillis: ANSWER_MAX, query_timeout: ANSWER_MAX });
    client.on("error", () => {});
    try {
      await client.connect();
      await load(client);
    } catch (error) {
      if (!passes(error)) {
        throw error;
      }
      console.error("loading:", error.message);
      // Not awaited: what is gone already may never say that it has ended.
      client.end().catch(() => {});
      await sleep(PAUSE);
    }
  }
}

Promise.all([loadForever(), follow()]).catch((error) => {
  console.error(error.message);
  process.exit(1);
});

"use strict";

const os = require("node:os");
const { setTimeout: sleep } = require("node:timers/promises");
const { Client } = require("pg");
const { decode } = require("./message.js");

const KINDS = ["row", "row", "table", "tag"];
/** Milliseconds: there is a heartbeat every second. */
const BOUND = 3000;
/** Messages for a caller who takes none; then the connection ends, and goes on where it was once he does. */
const QUEUE_MAX = 10_000;
/** Milliseconds until a server counts as away. */
const CONNECT_TIMEOUT = 10_000;
/** Milliseconds between two tries to connect. */
const [PAUSE_MIN, PAUSE_MAX] = [100, 2000];
/**
 * What passes by itself: the connection, the server's resources, an administrator; a standby may be promoted, and a table that was attached anew
 * has another number.
 */
const PASSES = /^(08|53|57|CS005|CS008)/;

/** Microseconds on a clock that goes on while the machine is suspended. */
const now = () => os.uptime() * 1e6;

/**
 * Tells of everything that is committed from now on to tables that cache_sync is attached to, by whomever. A change has a `kind`:
 *
 *     row     a row was written, created or deleted: `keyHash` (a BigInt) says which one, as keyHash() does, `version` its version, or null
 *     table   any row of the table may have changed
 *     tag     a row that changed has or had the value in one of the table's tags that `keyHash` says (`cache_sync.tag_hash` in SQL)
 *     gap     anything may have changed: it is the first one, and comes again where something may have been missed
 *     silent  the feed is not heard any more: what is held may be older than the bound from now on
 *     heard   it is heard, and what was missed has been told
 *
 * `connection` is a connection string or what else pg's Client takes, `tables` are names as SQL would write them, `bound` is how old, in
 * milliseconds, what is told may be before the feed counts as silent. The first connection must succeed. One that is lost later is made
 * again; what does not pass by itself, such as a right that is gone, is thrown.
 */
async function* changes({ connection, tables, bound = BOUND }) {
  const feed = { connection, tables, bound, names: null, since: null, isHeard: false };
  let pause = PAUSE_MIN;
  for (;;) {
    try {
      for await (const change of follow(feed)) {
        pause = PAUSE_MIN;
        yield change;
      }
    } catch (error) {
      if (!feed.since || !(error instanceof Lost)) {
        throw error instanceof Lost ? error.cause : error;
      }
    }
    if (feed.isHeard) {
      feed.isHeard = false;
      yield { kind: "silent" };
    }
    await sleep(pause);
    pause = Math.min(2 * pause, PAUSE_MAX);
  }
}

/** The hash under which the feed tells of the row with this key, an object of the primary key's columns; `client` is pg's. */
async function keyHash(client, table, key) {
  const asked = "SELECT cache_sync.key_hash($1::text::regclass, $2::jsonb)::text AS hash";
  return BigInt((await client.query(asked, [table, JSON.stringify(key)])).rows[0].hash);
}

/** A connection is gone, for a reason that passes. */
class Lost extends Error {}

/** What the server says has a severity; all else is the connection's end. */
function lost(cause) {
  return !cause.severity || PASSES.test(cause.code) ? new Lost(cause.message, { cause }) : cause;
}

/** What one connection tells, until it is lost. */
async function* follow(feed) {
  const connection = typeof feed.connection === "string" ? { connectionString: feed.connection } : feed.connection;
  const client = new Client({ connectionTimeoutMillis: CONNECT_TIMEOUT, ...connection });
  const inbox = new Inbox(client);
  try {
    const found = await client.connect().then(() => numbers(client, feed.tables)).catch((error) => { throw lost(error); });
    const missing = found.filter(([number]) => number === null).map(([, name]) => name);
    if (missing.length > 0) {
      throw new Error(`not attached: ${missing.join(", ")}`);
    }
    const names = new Map(found);
    const isOther = feed.names && JSON.stringify([...names]) !== JSON.stringify([...feed.names]);
    feed.names = names;
    const since = feed.since && !isOther ? `${feed.since.epoch}, ${feed.since.position}` : "NULL, NULL";
    const asked = now();
    // Not awaited: it is answered when the feed ends.
    client.query(`CALL cache_sync.stream('{${[...names.keys()]}}', ${since})`).then(
      () => inbox.end(new Error("the server ended the feed")),
      (error) => inbox.end(error),
    );
    let ahead = 0; // of the server's clock, at least
    for (;;) {
      const message = decode(await inbox.next(feed.bound));
      if (message.kind === "S") {
        ahead = asked - Number(message.sent);
      }
      // It may have been on its way for long, or have waited for the caller, or while this process was stopped.
      if (message.asOf && now() - (Number(message.asOf) + ahead) > feed.bound * 1e3) {
        throw new Lost("what is told is too old");
      }
      yield* told(feed, message);
    }
  } finally {
    client.connection.stream.destroy();
  }
}

/** The tables' numbers, each with its name. */
async function numbers(client, tables) {
  await client.query("SET statement_timeout = 0");
  const asked = "SELECT name, table_id FROM unnest($1::text[]) name LEFT JOIN cache_sync.tables ON tbl = name::regclass";
  return (await client.query(asked, [tables])).rows.map((row) => [row.table_id, row.name]);
}

function* told(feed, message) {
  if (message.kind === "G" || message.resumed === false) {
    yield { kind: "gap" };
  }
  for (const { table, keyHash: hash, version, kind } of message.changes) {
    if (feed.names.has(table)) {
      const isTable = KINDS[kind] === "table";
      yield { kind: KINDS[kind], table: feed.names.get(table), keyHash: isTable ? null : hash, version: version || null };
    }
  }
  feed.since = { epoch: message.epoch, position: message.position };
  if (message.asOf && !feed.isHeard) {
    feed.isHeard = true;
    yield { kind: "heard" };
  }
}

/** What a connection has told and nobody has taken yet. */
class Inbox {
  constructor(client) {
    this.payloads = [];
    this.error = null;
    this.wake = () => {};
    client.on("notification", ({ payload }) => {
      if (this.payloads.push(payload) > QUEUE_MAX) {
        this.end(new Error("nobody takes what is told"));
        client.connection.stream.destroy();
      }
      this.wake();
    });
    client.on("error", (error) => this.end(error));
    client.on("end", () => this.end(new Error("the connection ended")));
  }

  /** The first reason counts. */
  end(error) {
    this.error ??= lost(error);
    this.wake();
  }

  /** The next payload, if it comes within so many milliseconds. */
  async next(bound) {
    const silence = setTimeout(() => this.end(new Error("silence")), bound);
    try {
      while (this.payloads.length === 0 && !this.error) {
        await new Promise((resolve) => { this.wake = resolve; });
      }
    } finally {
      clearTimeout(silence);
    }
    if (this.payloads.length === 0) {
      throw this.error;
    }
    return this.payloads.shift();
  }
}

module.exports = { changes, keyHash, decode };

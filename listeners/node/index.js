"use strict";

const os = require("node:os");
const { setTimeout: sleep } = require("node:timers/promises");
const { Client } = require("pg");
const { Inbox } = require("./inbox.js");
const { decode } = require("./message.js");

const KINDS = ["row", "row", "table", "tag"];
/** Milliseconds. */
const BOUND = 3000;
/** That must fit into the bound: one may be late, or lost with its connection. */
const HEARTBEATS_MIN = 3;
/** Milliseconds from a connection's beginning to the feed's first message. */
const BEGIN_MAX = 10_000;
/** Milliseconds after which a connection is made anew, for clocks drift and are matched when one begins. */
const RENEW = 3_600_000;
/** Messages for a caller who takes none; then the connection ends, and goes on where it was once he does. */
const QUEUE_MAX = 10_000;
/** Milliseconds between two tries to connect; up to half of it less, so that not all come at once. */
const [PAUSE_MIN, PAUSE_MAX] = [100, 2000];
/**
 * What passes by itself: the connection, the server's resources, an administrator; a standby may be promoted, and a table that was attached anew
 * has another number.
 */
const PASSES = /^(08|53|57|CS005|CS008)/;
const MISTAKES = [TypeError, RangeError, SyntaxError, ReferenceError];

/** Milliseconds on a clock that goes on while the machine is suspended. */
const now = () => os.uptime() * 1e3;
/** A random number. */
const between = (least, most) => least + Math.random() * (most - least);

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
 * milliseconds, what is told may be before the feed counts as silent; some heartbeats of the server must fit into it. The first connection
 * must succeed. One that is lost later is made again; what does not pass by itself, such as a right that is gone, is thrown. A connection is made
 * anew with what it tells first after `renew` milliseconds, or somewhat before, which are no fewer than `bound`; and up to `queueMax` messages wait for a caller who takes none.
 */
async function* changes({ connection, tables, bound = BOUND, renew = RENEW, queueMax = QUEUE_MAX }) {
  if (!Array.isArray(tables) || tables.length === 0) {
    throw new TypeError(`tables is a list of names, not ${JSON.stringify(tables)}`);
  }
  // A bound that is no number is refused once the server's heartbeat is known.
  if (!(renew > 0) || renew < bound) {
    throw new RangeError(`renew is a number of milliseconds, and no fewer than the bound of ${bound}, not ${renew}`);
  }
  if (!(queueMax >= 1)) {
    throw new RangeError(`queueMax is a number from 1, not ${queueMax}`);
  }
  const feed = { connection, tables, bound, renew, queueMax, names: null, since: null, isHeard: false, fresh: null, pause: PAUSE_MIN };
  for (;;) {
    try {
      yield* follow(feed);
      continue;
    } catch (error) {
      if (!feed.since || !(error instanceof Lost)) {
        throw error instanceof Lost ? error.cause : error;
      }
    }
    if (feed.isHeard) {
      feed.isHeard = false;
      yield { kind: "silent" };
    }
    await sleep(feed.pause * between(0.5, 1));
    feed.pause = Math.min(2 * feed.pause, PAUSE_MAX);
  }
}

/** The hash under which the feed tells of the row with this key, an object of the primary key's columns; `client` is pg's. */
async function keyHash(client, table, key) {
  const asked = "SELECT cache_sync.key_hash($1::text::regclass, $2::jsonb)::text AS hash";
  return BigInt((await client.query(asked, [table, JSON.stringify(key)])).rows[0].hash);
}

/**
 * Whether what pg threw passes by itself, so that it helps to connect again. What the server says has a severity; all else is the connection's
 * end, if it is no mistake in a program.
 */
function passes(error) {
  return error.severity ? PASSES.test(error.code) : !MISTAKES.some((kind) => error instanceof kind);
}

/** A connection is gone, for a reason that passes. */
class Lost extends Error {
  constructor(cause) {
    super(cause.message, { cause });
  }
}

const lost = (error) => { throw passes(error) ? new Lost(error) : error; };

/** What one connection tells, until it is lost (an error) or to be made anew. */
async function* follow(feed) {
  const connection = typeof feed.connection === "string" ? { connectionString: feed.connection } : feed.connection;
  const client = new Client(connection);
  const inbox = new Inbox(client, feed.queueMax);
  const ends = now() + feed.renew * between(0.9, 1);
  try {
    const { names, start, asked } = await begun(feed, client, inbox);
    feed.names = names;
    const ahead = asked - Number(start.sent) / 1e3; // our clock, at least
    for (let message = start; ; message = decode(await inbox.next(left(feed)).catch(lost))) {
      if (message.asOf) {
        feed.fresh = Number(message.asOf) / 1e3 + ahead;
        // It may have been on its way for long, or have waited for the caller, or while this process was stopped.
        if (now() > feed.fresh + feed.bound) {
          throw new Lost(new Error("what is told is too old"));
        }
      }
      yield* told(feed, message);
      // Only once this connection is heard, or one would follow another and none tell anything.
      if (message.asOf && now() > ends) {
        return;
      }
    }
  } finally {
    client.connection.stream.destroy();
  }
}

/** Milliseconds until the feed counts as silent, if nothing comes; while what was missed is being told, since it was asked for the next. */
function left(feed) {
  return feed.isHeard ? Math.max(0, feed.fresh + feed.bound - now()) : feed.bound;
}

async function begun(feed, client, inbox) {
  const within = feed.isHeard ? Math.min(BEGIN_MAX, left(feed)) : BEGIN_MAX;
  const late = setTimeout(() => inbox.end(new Error(`the feed did not begin within ${(within / 1e3).toFixed(1)} s`)), within);
  try {
    return await Promise.race([begin(feed, client, inbox), inbox.ended.catch(lost)]);
  } finally {
    clearTimeout(late);
  }
}

/** Asks for the feed: the tables' names by their numbers, its first message, and when it was asked for. */
async function begin(feed, client, inbox) {
  const { found, heartbeat } = await client.connect().then(() => look(client, feed.tables)).catch(lost);
  const missing = found.filter(([number]) => number === null).map(([, name]) => name);
  if (missing.length > 0) {
    throw new Error(`not attached: ${missing.join(", ")}`);
  }
  // Also one that is no number.
  if (!(feed.bound >= HEARTBEATS_MIN * heartbeat)) {
    const least = `it must be at least ${HEARTBEATS_MIN} times the server's cache_sync.heartbeat_interval, which is ${heartbeat} ms`;
    throw new RangeError(`a bound of ${feed.bound} ms: ${least}`);
  }
  const names = new Map(found);
  const isOther = feed.names && !(names.size === feed.names.size && [...names].every(([number, name]) => feed.names.get(number) === name));
  const since = feed.since && !isOther ? `${feed.since.epoch}, ${feed.since.position}` : "NULL, NULL";
  const asked = now();
  // Not awaited: it is answered when the feed ends.
  client.query(`CALL cache_sync.stream('{${[...names.keys()]}}', ${since})`).then(
    () => inbox.end(new Error("the server ended the feed")),
    (error) => inbox.end(error),
  );
  return { names, start: decode(await inbox.next(BEGIN_MAX).catch(lost)), asked };
}

/** The tables' numbers, each with its name, and the milliseconds between two heartbeats. */
async function look(client, tables) {
  // The function loads the library, where no preloading has, and so the settings.
  await client.query("SET statement_timeout = 0; SELECT cache_sync.hlc()");
  const numbers =
    "SELECT name, table_id FROM unnest($1::text[]) WITH ORDINALITY u (name, place) LEFT JOIN cache_sync.tables ON tbl = name::regclass ORDER BY place";
  const found = (await client.query(numbers, [tables])).rows.map((row) => [row.table_id, row.name]);
  const heartbeats = await client.query("SELECT setting::int FROM pg_settings WHERE name = 'cache_sync.heartbeat_interval'");
  return { found, heartbeat: heartbeats.rows[0].setting };
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
  if (message.asOf) {
    feed.pause = PAUSE_MIN;
    if (!feed.isHeard) {
      feed.isHeard = true;
      yield { kind: "heard" };
    }
  }
}

module.exports = { changes, keyHash, passes, decode };

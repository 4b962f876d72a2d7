"use strict";

// What a connection tells waits for a caller who takes none, up to a limit.

const assert = require("node:assert");
const { EventEmitter } = require("node:events");
const test = require("node:test");
const { Inbox } = require("../inbox.js");

/** A connection that tells these. */
function telling(queueMax) {
  const client = new EventEmitter();
  client.connection = { stream: { isOpen: true, destroy() { this.isOpen = false; } } };
  const inbox = new Inbox(client, queueMax);
  return { client, inbox, tell: (...payloads) => payloads.forEach((payload) => client.emit("notification", { payload })) };
}

test("what was told is taken in its order, also after the connection's end", async () => {
  const { client, inbox, tell } = telling(3);
  tell("a", "b");
  client.emit("end");
  assert.equal(await inbox.next(0), "a");
  assert.equal(await inbox.next(0), "b");
  await assert.rejects(inbox.next(1000), /the connection ended/);
});

test("after one that is dropped nothing is taken, though there is room again", async () => {
  const { client, inbox, tell } = telling(2);
  tell("a", "b", "dropped");
  assert.equal(client.connection.stream.isOpen, false);
  assert.equal(await inbox.next(0), "a");
  tell("later");
  assert.equal(await inbox.next(0), "b");
  await assert.rejects(inbox.next(1000), /nobody takes/);
});

test("who waits is woken by what comes, by silence, and by an error", async () => {
  const { inbox, tell } = telling(1);
  setImmediate(() => tell("a"));
  assert.equal(await inbox.next(60_000), "a");
  await assert.rejects(inbox.next(1), /silence/);
  const broken = telling(1);
  setImmediate(() => broken.client.emit("error", new Error("reset")));
  await assert.rejects(broken.inbox.next(60_000), /reset/);
});

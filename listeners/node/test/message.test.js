"use strict";

// Messages are read as docs/feed.md says: each of its test vectors.

const assert = require("node:assert");
const fs = require("node:fs");
const path = require("node:path");
const test = require("node:test");
const { decode } = require("../message.js");

function vectors() {
  const feed = fs.readFileSync(path.join(__dirname, "../../../docs/feed.md"), "utf8");
  const lines = feed.split("## Test vectors")[1].split("```text\n")[1].split("```")[0].trim().split("\n");
  return lines.flatMap((words, at) => (at % 2 === 0 ? [[words, lines[at + 1]]] : []));
}

function inWords(message) {
  const resumed = message.kind === "S" ? ` resumed=${Number(message.resumed)}` : "";
  const { epoch, position, hlc, lsn, sent, asOf } = message;
  const changes = message.changes.map(({ table, keyHash, version, kind }) => ` ${table}:${BigInt.asUintN(64, keyHash)}:${version}:${kind}`);
  return `${message.kind}${resumed} epoch=${epoch} position=${position} hlc=${hlc} lsn=${lsn} sent=${sent} as_of=${asOf}${changes.join("")}`;
}

test("every vector is read", () => {
  assert.equal(vectors().length, 6);
  for (const [words, payload] of vectors()) {
    assert.equal(inWords(decode(payload)), words);
  }
});

test("another protocol is refused", () => {
  for (const data of [Buffer.alloc(0), Buffer.concat([Buffer.from("\x04C"), Buffer.alloc(48)]), Buffer.from([2])]) {
    assert.throws(() => decode(data.toString("base64")), /protocol/);
  }
});

test("what is cut off is refused", () => {
  for (const [words, payload] of vectors()) {
    // An S that lost its last byte says not whether it resumed; what lost a change's end has a part of one.
    const whole = Buffer.from(payload, "base64");
    for (let end = 1; end < whole.length; end += 1) {
      if (/^[HG]/.test(words) || (end - 50) % 21 !== 0) {
        assert.throws(() => decode(whole.subarray(0, end).toString("base64")), /cut off/, `${words} up to ${end}`);
      }
    }
  }
  assert.throws(() => decode("A0gAA"), /cut off/);
});

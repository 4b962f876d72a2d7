"use strict";

const PROTOCOL = 3;
// Protocol and kind, then epoch, position, hlc, lsn, sent and as_of of 8 bytes each.
const HEADER_BYTES = 50;
const CHANGE_BYTES = 21;

/**
 * Reads the payload of a notification of the feed: docs/feed.md says what it has. Numbers of 64 bits are BigInts.
 * One of another protocol, or that is cut off, is an error.
 */
function decode(payload) {
  const data = Buffer.from(payload, "base64");
  if (data[0] !== PROTOCOL) {
    throw new Error(`the feed speaks protocol ${data[0] ?? "none"}, this listener ${PROTOCOL}`);
  }
  const kind = String.fromCharCode(data[1]);
  const rest = data.length - HEADER_BYTES;
  if (rest < 0 || (kind === "S" && rest === 0) || (kind === "C" && rest % CHANGE_BYTES !== 0)) {
    throw new Error(`a message of the feed is cut off after ${data.length} bytes`);
  }
  const [epoch, position, hlc, lsn, sent, asOf] = [0, 1, 2, 3, 4, 5].map((at) => data.readBigUInt64BE(2 + 8 * at));
  const changes = [];
  for (let at = HEADER_BYTES; kind === "C" && at < data.length; at += CHANGE_BYTES) {
    changes.push({
      table: data.readInt32BE(at),
      keyHash: data.readBigInt64BE(at + 4),
      version: data.readBigUInt64BE(at + 12),
      kind: data[at + 20],
    });
  }
  const resumed = kind === "S" ? data[HEADER_BYTES] === 1 : null;
  return { kind, resumed, epoch, position, hlc, lsn, sent, asOf, changes };
}

module.exports = { decode };

"use strict";

// Prints what is told, as printer.py does.

const { changes } = require("cache-sync-listener");

const [table, options] = [process.argv[2], JSON.parse(process.argv[3])];
const released = new Promise((resolve) => { process.stdin.resume().on("end", resolve); });
const has = (value) => (value !== null && value !== undefined ? "True" : "False");

async function main() {
  for await (const told of changes({ connection: process.env.DATABASE_URL, tables: [table], ...options })) {
    console.log(told.kind, told.table ?? "-", has(told.keyHash), has(told.version));
    if (options.holds && told.kind === "row") {
      await released;
    }
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});

// The Worker on workerd, on a loopback port: `node serve.mjs FOLDER`. Prints its url when ready; ends with its input.

import { readFileSync } from "node:fs";
import { Miniflare } from "miniflare";

const file = (path) => readFileSync(new URL(path, import.meta.url), "utf8");

const miniflare = new Miniflare({
  host: "127.0.0.1",
  port: 0,
  cf: false,
  modules: [
    { type: "ESModule", path: "faults.mjs", contents: file("faults.mjs") },
    { type: "ESModule", path: "worker.js", contents: file("../../src/edgememory/cloudflare/worker.js") },
  ],
  compatibilityDate: "2026-07-01",
  kvNamespaces: ["ENTRIES"],
  durableObjects: {
    USERS: { className: "UserObject", useSQLite: true },
    INDEX: { className: "IndexObject", useSQLite: true },
  },
  bindings: { TOKENS: "full-token next-token", READ_TOKENS: "read-token" },
  defaultPersistRoot: process.argv[2],
  kvPersist: true,
  durableObjectsPersist: true,
});

process.stdin.resume();
process.stdin.on("end", async () => {
  await miniflare.dispose();
  process.exit();
});

console.log(JSON.stringify({ url: (await miniflare.ready).origin }));

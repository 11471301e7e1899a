// The Worker on workerd, on a loopback port: `node serve.mjs RUNTIME FOLDER SURROUNDINGS BINDINGS`. RUNTIME is where
// miniflare is installed, SURROUNDINGS the module around worker.js. Prints its url when ready; ends with its input.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [runtime, folder, surroundings, bindings] = process.argv.slice(2);
const { Miniflare } = createRequire(`${runtime}/`)("miniflare");
const worker = readFileSync(new URL("../../cloudflare/worker.js", import.meta.url), "utf8");

const miniflare = new Miniflare({
  host: "127.0.0.1",
  port: 0,
  cf: false,
  modules: [
    { type: "ESModule", path: "surroundings.mjs", contents: readFileSync(surroundings, "utf8") },
    { type: "ESModule", path: "worker.js", contents: worker },
  ],
  compatibilityDate: "2026-07-01",
  kvNamespaces: ["ENTRIES"],
  durableObjects: {
    USERS: { className: "UserObject", useSQLite: true },
    INDEX: { className: "IndexObject", useSQLite: true },
  },
  bindings: JSON.parse(bindings),
  defaultPersistRoot: folder,
  kvPersist: true,
  durableObjectsPersist: true,
});

process.stdin.resume();
process.stdin.on("end", async () => {
  await miniflare.dispose();
  process.exit();
});

console.log(JSON.stringify({ url: (await miniflare.ready).origin }));

// Entry protocol v1 (docs/reference/entry-protocol.md) over Workers KV and Durable Objects. Entries and changes are opaque text.

import { DurableObject } from "cloudflare:workers";

const MIB = 1024 * 1024;
const BODY_BYTES = MIB;
const APPEND_BYTES = 8 * MIB; // a message of 1 MiB may take six times that as JSON
const OUTBOX_BYTES = 8 * MIB;
const CLAIM_CHANGES = 256;
const CLAIM_BYTES = MIB;
const ANSWER_BYTES = 8 * MIB; // an isolate has 128 MB for all that it does at once: workers/platform/limits
const KEY_BYTES = 512; // kv/platform/limits
const MOST = 100; // keys of one bulk read: kv/api/read-key-value-pairs
const CACHE_TTL = 60; // seconds; the least on older pages of kv/api/read-key-value-pairs, twice the least on today's
const LEAST_TTL = 60; // seconds: kv/api/write-key-value-pairs
const WRITE_EVERY = 1000; // ms; KV takes one write a second to a key: kv/platform/limits
const WRITE_RETRY = 10_000;
const OBJECT_PATIENCE = 25; // ms until KV may answer in the object's place
const INDEX_PATIENCE = 1000;
const REGISTER_EVERY = 60_000;
const FLOOR_KEPT = 90 * 86_400_000;
const LONGEST_KEEP = 100 * 365 * 86_400; // seconds
const SHARDS = 8;
const AT_ONCE = 8;
// A row holds at most 2 MB (durable-objects/platform/limits). Whole code points: half a surrogate pair is no text.
const PARTS = /[^]{1,250000}/gu;

const ROUTES = [
  [/^\/v1\/entries\/get$/, { POST: getEntries }],
  [/^\/v1\/entries\/([^/]+)$/, { GET: getEntry, PUT: putEntry }],
  [/^\/v1\/outbox\/claim$/, { POST: claim }],
  [/^\/v1\/outbox\/depth$/, { GET: depth }],
  [/^\/v1\/outbox\/dead$/, { GET: deadLetters }],
  [/^\/v1\/outbox\/([^/]+)$/, { POST: append }],
  [/^\/v1\/outbox\/([^/]+)\/ack$/, { POST: ack }],
  [/^\/v1\/outbox\/([^/]+)\/reject$/, { POST: reject }],
];
const READERS = new Set([getEntry, getEntries]); // what a read token may call

export default {
  async fetch(request, env) {
    try {
      return await answer(request, env);
    } catch (thrown) {
      if (thrown instanceof Response) return thrown;
      log(thrown);
      return refusal(500, "internal", "The Worker failed; its log says where.");
    }
  },
};

async function answer(request, env) {
  const url = new URL(request.url);
  if (url.pathname === "/v1/health" && request.method === "GET") {
    return Response.json({ protocol: 1, location: request.cf?.colo ?? null });
  }
  const may = await rights(request, env);
  const [handler, key] = route(request.method, url.pathname);
  if (may === "read" && !READERS.has(handler)) throw refusal(403, "forbidden", "A read token cannot write.");
  return handler({ request, env, key, query: url.searchParams });
}

function route(method, pathname) {
  for (const [pattern, handlers] of ROUTES) {
    const match = pattern.exec(pathname);
    if (match === null) continue;
    if (Object.hasOwn(handlers, method)) return [handlers[method], match[1] && decodedKey(match[1])];
    const allow = Object.keys(handlers).join(", ");
    throw refusal(405, "method_not_allowed", `This path takes ${allow}.`, { Allow: allow });
  }
  if (pathname !== "/v1/health") throw refusal(404, "not_found", "There is no such path.");
  throw refusal(405, "method_not_allowed", "This path takes GET.", { Allow: "GET" });
}

// --- entries ---------------------------------------------------------------------------------------------------------

async function getEntry({ request, env, key, query }) {
  if (query.get("pending") === "1") return Response.json(await asked(userObject(env, key).open()));
  const atLeast = Number(matching(request, "Edgememory-At-Least", /^\d{1,16}$/, "0"));
  const { entry, source } = await newest(env, key, atLeast);
  if (entry === null) throw refusal(404, "not_found", "There is no such entry.");
  const headers = { "Content-Type": "application/json", ETag: `"${entry.order}"`, "Edgememory-Source": source };
  return new Response(entry.text, { headers });
}

/** The object's entry as soon as it answers. It is asked even when KV has answered: KV may still hold what, or the absence that, it
 * cached before the last write. KV is written by the object alone, so KV's is never newer. */
async function newest(env, key, atLeast) {
  const object = settled("object", userObject(env, key).entry());
  const kv = settled("kv", entryInKv(env, key));
  const isEnough = ({ entry }) => entry !== null && versionOf(entry.order) >= atLeast;
  const insteadOfObject = sleep(OBJECT_PATIENCE).then(() => kv).then((answer) => (isEnough(answer) ? answer : object));
  const first = await Promise.race([object, insteadOfObject]);
  if (first.entry !== null) return first;
  const [fromObject, fromKv] = await Promise.all([object, kv]);
  if (fromObject.error === undefined) return isEnough(fromKv) ? fromKv : fromObject;
  if (fromKv.entry === null) throw unavailable(fromObject.error);
  return fromKv;
}

async function entryInKv(env, key) {
  return stored(await env.ENTRIES.getWithMetadata(key, { type: "text", cacheTtl: CACHE_TTL }));
}

/** What KV holds, unless it is overdue: KV keeps 60 seconds at the least, and caches for as long. */
function stored({ value, metadata }) {
  return value === null || metadata.forgetAt <= Date.now() ? null : { text: value, order: metadata.order };
}

async function getEntries({ request, env }) {
  const { keys } = await fields(request, BODY_BYTES, "keys");
  if (keys.length === 0) return Response.json({ entries: {} });
  const found = await env.ENTRIES.getWithMetadata([...new Set(keys)], { type: "text", cacheTtl: CACHE_TTL });
  const entries = [...found].map(([key, held]) => [key, held === null ? null : stored(held)]);
  return Response.json({
    entries: Object.fromEntries(entries.filter(([, entry]) => entry !== null).map(([key, { text }]) => [key, text])),
  });
}

async function putEntry({ request, env, key }) {
  const order = matching(request, "Edgememory-Order", /^\d{1,16}\.\d{1,16}\.\d{1,16}$/);
  if (order.split(".").some((part) => BigInt(part) > 2n ** 53n)) {
    throw refusal(400, "bad_request", "Edgememory-Order holds a number above 2**53.");
  }
  const keep = Math.min(Number(matching(request, "Edgememory-Keep", /^\d+(\.\d+)?$/)), LONGEST_KEEP);
  const isTombstone = matching(request, "Edgememory-Tombstone", /^1$/, "") === "1";
  const text = await bodyOf(request, BODY_BYTES);
  const put = await asked(userObject(env, key).put(key, { order, text, keep }, isTombstone));
  if (!put.stands) throw refusal(409, "newer_stands", "A newer entry stands.", { ETag: `"${put.order}"` });
  if (put.kvFailed) throw refusal(503, "kv_unavailable", "The tombstone is in the object, and not yet in KV.");
  return new Response(null, { status: 204 });
}

// --- the outbox ------------------------------------------------------------------------------------------------------

async function append({ request, env, key }) {
  const { user, changes, now } = await fields(request, APPEND_BYTES, "user", "changes", "now");
  const waits = await asked(userObject(env, key).append(key, user, changes, now));
  if (waits === null) throw refusal(507, "outbox_full", `${OUTBOX_BYTES} bytes wait of this user, all that may.`);
  return Response.json(waits);
}

async function claim({ request, env }) {
  const { lease, limit, now } = await fields(request, BODY_BYTES, "lease", "limit", "now");
  const claims = [];
  const seen = new Set();
  let bytes = 0;
  // The index is a hint: of whom it names, some have nothing left. A few at a time, since all that is leased must fit into the answer.
  while (claims.length < limit && bytes < ANSWER_BYTES) {
    const found = (await inAllShards(env, (shard) => quietly(shard.claimable(now, limit + seen.size)))).flat();
    const next = found.filter((row) => row !== null && !seen.has(row.key)).sort((one, other) => one.due - other.due);
    if (next.length === 0) break;
    const keys = next.slice(0, Math.min(AT_ONCE, limit - claims.length)).map(({ key }) => key);
    const portions = await Promise.all(keys.map((key) => quietly(userObject(env, key).claim(key, lease, now))));
    for (const [place, key] of keys.entries()) {
      seen.add(key);
      if (portions[place] === null) continue;
      const { user, token, changes } = portions[place];
      claims.push({ key, user, token, changes });
      bytes += portions[place].bytes;
    }
  }
  return Response.json({ claims });
}

async function ack({ request, env, key }) {
  const { token, ids, version, now } = await fields(request, BODY_BYTES, "token", "ids", "version", "now");
  await asked(userObject(env, key).ack(key, token, ids, version, now));
  return new Response(null, { status: 204 });
}

async function reject({ request, env, key }) {
  const { token, ids, error, now } = await fields(request, BODY_BYTES, "token", "ids", "error", "now");
  await asked(userObject(env, key).reject(key, token, ids, error, now));
  return new Response(null, { status: 204 });
}

async function depth({ env, query }) {
  const { now } = checked({ now: numberIn(query, "now") }, "now");
  const shards = await inAllShards(env, (shard) => asked(shard.depth()));
  const sum = (name) => shards.reduce((total, shard) => total + shard[name], 0);
  const oldest = Math.min(...shards.map((shard) => shard.oldest ?? Infinity));
  const oldest_age = oldest === Infinity ? null : Math.max(0, now - oldest);
  return Response.json({ changes: sum("changes"), users: sum("users"), dead: sum("dead"), oldest_age });
}

async function deadLetters({ env, query }) {
  const { limit } = checked({ limit: numberIn(query, "limit") }, "limit");
  const found = await inAllShards(env, (shard) => asked(shard.withDeadLetters(limit)));
  const users = found.flat().sort((one, other) => other.deadAt - one.deadAt).slice(0, limit);
  const dead = [];
  let bytes = 0;
  for (let place = 0; place < users.length && bytes < ANSWER_BYTES; place += AT_ONCE) {
    const batch = users.slice(place, place + AT_ONCE);
    for (const portion of await Promise.all(batch.map(({ key }) => asked(userObject(env, key).deadLetters(limit))))) {
      dead.push(...portion.dead);
      bytes += portion.bytes;
    }
  }
  return Response.json({ dead: dead.sort((one, other) => other.at - one.at).slice(0, limit) });
}

// --- one object a user -----------------------------------------------------------------------------------------------

const NOBODY = { user: null, floor: 0, due: null, token: null, lease: null, claimed: [], forgetAt: Infinity };

/** The newest entry of one user, and the changes that wait. Its methods run to their first `await` undisturbed, and what they
 * wrote is durable before anything leaves the object (durable-objects/reference/in-memory-state, output gates). */
export class UserObject extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    this.kv = ctx.storage.kv;
    this.sql = (statement, ...values) => ctx.storage.sql.exec(statement, ...values);
    this.writing = Promise.resolve();
    this.registering = Promise.resolve();
    this.registerAt = 0; // in memory: a new instance registers at its first alarm
    this.sql(`
      CREATE TABLE IF NOT EXISTS changes (
        id TEXT, part INTEGER, appended_at REAL, body TEXT, PRIMARY KEY (id, part)
      ) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS dead (
        number INTEGER, part INTEGER, id TEXT, body TEXT, error TEXT, at REAL, PRIMARY KEY (number, part)
      ) WITHOUT ROWID;
    `);
  }

  entry() {
    const entry = this.present();
    return entry && { text: entry.text, order: entry.order };
  }

  open() {
    const entry = this.present();
    return { entry: entry?.text ?? null, order: entry?.order ?? null, ...this.waiting() };
  }

  async put(key, { order, text, keep }, isTombstone) {
    const present = this.present();
    if (present !== null && compareOrders(present.order, order) > 0) return { stands: false, order: present.order };
    const revision = (this.kv.get("revision") ?? 0) + 1;
    this.kv.put("key", key);
    this.kv.put("revision", revision);
    // As bytes: a string with one character outside Latin-1 would take two bytes for each, and 2 MB are the limit.
    this.kv.put("entry", { order, bytes: new TextEncoder().encode(text), forgetAt: Date.now() + keep * 1000 });
    this.schedule();
    if (!isTombstone) return { stands: true };
    return { stands: true, kvFailed: !(await this.writeBehind()) };
  }

  async append(key, user, changes, now) {
    const known = new Set([...this.sql("SELECT id FROM changes WHERE part = 0")].map(({ id }) => id));
    const added = new Map(changes.filter(({ id }) => !known.has(id)).reverse().map(({ id, body }) => [id, body])); // the first body stays
    const { waiting } = this.sql("SELECT total(octet_length(body)) AS waiting FROM changes").one();
    const size = [...added.values()].reduce((total, body) => total + new TextEncoder().encode(body).length, waiting);
    if (size > OUTBOX_BYTES) return null;
    for (const [id, body] of added) {
      for (const [part, text] of body.match(PARTS).entries()) {
        this.sql("INSERT INTO changes (id, part, appended_at, body) VALUES (?, ?, ?, ?)", id, part, now, text);
      }
    }
    const outbox = this.outbox();
    this.save(key, { ...outbox, user, due: outbox.due ?? (changes.length > 0 ? now : null) });
    if (changes.length > 0) await this.register();
    return this.waiting();
  }

  async claim(key, lease, now) {
    const outbox = this.outbox();
    const { items, bytes } = portion(this.changes(), CLAIM_CHANGES);
    const isFree = items.length > 0 && !isLeased(outbox, now);
    const token = crypto.randomUUID();
    if (isFree) this.save(key, { ...outbox, due: now + lease, token, lease, claimed: items.map(({ id }) => id) });
    await this.register();
    return isFree ? { user: outbox.user, token, changes: items, bytes } : null;
  }

  async ack(key, token, ids, version, now) {
    for (const id of ids) this.sql("DELETE FROM changes WHERE id = ?", id);
    const outbox = this.outbox();
    this.save(key, { ...outbox, floor: Math.max(outbox.floor, version), forgetAt: Date.now() + FLOOR_KEPT });
    await this.settle(key, token, now);
  }

  async reject(key, token, ids, error, now) {
    for (const id of ids) {
      this.sql(
        `INSERT INTO dead (number, part, id, body, error, at)
        SELECT (SELECT coalesce(max(number), 0) + 1 FROM dead), part, id, body, ?, ? FROM changes WHERE id = ?`,
        error, now, id,
      );
      this.sql("DELETE FROM changes WHERE id = ?", id);
    }
    await this.settle(key, token, now);
  }

  deadLetters(limit) {
    const rows = this.sql("SELECT number, part, id, body, error, at FROM dead ORDER BY number DESC, part");
    const { items, bytes } = portion(whole(rows), limit);
    const { user } = this.outbox();
    return { dead: items.map(({ id, body, error, at }) => ({ user, id, body, error, at })), bytes };
  }

  async alarm() {
    try {
      await this.writeBehind();
      if (this.isWaiting() && this.registerAt <= Date.now()) await this.register();
      if ((this.kv.get("entry")?.forgetAt ?? Infinity) <= Date.now()) this.kv.delete("entry");
      if (!this.isWaiting() && this.outbox().forgetAt <= Date.now()) this.kv.delete("outbox");
    } catch (error) {
      log(error);
      // Not left to the runtime, which gives an alarm up after six retries: durable-objects/api/alarms
      this.retryAt = Date.now() + WRITE_RETRY;
    }
    this.schedule();
  }

  // What follows is no part of the object's interface.

  present() {
    const entry = this.kv.get("entry");
    if (entry === undefined || entry.forgetAt <= Date.now()) return null;
    return { ...entry, text: new TextDecoder().decode(entry.bytes) };
  }

  outbox() {
    return this.kv.get("outbox") ?? NOBODY;
  }

  save(key, outbox) {
    this.kv.put("key", key);
    this.kv.put("outbox", outbox);
    this.schedule();
  }

  *changes() {
    yield* whole(this.sql("SELECT id, part, body FROM changes ORDER BY id, part"));
  }

  waiting() {
    return { changes: [...this.changes()].map(({ id, body }) => ({ id, body })), floor: this.outbox().floor };
  }
}

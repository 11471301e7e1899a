// Entry protocol v1 (docs/reference/entry-protocol.md), on Workers KV and Durable Objects. What they hold is opaque.

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
const WRITE_EVERY = 1100; // ms; KV takes one write a second to a key (kv/platform/limits), and timers ring early
const WRITE_RETRY = 10_000;
const SILENCE = 60_000; // ms after which a call is over: what comes before is one write to KV, however long the call was
const OBJECT_PATIENCE = 25; // ms until KV may answer in the object's place
const INDEX_PATIENCE = 1000;
const REGISTER_EVERY = 60_000;
const CONFIRM_EVERY = 86_400_000_000; // us: what only says that nothing has changed is written to KV once a day
const FLOOR_KEPT = 90 * 86_400_000;
const LONGEST_KEEP = 2 ** 31 - 1; // seconds, 68 years: workerd takes no larger expirationTtl
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
      await readToEnd(request);
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

/** The object's entry as soon as it answers. It is asked even when KV has answered: KV may still hold the entry, or the
 * absence, that it cached before the last write. KV is written by the object alone, so KV's is never newer. */
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
  const found = await quietly(env.ENTRIES.getWithMetadata(keys, { type: "text", cacheTtl: CACHE_TTL }));
  if (found === null) throw refusal(503, "kv_unavailable", "KV does not answer.");
  const entries = [...found].map(([key, held]) => [key, held && stored(held)?.text]);
  return Response.json({ entries: Object.fromEntries(entries.filter(([, text]) => typeof text === "string")) });
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
  if (put.kvFailed) throw refusal(503, "kv_unavailable", "The tombstone is in the object, not in KV: repeat.");
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
  // The index is a hint: some of its users have nothing left. A few at a time: what is leased must fit into the answer.
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

const FREE = { token: null, lease: null, claimed: [] };
const NOBODY = { user: null, floor: 0, due: null, ...FREE };

/** The newest entry of one user, and the changes that wait. Its methods run to their first `await` undisturbed, and
 * what they wrote is durable before anything leaves the object (durable-objects/api/storage-api: output gates). */
export class UserObject extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    this.kv = ctx.storage.kv;
    this.sql = (statement, ...values) => ctx.storage.sql.exec(statement, ...values);
    this.writing = Promise.resolve();
    this.registering = Promise.resolve();
    this.retryAt = 0;
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
    this.kv.put("key", key);
    if (present === null || !confirms(order, this.kv.get("told"))) {
      this.kv.put("revision", (this.kv.get("revision") ?? 0) + 1);
      this.kv.put("told", order);
      const isFirst = Date.now() >= (this.kv.get("writtenAt") ?? 0) + SILENCE;
      this.kv.put("writeAfter", isFirst ? 0 : Date.now() + SILENCE);
    }
    // As bytes: a string with one character outside Latin-1 would take two bytes for each, and 2 MB are the limit.
    this.kv.put("entry", { order, bytes: new TextEncoder().encode(text), forgetAt: Date.now() + keep * 1000 });
    this.schedule();
    return { stands: true, kvFailed: isTombstone && !(await this.writeBehind()) };
  }

  async append(key, user, changes, now) {
    if (changes.length === 0) return this.waiting();
    const known = new Set([...this.sql("SELECT id FROM changes WHERE part = 0")].map(({ id }) => id));
    const fresh = changes.filter(({ id }) => !known.has(id));
    const added = new Map(fresh.reverse().map(({ id, body }) => [id, body])); // reversed, since the first body stays
    const { waiting } = this.sql("SELECT total(octet_length(body)) AS waiting FROM changes").one();
    const size = [...added.values()].reduce((total, body) => total + bytesIn(body), waiting);
    if (size > OUTBOX_BYTES) return null;
    for (const [id, body] of added) {
      for (const [part, text] of body.match(PARTS).entries()) {
        this.sql("INSERT INTO changes (id, part, appended_at, body) VALUES (?, ?, ?, ?)", id, part, now, text);
      }
    }
    const outbox = this.outbox();
    const startsToWait = known.size === 0 && !isLeased(outbox, now);
    this.save(key, { ...outbox, user, ...(startsToWait && { due: now, ...FREE }) });
    await this.register();
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
    this.save(key, { ...outbox, floor: Math.max(outbox.floor, version) });
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
    if (this.isAhead() && this.writeDue() <= Date.now()) await this.writeBehind();
    if (this.present() === null) this.kv.delete("entry");
    const now = Date.now();
    if (this.summary() !== null && this.registerAt <= now) await this.register();
    if (this.summary() === null && this.kv.get("outbox")?.forgetAt <= now) this.kv.delete("outbox");
    this.schedule();
  }

  // What follows is no part of the object's interface.

  present() {
    const entry = this.kv.get("entry");
    // Not forgotten before KV was told: KV would go on showing the one before.
    if (entry === undefined || (entry.forgetAt <= Date.now() && !this.isAhead())) return null;
    return { ...entry, text: new TextDecoder("utf-8", { ignoreBOM: true }).decode(entry.bytes) };
  }

  outbox() {
    return this.kv.get("outbox") ?? NOBODY;
  }

  save(key, outbox) {
    this.kv.put("key", key);
    this.kv.put("outbox", { ...outbox, forgetAt: Date.now() + FLOOR_KEPT });
    this.schedule();
  }

  *changes() {
    const rows = this.sql("SELECT id, part, body FROM changes ORDER BY id, part");
    for (const { id, body } of whole(rows)) yield { id, body };
  }

  waiting() {
    return { changes: [...this.changes()], floor: this.outbox().floor };
  }

  /** End the lease that the token is of, if nothing that it carried is left. */
  async settle(key, token, now) {
    const outbox = this.outbox();
    const left = new Set([...this.changes()].map(({ id }) => id));
    if (outbox.token === token && !outbox.claimed.some((id) => left.has(id))) {
      this.save(key, { ...outbox, due: now, ...FREE });
    }
    await this.register();
  }

  /** What the index holds of this user; `null` if nothing waits and nothing is dead. */
  summary() {
    const waiting = this.sql(
      "SELECT count(*) AS changes, min(appended_at) AS oldest FROM changes WHERE part = 0",
    ).one();
    const buried = this.sql("SELECT count(*) AS dead, max(at) AS deadAt FROM dead WHERE part = 0").one();
    if (waiting.changes + buried.dead === 0) return null;
    const { due, lease } = this.outbox();
    return { ...waiting, ...buried, due: waiting.changes > 0 ? due : null, lease };
  }

  /** Tell the index, one time after the other, what is true when it is told. That it is away, or silent, is no failure:
   * the alarm tells it again. */
  register() {
    this.registerAt = Date.now() + REGISTER_EVERY;
    this.schedule();
    const key = this.kv.get("key");
    const tell = () => quietly(shard(this.env, key).register(key, this.summary()));
    this.registering = this.registering.then(() => Promise.race([tell(), sleep(INDEX_PATIENCE)]));
    return this.registering;
  }

  /** Bring KV up to date; say whether it is. One write after the other: of two at once, the older might arrive last. */
  async writeBehind() {
    this.writing = this.writing.then(() => quietly(this.writeToKv()));
    await this.writing;
    return !this.isAhead();
  }

  async writeToKv() {
    if (!this.isAhead()) return;
    await sleep(Math.min((this.kv.get("writtenAt") ?? 0) + WRITE_EVERY - Date.now(), WRITE_EVERY));
    const { order, bytes, forgetAt } = this.kv.get("entry");
    const revision = this.kv.get("revision");
    const expirationTtl = Math.max(LEAST_TTL, Math.ceil((forgetAt - Date.now()) / 1000));
    this.kv.put("writtenAt", Date.now());
    this.retryAt = Date.now() + WRITE_RETRY;
    await this.env.ENTRIES.put(this.kv.get("key"), bytes, { expirationTtl, metadata: { order, forgetAt } });
    this.retryAt = 0;
    this.kv.put("inKv", revision);
  }

  isAhead() {
    return this.kv.get("revision") !== this.kv.get("inKv");
  }

  /** When KV is to be told: at once as a call begins, then when it has been silent, or when the entry is forgotten. */
  writeDue() {
    const wanted = Math.min(this.kv.get("writeAfter") ?? 0, this.kv.get("entry").forgetAt);
    return Math.max(wanted, (this.kv.get("writtenAt") ?? 0) + WRITE_EVERY, this.retryAt);
  }

  /** Set the one alarm that an object has. KV's retries are not left to the runtime, which gives up after six:
   * durable-objects/api/alarms */
  schedule() {
    const times = [
      this.isAhead() ? this.writeDue() : this.kv.get("entry")?.forgetAt,
      this.summary() === null ? this.kv.get("outbox")?.forgetAt : this.registerAt,
    ].filter((time) => time !== undefined);
    // Not 0: an alarm for 1970 never rang in workerd.
    if (times.length > 0) this.ctx.storage.setAlarm(Math.max(Date.now(), Math.min(...times)));
    else this.ctx.storage.deleteAlarm();
  }
}

// --- the index of users with changes or dead letters -----------------------------------------------------------------

export class IndexObject extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    this.sql = (statement, ...values) => ctx.storage.sql.exec(statement, ...values);
    this.sql(`
      CREATE TABLE IF NOT EXISTS users (
        key TEXT PRIMARY KEY, due REAL, lease REAL, changes INTEGER, oldest REAL, dead INTEGER, deadAt REAL
      ) WITHOUT ROWID;
      CREATE INDEX IF NOT EXISTS users_due ON users (due) WHERE due IS NOT NULL;
    `);
  }

  register(key, summary) {
    if (summary === null) {
      this.sql("DELETE FROM users WHERE key = ?", key);
      return;
    }
    const { due, lease, changes, oldest, dead, deadAt } = summary;
    const values = [key, due, lease, changes, oldest, dead, deadAt];
    this.sql("INSERT OR REPLACE INTO users VALUES (?, ?, ?, ?, ?, ?, ?)", ...values);
  }

  claimable(now, limit) {
    return this.sql(
      `SELECT key, due FROM users WHERE due IS NOT NULL AND (lease IS NULL OR due <= ?1 OR due - 2 * lease >= ?1)
      ORDER BY due LIMIT ?2`,
      now, limit,
    ).toArray();
  }

  depth() {
    return this.sql(
      `SELECT total(changes) AS changes, count(*) FILTER (WHERE changes > 0) AS users, total(dead) AS dead,
      min(oldest) AS oldest FROM users`,
    ).one();
  }

  withDeadLetters(limit) {
    return this.sql("SELECT key, deadAt FROM users WHERE dead > 0 ORDER BY deadAt DESC LIMIT ?", limit).toArray();
  }
}

// --- pure functions --------------------------------------------------------------------------------------------------

function compareOrders(one, other) {
  const others = partsOf(other);
  const differences = partsOf(one).map((part, place) => part - others[place]);
  return differences.find((difference) => difference !== 0) ?? 0;
}

/** Say whether *order* is of what KV was told less than a day before, confirmed since by the origin. */
function confirms(order, told) {
  if (told === undefined) return false;
  const [[version, tentative, synced], [toldVersion, toldTentative, toldSynced]] = [partsOf(order), partsOf(told)];
  const later = synced - toldSynced;
  return version === toldVersion && tentative === toldTentative && later > 0 && later < CONFIRM_EVERY;
}

function partsOf(order) {
  return order.split(".").map(Number);
}

function versionOf(order) {
  return partsOf(order)[0];
}

/** A lease that began further in the future than its own length was taken before the clock was set back. */
function isLeased({ token, due, lease }, now) {
  return token !== null && due > now && due - 2 * lease < now;
}

/** The rows of changes or dead letters, each put together from its parts. */
function* whole(rows) {
  let change = null;
  for (const row of rows) {
    if (row.part > 0) {
      change.body += row.body;
    } else {
      if (change !== null) yield change;
      change = { ...row };
    }
  }
  if (change !== null) yield change;
}

/** The first that fit into one answer; one always does. */
function portion(changes, most) {
  const items = [];
  let bytes = 0;
  for (const change of changes) {
    const size = bytesIn(change.body);
    if (items.length === most || (items.length > 0 && bytes + size > CLAIM_BYTES)) break;
    items.push(change);
    bytes += size;
  }
  return { items, bytes };
}

function bytesIn(text) {
  return new TextEncoder().encode(text).length;
}

function decodedKey(segment) {
  let key;
  try {
    key = decodeURIComponent(segment);
  } catch {
    throw refusal(400, "bad_request", "The key is not percent-encoded UTF-8.");
  }
  return checked({ key }, "key").key;
}

function shardOf(key) {
  let hash = 0;
  for (const byte of new TextEncoder().encode(key)) hash = (hash * 31 + byte) >>> 0;
  return `shard-${hash % SHARDS}`;
}

const isText = (value) => typeof value === "string" && value.isWellFormed();
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const isWhole = (value, least, most) => Number.isInteger(value) && value >= least && value <= most;
const isKey = (value) => isText(value) && !["", ".", ".."].includes(value) && bytesIn(value) <= KEY_BYTES;
const isChange = (value) => isText(value?.id) && value.id !== "" && isText(value.body) && value.body !== "";
const isList = (value, isItem) => Array.isArray(value) && value.every(isItem);

const FIELDS = {
  changes: [(value) => isList(value, isChange), "a list of objects with id and body, both text that is not empty"],
  error: [isText, "text"],
  ids: [(value) => isList(value, isText), "a list of text"],
  key: [isKey, `text of 1 to ${KEY_BYTES} bytes, and neither . nor ..`],
  keys: [(value) => isList(value, isKey) && value.length <= MOST, `a list of at most ${MOST} keys`],
  lease: [(value) => isNumber(value) && value > 0, "seconds, above 0"],
  limit: [(value) => isWhole(value, 1, MOST), `a whole number from 1 to ${MOST}`],
  now: [isNumber, "seconds since 1970"],
  token: [isText, "text"],
  user: [(value) => isText(value?.namespace) && isText(value.user_id), "an object of the texts namespace and user_id"],
  version: [(value) => isWhole(value, 0, 2 ** 53), "a whole number from 0 to 2**53"],
};

function checked(values, ...names) {
  for (const name of names) {
    const [isRight, what] = FIELDS[name];
    if (!isRight(values[name])) throw refusal(400, "bad_request", `${name} must be ${what}.`);
  }
  return values;
}

function numberIn(query, name) {
  return query.get(name) ? Number(query.get(name)) : undefined;
}

function matching(request, header, pattern, absent) {
  const value = request.headers.get(header);
  if (value === null && absent !== undefined) return absent;
  if (value !== null && pattern.test(value)) return value;
  throw refusal(400, "bad_request", `The header ${header} is missing or malformed.`);
}

function refusal(status, code, message, headers = {}) {
  return Response.json({ error: { code, message } }, { status, headers });
}

// --- requests and what is asked of others ----------------------------------------------------------------------------

async function fields(request, limit, ...names) {
  let values;
  try {
    values = JSON.parse(await bodyOf(request, limit));
  } catch (error) {
    throw error instanceof Response ? error : refusal(400, "bad_request", "The body is no JSON.");
  }
  if (values === null || typeof values !== "object") throw refusal(400, "bad_request", "The body is no JSON object.");
  return checked(values, ...names);
}

/** The body's text. What is too large is read too: see `readToEnd`. */
async function bodyOf(request, limit) {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const chunks = [];
  let bytes = 0;
  for await (const chunk of request.body ?? []) {
    bytes += chunk.length;
    if (bytes <= limit) chunks.push(chunk);
  }
  if (bytes > limit) throw refusal(413, "too_large", `The body may have ${limit} bytes at most.`);
  try {
    return chunks.map((chunk) => decoder.decode(chunk, { stream: true })).join("") + decoder.decode();
  } catch {
    throw refusal(400, "bad_request", "The body is no UTF-8.");
  }
}

/** Answered before its body has come, a connection is closed: the client would see that, and not the refusal. */
async function readToEnd(request) {
  if (request.bodyUsed) return;
  try {
    await request.body?.pipeTo(new WritableStream());
  } catch {
    // The client is gone, and with it whoever would have read the answer.
  }
}

/** What the request's token allows: `all` or `read`. */
async function rights(request, env) {
  const given = /^Bearer +(\S+)$/i.exec(request.headers.get("Authorization") ?? "")?.[1];
  if (given !== undefined && (await isAmong(given, env.TOKENS))) return "all";
  if (given !== undefined && (await isAmong(given, env.READ_TOKENS))) return "read";
  throw refusal(401, "unauthorized", "Say Authorization: Bearer TOKEN, with a token that the Worker knows.");
}

/** In constant time. Of hashes: what compares texts would tell their length. */
async function isAmong(given, tokens) {
  const hash = (text) => crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  const [asked, ...known] = await Promise.all([given, ...(tokens ?? "").split(/\s+/).filter(Boolean)].map(hash));
  return known.map((each) => crypto.subtle.timingSafeEqual(asked, each)).includes(true);
}

function userObject(env, key) {
  return env.USERS.get(env.USERS.idFromName(key));
}

function shard(env, key) {
  return env.INDEX.get(env.INDEX.idFromName(shardOf(key)));
}

function inAllShards(env, ask) {
  const names = Array.from({ length: SHARDS }, (_, number) => `shard-${number}`);
  return Promise.all(names.map((name) => ask(env.INDEX.get(env.INDEX.idFromName(name)))));
}

/** The object's answer, or the refusal that says that it gave none. */
async function asked(call) {
  try {
    return await call;
  } catch (error) {
    throw unavailable(error);
  }
}

function unavailable(error) {
  log(error);
  // Not to be repeated at once: durable-objects/best-practices/error-handling
  if (error.overloaded) return refusal(429, "too_many_requests", "The object is overloaded.", { "Retry-After": "1" });
  return refusal(503, "object_unavailable", "The object does not answer.");
}

async function settled(source, call) {
  try {
    return { source, entry: await call };
  } catch (error) {
    return { source, entry: null, error };
  }
}

async function quietly(call) {
  try {
    return await call;
  } catch (error) {
    log(error);
    return null;
  }
}

/** Where it failed. Not the message, which may quote what users said. */
function log(error) {
  const frames = String(error?.stack).split("\n").filter((line) => /^ +at /.test(line));
  console.error([error?.name, ...frames].join("\n"));
}

function sleep(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

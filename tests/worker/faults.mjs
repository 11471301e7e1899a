// The Worker with its surroundings in a test's hands: `/test/*` breaks KV and the objects, and looks past the protocol.

import worker, { IndexObject as RealIndex, UserObject as RealUser } from "./worker.js";

const NONE = {
  objectDelay: 0,
  objectFails: false,
  kvDelay: 0,
  kvFails: false,
  kvStands: false,
  kvWriteFails: false,
  indexFails: false,
  workerFails: false,
};
const faults = { ...NONE };
const remembered = new Map(); // what a location's cache of KV holds while `kvStands`
const writes = [];
const registered = new Set();

class Failure extends Error {}

function failing(fault, what) {
  if (faults[fault]) throw new Failure(`${what} is down`);
}

async function sleep(milliseconds) {
  if (milliseconds > 0) await new Promise((resolve) => setTimeout(resolve, milliseconds));
}

function kvWithFaults(kv) {
  return {
    async getWithMetadata(keys, options) {
      failing("kvFails", "KV");
      if (!faults.kvStands || Array.isArray(keys)) return kv.getWithMetadata(keys, options);
      if (!remembered.has(keys)) remembered.set(keys, await kv.getWithMetadata(keys, options));
      return remembered.get(keys);
    },
    async put(key, value, options) {
      const write = { key, at: Date.now(), order: options.metadata.order, ttl: options.expirationTtl, isOver: false };
      writes.push(write);
      failing("kvFails", "KV");
      failing("kvWriteFails", "KV");
      await sleep(faults.kvDelay);
      await kv.put(key, value, options);
      write.isOver = true;
    },
  };
}

export class UserObject extends RealUser {
  constructor(ctx, env) {
    super(ctx, { ...env, ENTRIES: kvWithFaults(env.ENTRIES) });
  }

  async ring(afterSilence) {
    this.retryAt = 0;
    if (afterSilence) this.kv.put("writeAfter", 0);
    await sleep((this.kv.get("writtenAt") ?? 0) + 1200 - Date.now()); // until KV would take it
    await this.alarm();
  }

  empty() {
    this.sql("DELETE FROM changes");
    this.sql("DELETE FROM dead");
    this.kv.delete("outbox");
  }

  keep() {
    return (this.kv.get("entry").forgetAt - Date.now()) / 1000;
  }

  raw() {
    return this.kv.get("entry")?.bytes ?? null;
  }

  spoil(key, bytes) {
    this.kv.put("key", key);
    this.kv.put("revision", (this.kv.get("revision") ?? 0) + 1);
    const { order, forgetAt } = this.kv.get("entry") ?? { order: "0.0.0", forgetAt: Date.now() + 3600000 };
    this.kv.put("entry", { order, forgetAt, bytes: new Uint8Array(bytes) });
  }

  damage(id, body) {
    this.sql("UPDATE changes SET body = ? WHERE id = ?", body, id);
  }

  ids() {
    return [...this.changes()].map(({ id }) => id);
  }
}

for (const name of ["entry", "open", "put", "append", "claim", "ack", "reject", "deadLetters"]) {
  const real = RealUser.prototype[name];
  UserObject.prototype[name] = async function (...args) {
    await sleep(faults.objectDelay);
    failing("objectFails", "the object");
    return real.apply(this, args);
  };
}

export class IndexObject extends RealIndex {
  async register(key, ...args) {
    registered.add(key);
    failing("indexFails", "the index");
    return super.register(key, ...args);
  }

  wipe() {
    this.sql("DELETE FROM users");
  }
}

const TESTS = {
  faults(_env, wanted) {
    if (!wanted.kvStands) remembered.clear();
    return Object.assign(faults, NONE, wanted);
  },
  writes(_env, { key }) {
    return writes.filter((write) => write.key === key);
  },
  async kv(env, { key }) {
    return env.ENTRIES.getWithMetadata(key, { type: "text" });
  },
  async pending(env, { key }) {
    return env.USERS.get(env.USERS.idFromName(key)).ids();
  },
  async damage(env, { key, id, body }) {
    await env.USERS.get(env.USERS.idFromName(key)).damage(id, body);
  },
  async alarm(env, { key, afterSilence }) {
    await env.USERS.get(env.USERS.idFromName(key)).ring(afterSilence);
  },
  async keep(env, { key }) {
    return env.USERS.get(env.USERS.idFromName(key)).keep();
  },
  async raw(env, { key }) {
    const bytes = await env.USERS.get(env.USERS.idFromName(key)).raw();
    return bytes && [...bytes];
  },
  async spoil(env, { key, bytes }) {
    await env.USERS.get(env.USERS.idFromName(key)).spoil(key, bytes);
  },
  async wipe(env) {
    for (let shard = 0; shard < 8; shard += 1) await env.INDEX.get(env.INDEX.idFromName(`shard-${shard}`)).wipe();
  },
  async empty(env) {
    for (const key of registered) await env.USERS.get(env.USERS.idFromName(key)).empty();
    registered.clear();
    await TESTS.wipe(env);
  },
};

export default {
  async fetch(request, env, ctx) {
    const test = /^\/test\/(\w+)$/.exec(new URL(request.url).pathname)?.[1];
    if (test === undefined) {
      const broken = faults.workerFails && { TOKENS: 1 };
      return worker.fetch(request, { ...env, ENTRIES: kvWithFaults(env.ENTRIES), ...broken }, ctx);
    }
    return Response.json((await TESTS[test](env, await request.json())) ?? null);
  },
};

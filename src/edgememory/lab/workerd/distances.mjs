// The Worker as one of Cloudflare's locations runs it: far from KV's stores, and from the objects of users who have
// called elsewhere until now. `POST /lab/elsewhere {keys}` says who has. Bindings: FIRST_READ_MS, DISTANT_OBJECT_MS.

import worker, { IndexObject, UserObject as RealUser } from "./worker.js";

export { IndexObject };

const cachedUntil = new Map(); // by key: what this location has read of KV
const distant = new Set(); // keys whose object is elsewhere

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function isCached(key) {
  return (cachedUntil.get(key) ?? 0) > Date.now();
}

function kvOfALocation(env) {
  return {
    async getWithMetadata(keys, options) {
      const asked = [keys].flat();
      if (!asked.every(isCached)) await sleep(Number(env.FIRST_READ_MS));
      for (const key of asked) cachedUntil.set(key, Date.now() + options.cacheTtl * 1000);
      return env.ENTRIES.getWithMetadata(keys, options);
    },
  };
}

export class UserObject extends RealUser {}

for (const name of ["entry", "open", "put", "append", "claim", "ack", "reject", "deadLetters"]) {
  const real = RealUser.prototype[name];
  UserObject.prototype[name] = async function (...args) {
    if (distant.has(this.ctx.id.name)) await sleep(Number(this.env.DISTANT_OBJECT_MS));
    return real.apply(this, args);
  };
}

export default {
  async fetch(request, env, ctx) {
    if (new URL(request.url).pathname !== "/lab/elsewhere") {
      return worker.fetch(request, { ...env, ENTRIES: kvOfALocation(env) }, ctx);
    }
    for (const key of (await request.json()).keys) {
      cachedUntil.delete(key);
      distant.add(key);
    }
    return Response.json(null);
  },
};

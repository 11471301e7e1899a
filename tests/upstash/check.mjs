// Upstash's own client against the server of our tests: `node check.mjs URL TOKEN`. It knows the real service.
import assert from "node:assert/strict";
import { Redis } from "@upstash/redis";

const [url, token] = process.argv.slice(2);
const redis = new Redis({ url, token, automaticDeserialization: false, enableAutoPipelining: false, retry: false });

// Single commands: strings, numbers, absence, text beyond ASCII.
assert.equal(await redis.ping(), "PONG");
assert.equal(await redis.set("a", "grüezi 🦜\n"), "OK");
assert.equal(await redis.get("a"), "grüezi 🦜\n");
assert.equal(await redis.get("nothing"), null);
assert.deepEqual(await redis.mget("a", "nothing"), ["grüezi 🦜\n", null]);
assert.equal(await redis.set("ok", "OK"), "OK");
assert.equal(await redis.get("ok"), "OK");
assert.equal(await redis.incr("n"), 1);
assert.equal(await redis.pexpire("a", 60000), 1);
assert.ok((await redis.pttl("a")) > 50000);
assert.equal(await redis.del("ok", "nothing"), 1);

// Scripts, by text and by name.
const script = "return {KEYS[1], ARGV[1], 7}";
assert.deepEqual(await redis.eval(script, ["k"], ["v"]), ["k", "v", 7]);
const sha = await redis.scriptLoad(script);
assert.deepEqual(await redis.evalsha(sha, ["k"], ["v"]), ["k", "v", 7]);
await assert.rejects(redis.evalsha("0".repeat(40), ["k"], ["v"]), /NOSCRIPT/);

// Errors keep Redis's words.
await assert.rejects(redis.incr("a"), /ERR value is not an integer/);

// A pipeline is ordered, and a transaction too.
assert.deepEqual(await redis.pipeline().set("b", "1").incr("b").get("b").exec(), ["OK", 2, "2"]);
assert.deepEqual(await redis.multi().set("c", "1").incr("c").get("c").exec(), ["OK", 2, "2"]);
await assert.rejects(redis.pipeline().get("a").incr("a").exec(), /ERR value is not an integer/);

// Many at once, as its automatic pipelining sends them.
const automatic = new Redis({ url, token, automaticDeserialization: false, enableAutoPipelining: true, retry: false });
assert.deepEqual(await Promise.all([automatic.get("b"), automatic.get("c"), automatic.get("nothing")]), ["2", "2", null]);

// No entrance.
const stranger = new Redis({ url, token: "another", enableAutoPipelining: false, retry: false });
await assert.rejects(stranger.get("a"), /WRONGPASS/);

console.log("faithful");

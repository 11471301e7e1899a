import { startCall } from "./call.js";

const at = (id) => document.getElementById(id);
let call = null;

at("caller").value = localStorage.getItem("caller") ?? `caller-${crypto.randomUUID().slice(0, 4)}`;

at("controls").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (document.body.dataset.state === "calling") return;
  if (call) return call.hangUp();
  localStorage.setItem("caller", at("caller").value);
  at("transcript").replaceChildren();
  at("receipt").replaceChildren();
  show("calling");
  try {
    call = await startCall(at("caller").value, { voice: at("voice"), heard, ended });
  } catch (error) {
    show("idle", `That did not work: ${error.message}.`);
  }
});

at("forget").addEventListener("click", () => call?.ask("forget"));

function heard({ type, data }) {
  if (type === "bot-ready") show("talking");
  else if (type === "user-input" && data.final) say("you", data.text);
  else if (type === "bot-output" && data.spoken_status === "new") say("bot", data.text);
  else if (type === "server-message" && data.kind === "memory") showMemory(data);
  else if (type === "server-message" && data.kind === "receipt") showReceipt(data);
}

function ended() {
  call = null;
  at("voice").srcObject = null;
  show("idle", "The call is over.");
}

const STATES = {
  idle: ["Call", "Not in a call."],
  calling: ["Calling…", "Calling. Allow the page to use your microphone."],
  talking: ["Hang up", "In the call: speak."],
};

function show(state, words = STATES[state][1]) {
  document.body.dataset.state = state;
  at("call").textContent = STATES[state][0];
  at("caller").disabled = state !== "idle";
  at("forget").disabled = state !== "talking";
  at("state").textContent = words;
}

// One entry a turn: the bot's sentences come one by one.
function say(who, text) {
  const last = at("transcript").lastElementChild;
  if (last?.dataset.who === who) {
    last.lastElementChild.textContent += ` ${text}`;
  } else {
    const turn = element("li", "", element("b", who === "you" ? "You" : "Bot"), element("p", text));
    turn.dataset.who = who;
    at("transcript").append(turn);
  }
  at("transcript").lastElementChild.scrollIntoView({ block: "nearest" });
}

function showMemory({ name, facts, talks, tier, found, providers }) {
  const parts = [];
  if (name) parts.push(element("p", name));
  if (facts.length) parts.push(element("ul", "", ...facts.map((fact) => element("li", fact))));
  if (talks) parts.push(element("p", talks));
  if (!parts.length) parts.push(element("p", "Nothing yet."));
  at("known").replaceChildren(...parts);
  for (const step of at("tiers").children) {
    if (step.dataset.tier === tier) step.setAttribute("aria-current", "step");
    else step.removeAttribute("aria-current");
  }
  at("found").replaceChildren(...found.map((line) => element("p", line)));
  at("providers").textContent = providers;
}

function showReceipt({ summary, stores }) {
  const rows = stores.map(({ store, outcome }) => element("li", "", element("b", store), element("span", outcome)));
  at("receipt").replaceChildren(element("p", summary), element("ul", "", ...rows));
}

function element(tag, text = "", ...children) {
  const made = document.createElement(tag);
  made.append(text, ...children);
  return made;
}

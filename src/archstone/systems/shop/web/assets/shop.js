// What changes by itself: the page of an order, the panel behind the counter. Every page works without this script.

// Follow a stream of events; come back also when the shop was away so long that the browser has given up.
function follow(url, heard, lost) {
  let events = null;
  let timer = 0;
  let over = false;
  let tries = 0;
  const open = () => {
    events = new EventSource(url);
    events.addEventListener("open", () => { tries = 0; lost(""); });
    events.addEventListener("over", () => { over = true; events.close(); });
    for (const [name, act] of Object.entries(heard)) events.addEventListener(name, (event) => act(event.data));
    events.addEventListener("error", () => {
      if (over) return;
      if (events.readyState !== EventSource.CLOSED) return lost("trying");
      tries += 1;
      if (tries > 20) return lost("given up");
      lost("trying");
      timer = setTimeout(open, Math.min(5000, 500 * tries));
    });
  };
  open();
  return () => { over = true; clearTimeout(timer); events.close(); };
}

// Instants in the reader's own time; without this script they are in UTC, and say so.
function localise(part) {
  const how = { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" };
  for (const time of part.querySelectorAll("time[datetime]")) time.textContent = new Date(time.dateTime).toLocaleString("en-GB", how);
}
localise(document);

const live = document.querySelector("[data-events]");
if (live) {
  const state = document.querySelector("[data-connection]");
  const words = {
    "": "",
    trying: "The connection is gone. Trying again by itself; your order goes on meanwhile.",
    "given up": "This page does not change by itself any more. Please look again.",
  };
  // The text comes from the same template as the page itself, where everything is escaped.
  let stop = null;
  // A browser has few connections for one shop: a page that nobody looks at gives its own back.
  const turn = () => {
    if (document.hidden) { stop?.(); stop = null; }
    else stop ??= follow(live.dataset.events, { order: (html) => { live.innerHTML = html; localise(live); } }, (how) => { state.textContent = words[how]; });
  };
  document.addEventListener("visibilitychange", turn);
  addEventListener("pagehide", () => { stop?.(); stop = null; });
  addEventListener("pageshow", turn);
  document.addEventListener("shop-back", () => { stop?.(); stop = null; turn(); });
  turn();
}

// Where to: what was typed outlives a session that ends meanwhile. It stays in this window, is shown again to the same
// person only, and is forgotten with the order or the sign-out.
const whereTo = document.querySelector("[data-kept]");
const person = document.querySelector("header .who")?.textContent ?? "";
const keep = (typed) => {
  try {
    if (typed) sessionStorage.setItem("where-to", JSON.stringify({ person, typed }));
    else sessionStorage.removeItem("where-to");
  } catch { /* not kept then */ }
};
if (whereTo) {
  const fields = () => [...whereTo.querySelectorAll("input, select")];
  let kept = null;
  try { kept = JSON.parse(sessionStorage.getItem("where-to")); } catch { /* nothing is shown again then */ }
  if (kept?.person === person) for (const each of fields()) each.value = kept.typed[each.name] ?? each.value;
  whereTo.addEventListener("input", () => keep(Object.fromEntries(fields().map((each) => [each.name, each.value]))));
}
if (location.pathname.startsWith("/orders/")) keep(null);
document.querySelector("form[action='/logout']")?.addEventListener("submit", () => keep(null));

// Behind the counter: the panel at the lower edge, which follows an order from inside, and the button that kills the shop.
const panel = document.querySelector("details.counter");
const wide = matchMedia("(min-width: 60rem)").matches;

if (panel) {
  const room = panel.querySelector("[data-room]");
  const headline = panel.querySelector("[data-headline]");
  let stop = null;

  const hear = (html) => {
    // The text comes from a template of the shop, where everything is escaped.
    room.innerHTML = html;
    const told = room.querySelector("[data-now]");
    panel.dataset.now = told?.dataset.now ?? "";
    if (told) headline.textContent = told.dataset.headline;
  };
  const turn = () => {
    if (panel.open && panel.dataset.counter && !document.hidden) stop ??= follow(panel.dataset.counter, { counter: hear }, (how) => { if (how) panel.dataset.now = "gone"; });
    else { stop?.(); stop = null; }
  };
  const remembered = () => { try { return localStorage.getItem("counter"); } catch { return null; } };

  panel.addEventListener("toggle", turn);
  panel.querySelector("summary").addEventListener("click", () => {
    try { localStorage.setItem("counter", panel.open ? "closed" : "open"); } catch { /* not remembered then */ }
  });
  document.addEventListener("visibilitychange", turn);
  addEventListener("pagehide", () => { stop?.(); stop = null; });
  addEventListener("pageshow", turn);
  document.addEventListener("shop-back", () => { stop?.(); stop = null; turn(); });
  const kept = remembered();
  if (wide && (kept === "open" || (kept === null && "eager" in panel.dataset))) panel.open = true;
}

const inside = document.querySelector("[data-inside]");
if (inside) {
  let stop = null;
  const turn = () => {
    if (document.hidden) { stop?.(); stop = null; }
    else stop ??= follow(inside.dataset.inside, { counter: (html) => { inside.innerHTML = html; } }, () => {});
  };
  document.addEventListener("visibilitychange", turn);
  document.addEventListener("shop-back", () => { stop?.(); stop = null; turn(); });
  addEventListener("pagehide", () => { stop?.(); stop = null; });
  addEventListener("pageshow", turn);
  turn();
}

for (const form of document.querySelectorAll("[data-kill]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    const begun = performance.now();
    button.disabled = true;
    const note = document.createElement("div");
    note.className = "gone";
    note.setAttribute("role", "alert");
    const words = document.createElement("p");
    note.append(words);
    document.body.append(note);
    words.textContent = "Killing the process\u2026";
    if (panel) panel.dataset.now = "gone";
    try {
      const answer = await fetch(form.action, { method: "POST", headers: { "content-type": "application/x-www-form-urlencoded" }, body: "" });
      if (answer.status >= 400 || answer.redirected) { words.textContent = "It was not killed: please reload this page and try again."; button.disabled = false; return; }
    } catch { /* as it should be: nobody is left to answer */ }
    words.textContent = "The shop is gone. Its process was killed in the middle of whatever it did; another one is being started on the same files.";
    for (let tries = 0; tries < 240; tries += 1) {
      await new Promise((resume) => setTimeout(resume, 250));
      try {
        const answer = await fetch("/health/ready", { cache: "no-store" });
        if (!answer.ok) continue;
        const seconds = ((performance.now() - begun) / 1000).toFixed(1);
        words.textContent = `The shop is back after ${seconds} s. What it was doing goes on by itself: watch the steps.`;
        note.classList.add("back-again");
        button.disabled = false;
        document.dispatchEvent(new Event("shop-back"));
        setTimeout(() => note.remove(), 12000);
        return;
      } catch { /* not yet */ }
    }
    words.textContent = "The shop does not come back by itself. Start it again in the terminal: archstone up shop --chaos";
  });
}

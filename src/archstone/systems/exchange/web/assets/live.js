// The stream of the exchange: one web socket that comes back by itself, and goes on after the last report it has.

export class Live {
  // `account`: whose the page is; empty: nobody's. Who is signed out meanwhile goes on seeing the market.
  constructor({ channels, account = "", onMessage, onState }) {
    this.channels = channels;
    this.account = account;
    this.onMessage = onMessage;
    this.onState = onState;
    this.waiting = new Map();
    this.next = 1;
    this.pause = 500;
    this.reported = null;
    this.state = "lost";
    this.connect();
  }

  connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.socket = new WebSocket(`${scheme}://${location.host}/ws`);
    this.socket.addEventListener("message", (event) => this.came(JSON.parse(event.data)));
    this.socket.addEventListener("close", () => this.closed());
    this.listen();
  }

  welcomed({ sequence, account }) {
    this.pause = 500;
    const out = this.account !== "" && String(account) !== this.account;
    const channels = out ? this.channels.filter((each) => each !== "account" && each !== "reports") : this.channels;
    const ask = { op: "subscribe", channels };
    if (this.reported === null) this.reported = sequence;
    else if (channels.includes("reports")) ask.after = this.reported;
    this.enter(out ? "out" : "live");
    this.ask(ask);
  }

  // `live`, `out` (the connection is not that of the page's account), or `lost` until there is a connection again.
  enter(state) {
    this.state = state;
    this.onState(state);
  }

  closed() {
    clearTimeout(this.silence);
    for (const { reject } of this.waiting.values()) reject(new Error("The connection was lost before the answer came: look at your orders before you try again."));
    this.waiting.clear();
    this.enter("lost");
    setTimeout(() => this.connect(), this.pause * (0.5 + Math.random()));
    this.pause = Math.min(this.pause * 2, 10000);
  }

  // A heartbeat comes every five seconds: three missed mean that nobody is there.
  listen() {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => this.socket.close(), 16000);
  }

  came(message) {
    this.listen();
    if (message.type === "welcome") return this.welcomed(message);
    if (message.type === "reports") this.reported = message.sequence;
    if (message.type === "reply") {
      const asked = this.waiting.get(message.ref);
      this.waiting.delete(message.ref);
      if (asked) asked.resolve(message);
      return;
    }
    this.onMessage(message);
  }

  switch(from, to) {
    this.channels = [...this.channels.filter((each) => each !== from), to];
    this.ask({ op: "unsubscribe", channels: [from] });
    this.ask({ op: "subscribe", channels: [to] });
  }

  ask(message) {
    const ref = String(this.next++);
    if (this.state === "lost" || this.socket.readyState !== WebSocket.OPEN) return Promise.reject(new Error("Not connected, nothing was sent: try again in a moment."));
    if (this.state === "out" && !message.channels) return Promise.reject(new Error("You are signed out, nothing was sent: sign in again."));
    this.socket.send(JSON.stringify({ ...message, ref }));
    const answer = new Promise((resolve, reject) => this.waiting.set(ref, { resolve, reject }));
    answer.catch(() => {});
    return answer;
  }
}

const whole = new Intl.NumberFormat("en-GB");

const mostTicks = 2n ** 31n - 1n;

export const many = (count) => whole.format(count);

// Prices are whole ticks: no fraction is ever rounded here. `value`: cents of a lot for each tick.
export class Prices {
  constructor({ tick, decimals, value }) {
    this.value = Number(value);
    this.tick = BigInt(tick);
    this.decimals = Number(decimals);
    this.scale = 10n ** BigInt(decimals);
  }

  text(ticks) {
    const units = BigInt(ticks) * this.tick;
    const rest = this.decimals ? `.${String(units % this.scale).padStart(this.decimals, "0")}` : "";
    return `${whole.format(units / this.scale)}${rest}`;
  }

  number(ticks) {
    return Number(BigInt(ticks) * this.tick) / Number(this.scale);
  }

  ticks(text) {
    const match = /^(\d{1,12})(?:\.(\d*))?$/.exec(text.trim().replaceAll(",", ""));
    if (!match) throw new Error(`write a price, such as ${this.text(10000)}.`);
    const rest = (match[2] ?? "").replace(/0+$/, "");
    if (rest.length > this.decimals) throw new Error(`write a price with at most ${this.decimals} decimals.`);
    const units = BigInt(match[1] + rest) * 10n ** BigInt(this.decimals - rest.length);
    if (units % this.tick) throw new Error(`write a multiple of ${this.text(1)}.`);
    const ticks = units / this.tick;
    if (ticks < 1n || ticks > mostTicks) throw new Error(`write a price from ${this.text(1)} to ${this.text(mostTicks)}.`);
    return Number(ticks);
  }
}

export function money(cents) {
  const units = BigInt(cents);
  const size = units < 0n ? -units : units;
  return `${units < 0n ? "-" : ""}${whole.format(size / 100n)}.${String(size % 100n).padStart(2, "0")}`;
}

export const signed = (cents) => (cents > 0 ? `+${money(cents)}` : money(cents));

export const direction = (change) => (change > 0 ? "up" : change < 0 ? "down" : "flat");

export function changeText(last, first) {
  const change = first ? ((last - first) * 100) / first : 0;
  const text = `${change >= 0 ? "+" : ""}${change.toFixed(2)} %`;
  return text.replace("-0.00", "+0.00");
}

export function clock(atNs) {
  return new Date(atNs / 1e6).toISOString().slice(11, 19);
}

// Changes the text only if it is another: what has not changed is not painted, or read out, again.
export function put(node, text, kind) {
  if (node.textContent !== text) node.textContent = text;
  if (kind !== undefined && node.dataset.kind !== kind) {
    if (node.dataset.kind) node.classList.remove(node.dataset.kind);
    node.classList.remove("up", "down", "flat");
    if (kind) node.classList.add(kind);
    node.dataset.kind = kind;
  }
}

const states = { live: "live", out: "signed out", lost: "connection lost, trying again: prices are old" };

export function showState(state) {
  document.body.classList.toggle("stale", state === "lost");
  const node = document.getElementById("status");
  if (node) put(node, states[state], state === "live" ? "good" : "bad");
}

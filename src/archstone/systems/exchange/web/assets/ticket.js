// The order ticket: what is typed is checked here for comfort, and by the exchange for real.
import { money } from "./live.js";

export class Ticket {
  constructor(form, { symbol, prices, value, place }) {
    this.form = form;
    this.symbol = symbol;
    this.prices = prices;
    this.value = value;
    this.place = place;
    this.depth = null;
    if (!form) return;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    form.addEventListener("input", () => this.show());
    this.show();
  }

  field(name) {
    return this.form.elements[name];
  }

  get kind() {
    const kind = this.field("kind").value;
    return { limited: kind.includes("limit"), stop: kind.includes("stop") };
  }

  show() {
    const { limited, stop } = this.kind;
    const shown = { "price-field": limited, "trigger-field": stop, "tif-field": limited, "post-field": limited && !stop };
    for (const [id, visible] of Object.entries(shown)) document.getElementById(id).classList.toggle("off", !visible);
    const side = this.field("side").value;
    const button = document.getElementById("send");
    button.className = `main send ${side}`;
    button.textContent = `${side === "buy" ? "Buy" : "Sell"} ${this.symbol}`;
    document.getElementById("worth").textContent = this.worth();
  }

  worth() {
    try {
      const best = this.field("side").value === "buy" ? this.depth?.asks[0] : this.depth?.bids[0];
      const ticks = this.kind.limited ? this.prices.ticks(this.field("price").value) : best?.price;
      return ticks ? money(ticks * this.value * this.lots()) : "–";
    } catch {
      return "–";
    }
  }

  lots() {
    const text = this.field("quantity").value.trim().replaceAll(",", "");
    if (!/^\d{1,9}$/.test(text) || text === "0") throw new Error("Write a whole number of lots.");
    return Number(text);
  }

  order() {
    const { limited, stop } = this.kind;
    return {
      symbol: this.symbol,
      side: this.field("side").value,
      quantity: this.lots(),
      ...(limited ? { price: this.prices.ticks(this.field("price").value), tif: this.field("tif").value } : {}),
      ...(stop ? { trigger: this.prices.ticks(this.field("trigger").value) } : {}),
      ...(limited && !stop && this.field("post_only").checked ? { post_only: true } : {}),
    };
  }

  async send() {
    try {
      const reply = await this.place(this.order());
      if (!reply.ok) this.say(`Refused: ${reply.text}.`, true);
      else if (reply.order.status === "working") this.say(`Order ${reply.order.number} works.`);
      else this.say(`Order ${reply.order.number} is ${reply.order.status}${reply.order.reason ? ` (${reply.order.reason})` : ""}.`);
    } catch (error) {
      this.say(error.message, true);
    }
  }

  market(depth) {
    this.depth = depth;
    if (this.form && !this.kind.limited) document.getElementById("worth").textContent = this.worth();
  }

  side(word) {
    if (!this.form) return;
    this.field("side").value = word;
    this.show();
    this.field("quantity").focus();
    this.field("quantity").select();
  }

  pick(ticks) {
    if (!this.form) return;
    this.field("price").value = this.prices.text(ticks);
    this.show();
  }

  say(text, bad = false) {
    const node = document.getElementById("answer");
    if (!node) return;
    node.textContent = text;
    node.classList.toggle("fault", bad);
  }
}

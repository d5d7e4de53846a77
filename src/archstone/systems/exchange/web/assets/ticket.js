// The order ticket: what is typed is checked here for comfort, and by the exchange for real.
import { many, money } from "./live.js";

export class Ticket {
  // `place` sends an order, `most` asks how many lots of one there may be; `told` says what became of an order.
  constructor(form, { symbol, prices, value, feePpm, place, most, told }) {
    Object.assign(this, { form, symbol, prices, value, feePpm, place, most, told });
    this.depth = null;
    this.busy = false;
    if (!form) return;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    form.addEventListener("input", () => this.show());
    const shares = form.querySelector(".shares");
    shares.hidden = false;
    shares.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) this.fill(Number(button.dataset.share));
    });
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
    this.showWorth();
  }

  showWorth() {
    const { cents, lots } = this.worth();
    document.getElementById("worth").textContent = cents === null ? "–" : `${money(cents)}${lots === null ? "" : ` for ${many(lots)} lots that are there`}`;
    document.getElementById("fee").textContent = cents === null ? "–" : money(Math.ceil((cents * this.feePpm) / 1e6));
  }

  // What it costs or brings: at its price; a market order at the prices that are there, for as many lots as are seen.
  worth() {
    const nothing = { cents: null, lots: null };
    try {
      const wanted = this.lots();
      const { limited, stop } = this.kind;
      if (limited || stop) {
        const ticks = this.prices.ticks(this.field(limited ? "price" : "trigger").value);
        return { cents: ticks * this.value * wanted, lots: null };
      }
      const others = (this.field("side").value === "buy" ? this.depth?.asks : this.depth?.bids) ?? [];
      let [left, cents] = [wanted, 0];
      for (const level of others) {
        const lots = Math.min(left, level.lots);
        cents += lots * level.price * this.value;
        left -= lots;
      }
      return left === wanted ? nothing : { cents, lots: left ? wanted - left : null };
    } catch {
      return nothing;
    }
  }

  lots() {
    const text = this.field("quantity").value.trim().replaceAll(",", "");
    if (!/^\d{1,9}$/.test(text) || Number(text) === 0) throw new Error("Lots: write a whole number of lots, at least 1.");
    return Number(text);
  }

  // What there is of an order before its lots are known.
  terms() {
    const { limited, stop } = this.kind;
    const read = (name, title) => {
      try {
        return this.prices.ticks(this.field(name).value);
      } catch (error) {
        throw new Error(`${title}: ${error.message}`);
      }
    };
    return {
      symbol: this.symbol,
      side: this.field("side").value,
      ...(limited ? { price: read("price", "Limit price") } : {}),
      ...(stop ? { trigger: read("trigger", "Trigger price") } : {}),
    };
  }

  order() {
    const { limited, stop } = this.kind;
    return {
      ...this.terms(),
      quantity: this.lots(),
      ...(limited ? { tif: this.field("tif").value } : {}),
      ...(limited && !stop && this.field("post_only").checked ? { post_only: true } : {}),
    };
  }

  // One at a time: who presses twice has sent one order.
  async send() {
    if (this.busy) return;
    this.busy = true;
    const button = document.getElementById("send");
    try {
      const order = this.order();
      button.setAttribute("aria-disabled", "true");
      this.say("Sent, not answered yet.");
      const reply = await this.place(order);
      this.say(reply.ok ? this.told(reply.order) : `Refused: ${reply.text}.`, !reply.ok);
    } catch (error) {
      this.say(error.message, true);
    } finally {
      this.busy = false;
      button.removeAttribute("aria-disabled");
    }
  }

  async fill(share) {
    try {
      const reply = await this.most(this.terms());
      const lots = reply.ok ? Math.floor((reply.lots * share) / 100) : 0;
      if (!reply.ok) this.say(reply.text, true);
      else if (!lots) this.say("Not one lot: the buying power does not suffice, or a limit of yours is reached.", true);
      else {
        this.field("quantity").value = String(lots);
        this.show();
      }
    } catch (error) {
      this.say(error.message, true);
    }
  }

  // Make ready what closes a position; it is sent by hand.
  close(lots) {
    if (!this.form) return;
    this.field("kind").value = "market";
    this.field("quantity").value = String(Math.abs(lots));
    this.side(lots > 0 ? "sell" : "buy");
  }

  market(depth) {
    this.depth = depth;
    if (this.form && !this.kind.limited) this.showWorth();
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
    const { limited, stop } = this.kind;
    if (!limited && !stop) this.field("kind").value = "limit";
    this.field(stop && !limited ? "trigger" : "price").value = this.prices.text(ticks);
    this.show();
  }

  say(text, bad = false) {
    const node = document.getElementById("answer");
    if (!node) return;
    node.textContent = text;
    node.classList.toggle("fault", bad);
  }
}

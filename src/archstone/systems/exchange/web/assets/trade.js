// The trading page, live: order book, trades, candles, ticket, own orders and positions.
import { Live, Prices, changeText, clock, direction, many, money, put, showState, signed } from "./live.js";
import { Chart } from "./chart.js";
import { Ticket } from "./ticket.js";

const root = document.getElementById("trade");
const symbol = root.dataset.symbol;
const prices = new Prices(root.dataset);
const at = (id) => document.getElementById(id);
const signedIn = root.dataset.account !== "";
let step = 1;

// The order book: its rows stay, what stands in them changes.

function bookRows(id) {
  return [...at(id).rows].map((row) => ({ row, cells: [...row.cells] }));
}

const asks = bookRows("asks").reverse();
const bids = bookRows("bids");

function showSide(rows, levels, most) {
  let total = 0;
  rows.forEach(({ row, cells }, place) => {
    const level = levels[place];
    row.classList.toggle("none", !level);
    if (!level) {
      put(cells[0], " ");
      put(cells[1], "");
      put(cells[2], "");
      row.style.setProperty("--share", "0");
      return;
    }
    total += level.lots;
    let button = cells[0].querySelector("button");
    if (!button) {
      button = document.createElement("button");
      button.type = "button";
      button.className = "pick";
      cells[0].replaceChildren(button);
    }
    button.dataset.price = level.price;
    put(button, prices.text(level.price));
    put(cells[1], many(level.lots));
    put(cells[2], many(total));
    row.style.setProperty("--share", String(total / most));
  });
}

function showDepth(depth) {
  const sum = (levels) => levels.slice(0, bids.length).reduce((total, level) => total + level.lots, 0);
  const most = Math.max(1, sum(depth.bids), sum(depth.asks));
  showSide(asks, depth.asks, most);
  showSide(bids, depth.bids, most);
  const [bid, ask] = [depth.bids[0], depth.asks[0]];
  put(at("spread"), bid && ask ? `spread ${prices.text(ask.price - bid.price)}` : "");
  put(at("mid"), prices.text(depth.last));
  showLast(depth);
  put(at("phase"), depth.phase);
  at("phase").className = `phase ${depth.phase}`;
  ticket.market(depth);
}

function showLast({ last, first }) {
  const text = prices.text(last);
  put(at("last"), text, direction(last - first));
  put(at("change"), changeText(last, first), direction(last - first));
  document.title = `${symbol} ${text} - Archstone Exchange`;
}

// Trades: the oldest row becomes the newest.

function showTrades(items) {
  const tape = at("tape");
  for (const trade of items.slice(-tape.dataset.rows)) {
    const row = tape.lastElementChild;
    row.className = trade.side ?? "none-side";
    const texts = [prices.text(trade.price), many(trade.lots), clock(trade.at_ns)];
    [...row.cells].forEach((cell, place) => {
      cell.className = "number";
      put(cell, texts[place]);
    });
    tape.prepend(row);
  }
}

// What is one's own.

function cell(row, text, kind = "") {
  const made = row.insertCell();
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function showOrders(orders, working) {
  put(at("working"), many(working));
  const body = at("orders");
  const focused = document.activeElement?.closest("tr")?.dataset.number;
  body.replaceChildren();
  for (const order of orders) {
    const its = pricesOf(order.symbol);
    const row = body.insertRow();
    row.dataset.number = order.number;
    cell(row, order.number);
    cell(row, order.symbol);
    cell(row, order.side, order.side);
    cell(row, order.price ? its.text(order.price) : "market", "number");
    cell(row, many(order.left), "number");
    cell(row, many(order.filled), "number");
    cell(row, order.trigger ? `stop at ${its.text(order.trigger)}` : order.status);
    const button = document.createElement("button");
    button.className = "plain";
    button.type = "button";
    button.textContent = "Cancel";
    button.setAttribute("aria-label", `Cancel order ${order.number}`);
    button.addEventListener("click", () => cancel(order.number));
    row.insertCell().append(button);
    if (String(order.number) === focused) button.focus();
  }
  if (!orders.length) {
    const row = body.insertRow();
    row.className = "none";
    cell(row, "None.").colSpan = 8;
  }
}

let instruments = new Map([[symbol, prices]]);
const pricesOf = (name) => instruments.get(name) ?? prices;

function showQuotes(items) {
  instruments = new Map(items.map((each) => [each.symbol, new Prices(each)]));
  const mine = items.find((each) => each.symbol === symbol);
  if (!mine) return;
  put(at("high"), mine.high ? prices.text(mine.high) : "–");
  put(at("low"), mine.low ? prices.text(mine.low) : "–");
  put(at("lots"), many(mine.lots));
}

function showAccount({ portfolio, orders, working }) {
  showOrders(orders, working);
  put(at("cash"), money(portfolio.cash));
  put(at("total"), money(portfolio.worth));
  put(at("profit"), signed(portfolio.profit), direction(portfolio.profit));
  const body = at("positions");
  body.replaceChildren();
  for (const held of portfolio.positions) {
    const row = body.insertRow();
    cell(row, held.symbol);
    cell(row, many(held.lots), "number");
    cell(row, signed(held.open_profit), `number ${direction(held.open_profit)}`);
    cell(row, signed(held.realised), "number");
  }
  if (!portfolio.positions.length) {
    const row = body.insertRow();
    row.className = "none";
    cell(row, "None.").colSpan = 4;
  }
}

function showReports({ reports }) {
  for (const report of reports) {
    if (report.kind !== "traded") continue;
    const its = pricesOf(report.symbol);
    ticket.say(`Order ${report.number}: ${report.side === "buy" ? "bought" : "sold"} ${many(report.quantity)} ${report.symbol} at ${its.text(report.price)}.`);
  }
}

async function cancel(number) {
  try {
    const reply = await live.ask({ op: "cancel", number });
    ticket.say(reply.ok ? `Order ${number} is ${reply.order.status}.` : reply.text, !reply.ok);
  } catch (error) {
    ticket.say(error.message, true);
  }
}

async function cancelAll() {
  try {
    const reply = await live.ask({ op: "cancel_all" });
    ticket.say(reply.ok ? `${reply.orders.length} canceled.` : reply.text, !reply.ok);
  } catch (error) {
    ticket.say(error.message, true);
  }
}

const chart = new Chart(at("chart"), prices);
const candlesOf = (length) => `candles:${symbol}:${length}`;
const ticket = new Ticket(at("ticket"), { symbol, prices, value: Number(root.dataset.value), place: (order) => live.ask({ op: "place", order }) });

const live = new Live({
  channels: [`depth:${symbol}`, `trades:${symbol}`, candlesOf(step), "quotes", ...(signedIn ? ["account", "reports"] : [])],
  onMessage(message) {
    if (message.type === "depth") showDepth(message);
    else if (message.type === "trades") showTrades(message.items);
    else if (message.type === "quotes") showQuotes(message.items);
    else if (message.type === "account") showAccount(message);
    else if (message.type === "reports") showReports(message);
    else if (message.type === "candles" && message.step_s === step) chart.all(message.items, step);
    else if (message.type === "candle" && message.step_s === step) chart.last(message.items);
  },
  onState: showState,
});

for (const button of document.querySelectorAll(".steps button")) {
  button.addEventListener("click", () => {
    const wanted = Number(button.dataset.step);
    if (wanted === step) return;
    for (const each of document.querySelectorAll(".steps button")) each.setAttribute("aria-pressed", String(each === button));
    live.switch(candlesOf(step), candlesOf(wanted));
    step = wanted;
  });
}

at("other").addEventListener("change", (event) => location.assign(`/trade/${event.target.value}`));
at("book").addEventListener("click", (event) => {
  const button = event.target.closest("button.pick");
  if (button) ticket.pick(Number(button.dataset.price));
});
at("cancel-all")?.addEventListener("submit", (event) => {
  event.preventDefault();
  cancelAll();
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "radio") return;
  if (event.key === "b" || event.key === "s") ticket.side(event.key === "b" ? "buy" : "sell");
  else if (event.key === "x" && signedIn) cancelAll();
  else return;
  event.preventDefault();
});

// The trading page, live: order book, trades, candles, ticket, own orders and positions.
import { Live, Prices, changeText, clock, direction, faultOf, many, money, put, showState, signed } from "./live.js";
import { Chart } from "./chart.js";
import { Ticket } from "./ticket.js";

const root = document.getElementById("trade");
const symbol = root.dataset.symbol;
const prices = new Prices(root.dataset);
const at = (id) => document.getElementById(id);
const signedIn = root.dataset.account !== "";
const reasons = JSON.parse(root.dataset.reasons);
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

// Trades: the oldest row becomes the newest. Those of the page, and from before a connection was lost, are told again.

function showTrades(items) {
  const tape = at("tape");
  const fresh = items.filter((trade) => trade.sequence > tape.dataset.newest);
  if (fresh.length) tape.dataset.newest = fresh.at(-1).sequence;
  for (const trade of fresh.slice(-tape.dataset.rows)) {
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

function link(row, name) {
  const made = document.createElement("a");
  made.href = `/trade/${name}`;
  made.textContent = name;
  row.insertCell().append(made);
}

function action(row, word, label, act) {
  const button = document.createElement("button");
  button.className = "plain";
  button.type = "button";
  button.textContent = word;
  button.setAttribute("aria-label", label);
  button.addEventListener("click", act);
  row.insertCell().append(button);
}

// Rows are made anew; what had the focus, such as the button that somebody is about to press, has it again.
function renew(body, make) {
  const focused = body.contains(document.activeElement) ? document.activeElement : null;
  const [key, tag] = [focused?.closest("tr").dataset.key, focused?.tagName];
  body.replaceChildren();
  make();
  if (focused) body.querySelector(`tr[data-key="${key}"] ${tag}`)?.focus();
}

function none(body, text, width) {
  const row = body.insertRow();
  row.className = "none";
  cell(row, text).colSpan = width;
}

function showOrders(body, orders) {
  for (const order of orders) {
    const its = pricesOf(order.symbol);
    const row = body.insertRow();
    row.dataset.key = order.number;
    cell(row, order.number, "wide");
    link(row, order.symbol);
    cell(row, order.side, order.side);
    cell(row, order.price ? its.text(order.price) : "market", "number");
    cell(row, many(order.left), "number");
    cell(row, many(order.filled), "number wide");
    cell(row, order.trigger ? `stop at ${its.text(order.trigger)}` : order.status);
    action(row, "Cancel", `Cancel order ${order.number}`, () => cancel(order.number));
  }
  if (!orders.length) none(body, "No open orders.", 8);
}

let instruments = new Map();
const pricesOf = (name) => instruments.get(name) ?? prices;

function showQuotes(items) {
  instruments = new Map(items.map((each) => [each.symbol, new Prices(each)]));
  const mine = items.find((each) => each.symbol === symbol);
  if (!mine) return;
  put(at("high"), mine.high ? prices.text(mine.high) : "–");
  put(at("low"), mine.low ? prices.text(mine.low) : "–");
  put(at("lots"), many(mine.lots));
}

function showPositions(body, positions) {
  for (const held of positions) {
    const row = body.insertRow();
    row.dataset.key = held.symbol;
    link(row, held.symbol);
    cell(row, many(held.lots), "number");
    cell(row, held.lots ? entryOf(held) : "", "number");
    cell(row, signed(held.open_profit), `number ${direction(held.open_profit)}`);
    cell(row, signed(held.realised), "number wide");
    if (held.symbol === symbol && held.lots) action(row, "Close", "Fill in the order that closes this position", () => ticket.close(held.lots));
    else row.insertCell();
  }
  if (!positions.length) none(body, "No positions.", 6);
}

function showAccount({ portfolio, orders, working }) {
  put(at("working"), many(working));
  put(at("cash"), money(portfolio.cash));
  put(at("total"), money(portfolio.worth));
  put(at("profit"), signed(portfolio.profit), direction(portfolio.profit));
  if (at("available")) put(at("available"), money(portfolio.available));
  renew(at("orders"), () => showOrders(at("orders"), orders));
  renew(at("positions"), () => showPositions(at("positions"), portfolio.positions));
}

// What a lot was bought or sold for on average, to the nearest tick.
function entryOf(held) {
  const its = instruments.get(held.symbol);
  return its ? its.text(Math.round(held.cost / (held.lots * its.value))) : "";
}

// Of one's newest orders, what has traded: lots, and their ticks together.
const traded = new Map();

function showReports({ reports }) {
  for (const report of reports) {
    if (report.kind !== "traded") continue;
    const its = pricesOf(report.symbol);
    const before = traded.get(report.number) ?? { lots: 0, ticks: 0 };
    traded.delete(report.number);
    traded.set(report.number, { lots: before.lots + report.quantity, ticks: before.ticks + report.quantity * report.price });
    if (traded.size > 100) traded.delete(traded.keys().next().value);
    ticket.say(`Order ${report.number}: ${report.side === "buy" ? "bought" : "sold"} ${many(report.quantity)} ${report.symbol} at ${its.text(report.price)}.`);
  }
}

// What became of an order, with what it was.
function told(order) {
  const its = pricesOf(order.symbol);
  const done = traded.get(order.number);
  const at = done ? ` at ${its.text(Math.round(done.ticks / done.lots))}` : "";
  const filled = `${order.side === "buy" ? "bought" : "sold"} ${many(order.filled)}${order.status === "filled" ? "" : ` of ${many(order.quantity)}`} ${order.symbol}${at}`;
  const wished = `${order.side} ${many(order.quantity)} ${order.symbol} ${order.price ? `at ${its.text(order.price)}` : "at market"}`;
  const what = order.filled ? filled : wished;
  if (order.status === "working") return `Order ${order.number} works: ${what}.`;
  if (order.status === "sleeping") return `Order ${order.number} sleeps until ${its.text(order.trigger)}: ${what}.`;
  return `Order ${order.number} is ${order.status}: ${what}${order.reason ? ` (${reasons[order.reason] ?? order.reason})` : ""}.`;
}

async function cancel(number) {
  try {
    const reply = await live.ask({ op: "cancel", number });
    ticket.say(reply.ok ? told(reply.order) : faultOf(reply), !reply.ok);
  } catch (error) {
    ticket.say(error.message, true);
  }
}

async function cancelAll() {
  try {
    const reply = await live.ask({ op: "cancel_all" });
    const count = reply.ok ? reply.orders.length : 0;
    const words = count ? `${many(count)} ${count === 1 ? "order" : "orders"} canceled.` : "There was no open order to cancel.";
    ticket.say(reply.ok ? words : faultOf(reply), !reply.ok);
  } catch (error) {
    ticket.say(error.message, true);
  }
}

const chart = new Chart(at("chart"), prices);
const candlesOf = (length) => `candles:${symbol}:${length}`;
const ticket = new Ticket(at("ticket"), {
  symbol,
  prices,
  value: Number(root.dataset.value),
  feePpm: Number(root.dataset.feePpm),
  place: (order) => live.ask({ op: "place", order }),
  most: (terms) => live.ask({ op: "most", ...terms }),
  told,
});

const live = new Live({
  account: root.dataset.account,
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
  onState(state) {
    showState(state);
    if (at("out")) at("out").hidden = state !== "out";
  },
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

// The overview, live.
import { Live, Prices, changeText, direction, many, put, showState } from "./live.js";

const rows = new Map();
for (const row of document.querySelectorAll("#quotes tr[data-symbol]")) {
  const cells = Object.fromEntries([...row.querySelectorAll("[data-is]")].map((cell) => [cell.dataset.is, cell]));
  rows.set(row.dataset.symbol, { cells, prices: new Prices(row.dataset) });
}

function show(quote) {
  const row = rows.get(quote.symbol);
  if (!row) return;
  const { cells, prices } = row;
  const text = (ticks) => (ticks ? prices.text(ticks) : "–");
  for (const name of ["last", "bid", "ask", "high", "low"]) put(cells[name], text(quote[name]));
  put(cells.change, changeText(quote.last, quote.first), direction(quote.last - quote.first));
  put(cells.lots, many(quote.lots));
  const phase = cells.phase.firstElementChild;
  put(phase, quote.phase);
  phase.className = `phase ${quote.phase}`;
}

new Live({
  channels: ["quotes"],
  onMessage: (message) => message.type === "quotes" && message.items.forEach(show),
  onState: showState,
});

// Candles and volume, drawn by TradingView Lightweight Charts. Its own mark would bring a style that stands in the page,
// which the policy forbids; the foot of the page names it instead.

const dark = matchMedia("(prefers-color-scheme: dark)");

export class Chart {
  constructor(node, prices) {
    this.node = node;
    this.prices = prices;
    const library = window.LightweightCharts;
    if (!library) {
      node.textContent = "No chart: the browser could not load it.";
      return;
    }
    this.chart = library.createChart(node, {
      autoSize: true,
      layout: { attributionLogo: false, fontFamily: getComputedStyle(document.body).fontFamily },
      timeScale: { timeVisible: true, secondsVisible: true, rightOffset: 3 },
      rightPriceScale: { scaleMargins: { top: 0.08, bottom: 0.25 } },
      crosshair: { mode: 0 },
      localization: { priceFormatter: (price) => price.toFixed(prices.decimals) },
    });
    const minMove = prices.number(1);
    this.candles = this.chart.addSeries(library.CandlestickSeries, { priceFormat: { type: "price", precision: prices.decimals, minMove } });
    this.volume = this.chart.addSeries(library.HistogramSeries, { priceFormat: { type: "volume" }, priceScaleId: "volume", lastValueVisible: false, priceLineVisible: false });
    this.chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
    this.colour();
    dark.addEventListener("change", () => this.colour());
  }

  colour() {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(name).trim();
    this.up = of("--up");
    this.down = of("--down");
    this.chart.applyOptions({
      layout: { background: { color: of("--card") }, textColor: of("--quiet") },
      grid: { vertLines: { color: of("--line") }, horzLines: { color: of("--line") } },
      rightPriceScale: { borderColor: of("--line") },
      timeScale: { borderColor: of("--line") },
    });
    this.candles.applyOptions({ upColor: this.up, downColor: this.down, borderVisible: false, wickUpColor: this.up, wickDownColor: this.down });
    this.volume.applyOptions({ color: of("--edge") });
  }

  all(items, step) {
    if (!this.chart) return;
    this.chart.applyOptions({ timeScale: { secondsVisible: step < 60 } });
    this.candles.setData(items.map((each) => this.candle(each)));
    this.volume.setData(items.map((each) => ({ time: each.begins_s, value: each.lots })));
    const shown = 90;
    this.chart.timeScale().setVisibleLogicalRange({ from: items.length - shown, to: items.length + 3 });
    this.tell(items.at(-1));
  }

  last(items) {
    if (!this.chart) return;
    for (const each of items) {
      this.candles.update(this.candle(each));
      this.volume.update({ time: each.begins_s, value: each.lots });
      this.tell(each);
    }
  }

  candle(each) {
    const of = (ticks) => this.prices.number(ticks);
    return { time: each.begins_s, open: of(each.open), high: of(each.high), low: of(each.low), close: of(each.close) };
  }

  tell(last) {
    if (last) this.node.dataset.close = this.prices.text(last.close);
  }
}

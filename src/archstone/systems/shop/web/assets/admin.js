// Figures that renew themselves, and lists that say when they are out of date. All pages work without this script.
(() => {
  const board = document.querySelector("[data-figures]");
  if (board) live(board);
  const list = document.querySelector("[data-list]");
  if (list) watched(list);

  function live(board) {
    const every = 2000;
    const state = document.querySelector("[data-connection]");
    const pause = document.querySelector("[data-pause]");
    const plots = new Map();
    let paused = false;
    let asking = false;

    async function renew() {
      if (paused || asking || document.hidden) return;
      asking = true;
      try {
        const answer = await fetch(board.dataset.figures, { headers: { accept: "application/json" } });
        if (answer.redirected || answer.status === 403) { location.reload(); return; }
        if (!answer.ok) throw new Error(answer.status);
        show(await answer.json());
        state.textContent = "";
      } catch {
        state.textContent = "The shop does not answer. These figures are old; trying again by itself.";
      } finally {
        asking = false;
      }
    }

    function show(figures) {
      board.textContent = figures.at;
      alerts(document.querySelector("[data-alerts]"), figures.alerts);
      for (const [name, tile] of Object.entries(figures.tiles)) {
        const place = document.querySelector(`[data-tile="${CSS.escape(name)}"]`);
        if (!place) continue;
        place.className = `tile ${tile.tone}`;
        const text = place.querySelector("dd");
        if (text.textContent !== tile.text) text.textContent = tile.text;
      }
      for (const plot of figures.plots) {
        const place = document.querySelector(`[data-plot="${CSS.escape(plot.name)}"]`);
        if (!place) continue;
        numbers(place.querySelector(".numbers tbody"), plot.rows);
        const drawn = plots.get(plot.name);
        if (drawn) drawn.setData(plot.data);
        else plots.set(plot.name, draw(place.querySelector(".canvas"), plot));
      }
    }

    pause.hidden = false;
    pause.addEventListener("click", () => {
      paused = !paused;
      pause.textContent = paused ? "Go on" : "Pause";
      renew();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      for (const plot of plots.values()) plot.redraw();
    });
    document.addEventListener("visibilitychange", renew);
    renew();
    setInterval(renew, every);
  }

  function alerts(place, told) {
    const text = JSON.stringify(told);
    if (place.dataset.alerts === text) return; // or a reader would be told every two seconds
    place.dataset.alerts = text;
    place.replaceChildren(...told.map((alert) => {
      const band = document.createElement("section");
      band.className = "alert";
      for (const [tag, kind, words] of [["h2", "", alert.name], ["p", "", alert.why], ["p", "todo", alert.todo],
        ["p", "since", `since ${alert.since}`]]) {
        const part = document.createElement(tag);
        part.className = kind;
        part.textContent = words;
        band.append(part);
      }
      return band;
    }));
  }

  function numbers(body, rows) {
    body.replaceChildren(...rows.map((cells) => {
      const row = document.createElement("tr");
      cells.forEach((text, index) => {
        const cell = document.createElement(index ? "td" : "th");
        if (!index) cell.scope = "row";
        cell.textContent = text;
        row.append(cell);
      });
      return row;
    }));
  }

  function draw(place, plot) {
    const look = getComputedStyle(place);
    const colour = (name) => () => look.getPropertyValue(name).trim();
    const words = spoken(plot.unit);
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const paths = plot.bars ? uPlot.paths.stepped({ align: 1, extend: true }) : undefined;
    const size = () => ({ width: place.clientWidth, height: 204 });
    const drawn = new uPlot({
      ...size(),
      cursor: { y: false, drag: { x: false, y: false } },
      scales: { x: { range: (_, low, high) => [low, high + (plot.bars ? 60 : 0)] }, y: { range: (_, low, high) => [Math.min(0, low), Math.max(plot.unit === "ratio" ? 1 : plot.unit === "s" ? 0.001 : 100 ** (words.minor ? 1 : 0), high * 1.1)] } },
      axes: [{ ...axis, values: (_, at) => at.map(clock) }, { ...axis, size: 58, ...(plot.unit === "count" ? { incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000, 10000, 100000] } : {}), values: (_, all) => all.map(words.short) }],
      series: [
        { label: "At", value: (_, at) => (at == null ? "\u2013" : clock(at)) },
        ...plot.labels.map((label, index) => ({
          label, paths, stroke: colour(`--trace-${index + 1}`), width: 2, spanGaps: false, points: plot.unit === "ratio" ? { show: true, size: 6 } : { show: false },
          dash: [[], [6, 4], [2, 3]][index % 3], value: (_, value) => (value == null ? "\u2013" : words.long(value)),
        })),
      ],
    }, plot.data, place);
    new ResizeObserver(() => drawn.setSize(size())).observe(place);
    return drawn;
  }

  // Times are those of the shop, UTC, as in the tables.
  function clock(at) {
    const text = new Date(at * 1000).toISOString();
    return at % 60 ? text.slice(11, 19) : text.slice(11, 16);
  }

  function spoken(unit) {
    const tongue = document.documentElement.lang;
    const plain = new Intl.NumberFormat(tongue, { maximumFractionDigits: 2, notation: "compact" });
    const each = (text) => ({ short: text, long: text, minor: false });
    if (unit === "ratio") return each((value) => `${Math.round(value * 100)} %`);
    if (unit === "s") return each((value) => (value < 1 ? `${plain.format(value * 1000)} ms` : `${plain.format(value)} s`));
    if (unit === "per_s") return each((value) => `${plain.format(value)} /s`);
    if (unit === "count") return each((value) => plain.format(value));
    const money = new Intl.NumberFormat(tongue, { style: "currency", currency: unit });
    const brief = new Intl.NumberFormat(tongue, { style: "currency", currency: unit, notation: "compact", minimumFractionDigits: 0, maximumFractionDigits: 1 });
    const minor = 10 ** money.resolvedOptions().maximumFractionDigits;
    return { short: (value) => brief.format(value / minor), long: (value) => money.format(value / minor), minor: minor > 1 };
  }

  // What a list says, whatever another script has made of its times.
  function said(list) {
    if (!list) return "";
    const copy = list.cloneNode(true);
    for (const time of copy.querySelectorAll("time")) time.textContent = time.getAttribute("datetime");
    return copy.textContent.replace(/\s+/g, " ").trim();
  }

  // A list under somebody's finger does not jump: it says that there is something new, and is read again when asked to.
  function watched(list) {
    const news = document.querySelector("[data-news]");
    if (!news) return;
    const shown = said(list);
    const timer = setInterval(async () => {
      if (document.hidden) return;
      try {
        const answer = await fetch(location.href, { headers: { accept: "text/html" } });
        if (!answer.ok || answer.redirected) return;
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        if (said(page.querySelector("[data-list]")) === shown) return;
        news.hidden = false;
        clearInterval(timer);
      } catch { /* the next time */ }
    }, 10000);
  }
})();

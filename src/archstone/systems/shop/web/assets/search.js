// Suggestions below the search field: a combobox with a list, as WAI-ARIA describes it. Without this script the form searches as ever.
const field = document.querySelector("[data-suggest]");
if (field) {
  const list = document.createElement("ul");
  const told = document.createElement("p");
  list.className = "suggestions";
  list.id = "suggestions";
  list.hidden = true;
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Suggestions");
  told.className = "unseen";
  told.setAttribute("role", "status");
  field.form.append(list, told);
  const says = { role: "combobox", "aria-autocomplete": "list", "aria-controls": list.id, "aria-expanded": "false" };
  for (const [name, value] of Object.entries(says)) field.setAttribute(name, value);

  let timer = 0;
  let asking = null;
  const kept = new Map();
  const items = () => [...list.children];
  const chosen = () => list.querySelector("[aria-selected=true]");

  const close = () => {
    clearTimeout(timer);
    asking?.abort();
    list.hidden = true;
    field.setAttribute("aria-expanded", "false");
    field.removeAttribute("aria-activedescendant");
  };
  const choose = (item) => {
    chosen()?.removeAttribute("aria-selected");
    if (!item) return field.removeAttribute("aria-activedescendant");
    item.setAttribute("aria-selected", "true");
    item.scrollIntoView({ block: "nearest" });
    field.setAttribute("aria-activedescendant", item.id);
  };
  const go = (item) => { location.href = item.dataset.to; };
  const show = (html) => {
    // The text comes from a template of the shop, where everything is escaped.
    list.innerHTML = html;
    const count = items().length;
    list.hidden = !count;
    field.setAttribute("aria-expanded", String(count > 0));
    field.removeAttribute("aria-activedescendant");
    told.textContent = count ? `${count} suggestions, use the arrow keys` : "";
  };
  const ask = async () => {
    const text = field.value.trim();
    if (text.length < 2) return close();
    if (kept.has(text)) return show(kept.get(text));
    asking?.abort();
    asking = new AbortController();
    try {
      const answer = await fetch(`${field.dataset.suggest}?q=${encodeURIComponent(text)}`, { signal: asking.signal });
      if (!answer.ok) return close();
      const html = await answer.text();
      if (kept.size > 50) kept.clear();
      kept.set(text, html);
      if (field.value.trim() === text && document.activeElement === field) show(html);
    } catch { /* typed on, or no answer: searching works all the same */ }
  };

  field.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(ask, 120); });
  field.addEventListener("keydown", (event) => {
    const all = items();
    if (event.key === "Escape" && !list.hidden) { event.preventDefault(); return close(); }
    if (event.key === "ArrowDown" && list.hidden) { event.preventDefault(); return ask(); }
    if (list.hidden || !all.length) return;
    const at = all.indexOf(chosen());
    if (event.key === "ArrowDown") choose(all[at + 1] ?? null);
    else if (event.key === "ArrowUp") choose(at < 0 ? all.at(-1) : all[at - 1] ?? null);
    else if (event.key === "Enter" && at >= 0) go(all[at]);
    else return;
    event.preventDefault();
  });
  field.addEventListener("blur", () => setTimeout(close, 150));
  list.addEventListener("pointerdown", (event) => event.preventDefault());
  list.addEventListener("click", (event) => { const item = event.target.closest("li"); if (item) go(item); });
}

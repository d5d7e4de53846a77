// The risk console: what is dangerous is asked about once more, and what is shown is fetched again each two seconds.
import { showState } from "./live.js";

for (const form of document.querySelectorAll("form.sure")) {
  form.addEventListener("submit", (event) => {
    if (!confirm(form.dataset.sure)) event.preventDefault();
  });
}

const parts = ["live-books", "live-accounts"].filter((id) => document.getElementById(id));

// Returns how the page stands: `live`, or `out` where somebody who may not see it is asked to sign in instead.
async function again() {
  const busy = parts.some((id) => document.getElementById(id).contains(document.activeElement));
  if (document.visibilityState !== "visible" || busy) return null;
  const answer = await fetch(location.pathname, { headers: { accept: "text/html" } });
  if (!answer.ok) return answer.status === 403 ? "out" : "lost";
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (parts.some((id) => !page.getElementById(id))) return "out";
  for (const id of parts) document.querySelector(`#${id} tbody`).replaceWith(page.querySelector(`#${id} tbody`));
  return "live";
}

async function look() {
  const state = await again().catch(() => "lost");
  if (state) showState(state);
}

if (parts.length) setInterval(look, 2000);

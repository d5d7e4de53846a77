// The risk console: what is dangerous is asked about once more, and what is shown is fetched again each two seconds.

for (const form of document.querySelectorAll("form.sure")) {
  form.addEventListener("submit", (event) => {
    if (!confirm(form.dataset.sure)) event.preventDefault();
  });
}

const parts = ["live-books", "live-accounts"].filter((id) => document.getElementById(id));

async function again() {
  const busy = parts.some((id) => document.getElementById(id).contains(document.activeElement));
  if (document.visibilityState === "visible" && !busy) {
    const answer = await fetch(location.pathname, { headers: { accept: "text/html" } });
    if (answer.ok) {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const id of parts) {
        const fresh = page.getElementById(id);
        if (fresh) document.querySelector(`#${id} tbody`).replaceWith(fresh.querySelector("tbody"));
      }
    }
  }
}

if (parts.length) setInterval(() => again().catch(() => {}), 2000);

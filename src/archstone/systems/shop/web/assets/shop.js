// The page of an order follows the order. Without this script its link "Look again" does the same by hand.
const live = document.querySelector("[data-events]");
if (live && "EventSource" in window) {
  const state = document.querySelector("[data-connection]");
  const say = (words) => { if (state) state.textContent = words; };
  const events = new EventSource(live.dataset.events);
  events.addEventListener("open", () => say(""));
  events.addEventListener("error", () => {
    say(events.readyState === EventSource.CLOSED
      ? "This page does not change by itself any more. Please look again."
      : "The connection is gone. Trying again by itself; your order goes on meanwhile.");
  });
  // The text comes from the same template as the page itself, where everything is escaped.
  events.addEventListener("order", (event) => { live.innerHTML = event.data; });
  events.addEventListener("over", () => events.close());
}

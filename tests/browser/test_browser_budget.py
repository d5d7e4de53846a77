"""What the pages may cost a browser that has never been here. Measured in the browser itself, on the loopback."""

from dataclasses import dataclass

import pytest
from devices import Device, Devices
from tour import SKU

FIRST_PAGE_BYTES = 100_000
INTERACTIVE_MS = 1_000.0
VISITS = 3
"""Of which the fastest counts: what other programs of the machine take from the others is not the page's fault."""
# Interactive: everything that the page waits for has run (the end of DOMContentLoaded, which includes deferred
# scripts), something is drawn, and the last task of 50 ms or more is over. Times from the start of the navigation.
MEASURE = """() => new Promise((done) => {
  const seen = (type) => new Promise((found) => {
    const entries = [];
    new PerformanceObserver((list) => entries.push(...list.getEntries())).observe({type, buffered: true});
    setTimeout(() => found(entries), 250);
  });
  Promise.all([seen("layout-shift"), seen("longtask"), seen("paint")]).then(([shifts, tasks, paints]) => {
    const ready = performance.getEntriesByType("navigation")[0].domContentLoadedEventEnd;
    done({
      moved: shifts.flatMap((shift) => shift.sources.map((one) => {
        const [was, is] = [one.previousRect, one.currentRect].map((at) => JSON.stringify(at));
        return `${one.node?.outerHTML?.slice(0, 90)} from ${was} to ${is}`;
      })),
      interactive: Math.max(ready, ...tasks.map((task) => task.startTime + task.duration),
                            ...paints.map((paint) => paint.startTime)),
      painted: paints.length > 0,
    });
  });
})"""


@dataclass
class Cost:
    """Of one visit with an empty cache."""

    bytes: int
    moved: list[str]
    """What moved after it was painted, from where to where."""
    interactive_ms: float


# Pictures below the fold load when they come into sight. (Playwright's own wait_for_function needs `unsafe-eval`.)
SEEN = """() => new Promise((done, failed) => {
  const there = (image) => {
    const box = image.getBoundingClientRect();
    return image.complete || box.top > innerHeight || box.bottom < 0;
  };
  const end = performance.now() + 10_000;
  const look = () => {
    if ([...document.images].every(there)) done();
    else if (performance.now() > end) failed(new Error("a picture does not come"));
    else requestAnimationFrame(look);
  };
  look();
})"""
AT_END = "scrollY + innerHeight >= document.documentElement.scrollHeight - 1"


def visit(device: Device, path: str) -> Cost:
    """Open a page and scroll through all of it: every picture of it counts."""
    page = device.page
    tools = page.context.new_cdp_session(page)
    sizes: list[float] = []
    tools.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    tools.send("Network.enable")
    page.goto(path, wait_until="load")
    page.evaluate(SEEN)
    while not page.evaluate(AT_END):
        page.evaluate("scrollBy({top: innerHeight / 2, behavior: 'instant'})")
        page.evaluate(SEEN)
    found = page.evaluate(MEASURE)
    assert found["painted"]
    return Cost(int(sum(sizes)), found["moved"], found["interactive"])


@pytest.mark.parametrize("screen", ["wide", "phone"])
@pytest.mark.parametrize("path", ["/", f"/p/{SKU}", "/search?q=cup"], ids=["home", "product", "search"])
def test_a_first_page_is_small_still_and_soon_ready(device: Devices, screen: str, path: str) -> None:
    costs = [visit(device(screen), path) for _ in range(VISITS)]
    assert 0 < max(cost.bytes for cost in costs) < FIRST_PAGE_BYTES
    assert [cost.moved for cost in costs] == [[]] * VISITS
    assert min(cost.interactive_ms for cost in costs) < INTERACTIVE_MS

"""Makes `data/shop-format-1.tar.gz`: the data folder of a shop as this release writes it, killed while at work.

    python tests/runtime/make_shop_format_1.py

Run it once per format of the folder, when a release writes a new one, under a new name. What is committed stays: the
test beside it opens every one of them with the present code. Do not run it again to make that test pass.

Inside are ten orders of one customer: confirmed, cancelled, cancelled after they were confirmed, waiting for a slow
bank, turned back by their customer; events that are not handled yet; and `expected.json` with what must become of them.
"""

import asyncio
import json
import sys
import tarfile
import tempfile
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from shop_http import at_rest, new_person, skus
from shop_process import ShopProcess

TARGET = Path(__file__).parent / "data" / "shop-format-1.tar.gz"
LEFT_OUT = ("control.sock", "owner", ".lock", "-shm")


def make(folder: Path) -> None:
    shop = ShopProcess(folder / "shop", settings={"RATE_LIMIT_PER_S": "100000"})
    try:
        asyncio.run(shop.start())
        with httpx.Client(base_url=shop.url, timeout=30) as http:
            person = new_person(http, name="old")
            names = skus(http, 10)
            expected = {person.buy((names[0], 2), (names[1], 1)): "confirmed", person.buy((names[2], 1)): "confirmed"}
            expected |= {person.buy((names[3], 1), token=token): "cancelled" for token in ("tok_declined", "tok_none")}
            expected[person.buy((names[4], 1), token="tok_flaky")] = "confirmed"
            called_off = person.buy((names[5], 1))
            for order_id in [*expected, called_off]:
                person.settled(order_id)
            person.send("POST", f"/orders/{called_off}/cancel")
            person.until(called_off, lambda order: order["status"] == "cancelled")
            expected[called_off] = "cancelled"
            at_rest(shop)
            expected |= {person.buy((names[6], 1), token="tok_timeout"): "confirmed" for _ in range(2)}
            turned_back = person.buy((names[7], 1), token="tok_timeout")
            person.send("POST", f"/orders/{turned_back}/cancel")
            expected[turned_back] = "cancelled"
            last = person.buy((names[8], 1))
            person.settled(last)
            expected[last] = "confirmed"
            shop.kill()
    finally:
        shop.kill()
    (shop.data / "expected.json").write_text(json.dumps({"email": person.email, "orders": expected}, indent=1))
    pack(shop.data)


def pack(data: Path) -> None:
    TARGET.parent.mkdir(exist_ok=True)
    with tarfile.open(TARGET, "w:gz") as archive:
        for path in sorted(data.rglob("*")):
            if path.is_file() and not path.name.endswith(LEFT_OUT):
                archive.add(path, arcname=path.relative_to(data), filter=nobodys)


def nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
    print(f"{TARGET.name}: {TARGET.stat().st_size / 1024:.0f} KiB")

"""The administration's pages about users: finding them, roles, closing and opening accounts."""

from pages_browser import ROOT, Browser, registered

from archstone.runtime import Embedded
from archstone.systems.shop.users.contract import User, UserAdmin


async def user(run: Embedded, email: str) -> User:
    """Return the user with this address."""
    (found,) = (await run.client(UserAdmin, as_=ROOT).users(email)).items
    return found


async def test_users_are_found_by_name_role_and_account(run: Embedded, root: Browser) -> None:
    await registered(Browser(run.asgi), "ann@example.com")
    for query, found in (
        ("", {"ann", "root"}), ("q=ANN@", {"ann"}), ("role=admin", {"root"}), ("role=king", {"ann", "root"}),
        ("account=open", {"ann", "root"}), ("account=closed", set[str]()), ("q=" + "x" * 500, set[str]()),
    ):  # fmt: skip
        page = await root.get(f"/admin/users?{query}")
        assert page.status == 200
        assert {name for name in ("ann", "root") if f">{name}@example.com<" in page.html} == found, query
    assert (await root.get("/admin/users?role=admin&cursor=x")).to == "/admin/users?role=admin"
    assert (await root.get(f"/admin/users/{'0' * 32}")).status == 404


async def test_a_role_is_given_and_withdrawn_after_a_question(run: Embedded, root: Browser) -> None:
    ann = await registered(Browser(run.asgi), "ann@example.com")
    path = f"/admin/users/{(await user(run, 'ann@')).id}"
    asked = await root.submit(await root.get(path), f"{path}/grant")
    assert "Make ann@example.com an administrator?" in asked.text
    assert (await ann.get("/admin")).status == 403
    done = await root.follow(await root.submit(asked, f"{path}/grant"))
    assert "The role has been given" in done.text
    assert "Granted: admin" in done.text
    assert (await ann.get("/admin")).status == 200
    asked = await root.submit(done, f"{path}/withdraw")
    done = await root.follow(await root.submit(asked, f"{path}/withdraw"))
    assert "Withdrawn: admin" in done.text
    assert (await ann.get("/admin")).to == "/login?next=/admin", "all sessions have ended"


async def test_an_account_is_closed_after_a_question_with_a_reason_and_opened_again(
    run: Embedded, root: Browser
) -> None:
    ann = await registered(Browser(run.asgi), "ann@example.com")
    path = f"/admin/users/{(await user(run, 'ann@')).id}"
    page = await root.get(path)
    unsaid = await root.submit(page, f"{path}/close")
    assert unsaid.status == 422
    assert "Please say why" in unsaid.text
    asked = await root.submit(page, f"{path}/close", reason="<spam>")
    assert (await user(run, "ann@")).active
    closed = await root.follow(await root.submit(asked, f"{path}/close"))
    assert not (await user(run, "ann@")).active
    assert "&lt;spam&gt;" in closed.html
    assert (await ann.get("/account")).to == "/login?next=/account"
    opened = await root.follow(await root.submit(closed, f"{path}/open"))
    assert "The account is open again" in opened.text
    assert (await user(run, "ann@")).active


async def test_the_last_administrator_stays(run: Embedded, root: Browser) -> None:
    path = f"/admin/users/{(await user(run, 'root@')).id}"
    for act, fields in (("withdraw", {}), ("close", {"reason": "tired"})):
        answer = await root.post(f"{path}/{act}", {**fields, "sure": "yes"})
        assert "nobody would be left" in (await root.follow(answer)).text
    assert "admin" in (await user(run, "root@")).roles

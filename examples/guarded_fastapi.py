"""Who may do what, and what browsers may not be made to do, in a FastAPI application. `uvicorn guarded_fastapi:app`

Try: curl -X DELETE localhost:8000/notes/1 -H 'X-User: ann' -H 'X-Roles: writer' -H 'Sec-Fetch-Site: same-origin'
"""

from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse

from archstone import context
from archstone.context import NOBODY, Call, Principal
from archstone.errors import DeniedError
from archstone.security import Role, Roles, Rule
from archstone.security.http import Cors, Origins, SameOrigin, SecureHeaders

READER = Role("reader", may=("notes:read",))
WRITER = Role("writer", may=("notes:write",), above=(READER,))
EDITOR = Role("editor", may=("notes:write-any",), above=(WRITER,))
OWN_NOTE = Rule[str]("own note", lambda principal, owner: principal.id == owner, unless="notes:write-any")
guard = Roles(READER, WRITER, EDITOR).guard()  # refusals are logged; on_denied= tells somebody else

notes = {1: ("ann", "buy tea"), 2: ("bob", "call Ann")}
app = FastAPI()
app.add_middleware(SameOrigin)
app.add_middleware(Cors, allow=Origins(("https://app.example.org",), credentials=True))
app.add_middleware(SecureHeaders)  # added last, so outermost: refusals carry the headers, too


async def signed_in(x_user: Annotated[str, Header()] = "", x_roles: Annotated[str, Header()] = "") -> None:
    """Stand-in for sessions or tokens: believe whoever says who they are."""
    who = Principal(x_user, frozenset(x_roles.split(","))) if x_user else NOBODY
    context.set_current(Call(who))


app.router.dependencies.append(Depends(signed_in))


@app.exception_handler(DeniedError)
async def refused(_: Request, error: DeniedError) -> JSONResponse:
    """Answer 401 or 403."""
    return JSONResponse({"code": error.code, "detail": str(error)}, error.status)


@app.get("/")
async def page(request: Request) -> HTMLResponse:
    """Show a page whose script the policy lets run, and no other."""
    return HTMLResponse(f'<p id="x"></p><script nonce="{request.state.csp_nonce}">x.textContent = "ran"</script>')


@app.get("/notes/{number}")
@guard.require("notes:read")
async def note(number: int) -> str:
    """Return a note: every reader may see all."""
    return notes[number][1]


@app.delete("/notes/{number}")
@guard.require("notes:write")
async def delete(number: int) -> None:
    """Delete one's own note; an editor deletes any."""
    owner, _ = notes.get(number, ("", ""))
    if not guard.allows("delete", OWN_NOTE, owner, context.current().principal, name=f"note {number}"):
        raise HTTPException(404)
    del notes[number]

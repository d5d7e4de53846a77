"""An ASGI application that answers as it is told, and a client that asks one."""

import asyncio


class Origin:
    """An application that counts its requests and answers as it is told."""

    def __init__(self):
        self.requests = 0
        self.status, self.body, self.takes_s = 200, b"v1", 0.0
        self.headers = {"cache-control": "max-age=60", "etag": '"1"'}
        self.chunks = 1

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return
        self.requests += 1
        status, body, headers = self.status, self.body, dict(self.headers)
        if scope["method"] not in ("GET", "HEAD"):
            headers, body = {}, b"done"
        if headers.get("vary") == "accept-language":
            body += dict(scope["headers"]).get(b"accept-language", b"")
        await asyncio.sleep(self.takes_s)
        pairs = [(name.encode(), text.encode()) for name, text in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        for number in range(self.chunks):
            more = number + 1 < self.chunks
            await send({"type": "http.response.body", "body": body, "more_body": more})


class Answer:
    def __init__(self):
        self.status, self.headers, self.body = 0, {}, b""


async def ask(app, path="/p", *, method="GET", query=b"", **headers):
    answer = Answer()

    async def send(message):
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): text.decode() for name, text in message["headers"]}
        else:
            answer.body += message["body"]

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    pairs = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query,
        "scheme": "http", "headers": [(b"host", b"shop"), *pairs],
    }  # fmt: skip
    await app(scope, receive, send)
    return answer

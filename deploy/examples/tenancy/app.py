"""A service that keeps the rows of sandboxes apart in one database.

All of it is in `SandboxPool`: whoever takes a connection from the pool gets it in a transaction that has
the routing key of the request. A pool hands one connection to many requests, so the key belongs to the
transaction (SET LOCAL) and never to the connection.
"""

import os
from contextlib import asynccontextmanager

from aiohttp import web
from opentelemetry import baggage, context
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from psycopg_pool import AsyncConnectionPool


class SandboxPool(AsyncConnectionPool):
    """A pool whose connections see the rows of the request's sandbox, and no others."""

    @asynccontextmanager
    async def connection(self, timeout=None):
        async with super().connection(timeout) as connection, connection.transaction():
            key = str(baggage.get_baggage("sandbox") or "")
            await connection.execute("SELECT set_config('app.sandbox', %s, true)", [key])
            yield connection


@web.middleware
async def with_baggage(request, handler):
    """Takes the baggage of the request. OpenTelemetry's instrumentation of a server does the same."""
    token = context.attach(W3CBaggagePropagator().extract(request.headers))
    try:
        return await handler(request)
    finally:
        context.detach(token)


async def list_orders(request):
    async with request.app[POOL].connection() as connection:
        rows = await connection.execute("SELECT item FROM orders ORDER BY id DESC LIMIT 100")
        return web.json_response([item for (item,) in await rows.fetchall()])


async def add_order(request):
    item = (await request.json())["item"]
    async with request.app[POOL].connection() as connection:
        await connection.execute("INSERT INTO orders (item) VALUES (%s)", [item])
    return web.json_response({})


async def delete_order(request):
    item = (await request.json())["item"]
    async with request.app[POOL].connection() as connection:
        deleted = await connection.execute("DELETE FROM orders WHERE item = %s", [item])
        return web.json_response({"deleted": deleted.rowcount})


async def open_pool(app):
    async with SandboxPool(os.environ["DATABASE_URL"], min_size=4, max_size=8, open=False) as pool:
        app[POOL] = pool
        yield


POOL = web.AppKey("pool", SandboxPool)

if __name__ == "__main__":
    application = web.Application(middlewares=[with_baggage])
    application.cleanup_ctx.append(open_pool)
    application.add_routes([
        web.get("/orders", list_orders),
        web.post("/orders", add_order),
        web.post("/orders/delete", delete_order),
    ])
    web.run_app(application, host="127.0.0.1", port=int(os.environ["PORT"]), print=None)

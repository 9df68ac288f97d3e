"""The vendors' routes, made from the protocol table: from aiohttp's requests to the reception's answers and back."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiohttp import web

from rtcpeer.errors import ConfigurationError
from rtcpeer.protocols.base import Profile, VoiceProtocol
from rtcpeer.protocols.http import HttpRequest, HttpResponse, Refusal, RequestRefused
from rtcpeer.protocols.websocket import WebSocketProtocol
from rtcpeer.serving.listening import Limits, read_body
from rtcpeer.serving.rate_limit import RateLimit, caller
from rtcpeer.serving.refusals import Refusals
from rtcpeer.transports.dialling import CLOSE_DEADLINE, MESSAGE_LIMIT

from .faults import closing_fault, http_fault
from .places import LimitReached
from .reception import Reception
from .switchboard import Switchboard

logger = logging.getLogger(__name__)

_METHODS = {"token": "POST", "ice": "GET", "call": "POST"}


class VendorRoutes:
    """The routes of some protocols.

    Args:
        rate_limit: Counts what is asked on all of them.
        cors_origins: Pages that may call them; ``*``: any.
    """

    def __init__(
        self,
        protocols: Sequence[type[VoiceProtocol]],
        reception: Reception,
        switchboard: Switchboard,
        *,
        rate_limit: RateLimit,
        limits: Limits,
        refusals: Refusals,
        cors_origins: frozenset[str],
    ) -> None:
        self._protocols = tuple(protocols)
        self._reception = reception
        self._switchboard = switchboard
        self._rate_limit = rate_limit
        self._limits = limits
        self._refusals = refusals
        self._cors_origins = cors_origins

    def add_to(self, app: web.Application) -> None:
        """Raises ConfigurationError: two protocols want one path."""
        taken: dict[str, Profile] = {}
        for protocol in self._protocols:
            profile = protocol.profile
            routes = [*profile.paths.items(), *((route, path) for path, route in profile.aliases.items())]
            for route, path in routes:
                if path in taken:
                    if path in profile.shared | taken[path].shared:
                        continue
                    raise ConfigurationError(
                        f"{taken[path].name} and {profile.name} both want {path}: serve one of them"
                    )
                taken[path] = profile
                if route == "socket":
                    assert issubclass(protocol, WebSocketProtocol)
                    app.router.add_get(path, self._socket_handler(protocol), allow_head=False)
                    continue
                method = profile.session_method if route == "session" else _METHODS[route]
                app.router.add_route(method, path, self._handler(protocol, route))
                app.router.add_route("OPTIONS", path, self._preflight_handler(method))

    def _handler(self, protocol: type[VoiceProtocol], route: str) -> Callable[[web.Request], Any]:
        answer: Callable[[Any, HttpRequest, str], Awaitable[HttpResponse]] = {
            "token": self._reception.give_token,
            "ice": self._reception.give_ice,
            "call": self._reception.take_offer,
            "session": self._reception.give_ticket,
        }[route]

        async def handle(request: web.Request) -> web.Response:
            try:
                address = self._count(request)
                asked = _asked(request, await read_body(request, self._limits.request_deadline, self._refusals))
                response = http_fault(self._switchboard.faults, route) or await answer(protocol, asked, address)
            except RequestRefused as refused:
                response = self._refuse(protocol, refused, route)
            return _to_aiohttp(response, self._cors_headers(request))

        return handle

    def _socket_handler(self, protocol: type[WebSocketProtocol]) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.StreamResponse:
            if not web.WebSocketResponse().can_prepare(request):
                raise web.HTTPBadRequest(text="No WebSocket upgrade")  # which must not use up a token
            if not self._may_ask(request.headers.get("Origin")):
                # A browser lets any page open a socket anywhere, and read it: there is no CORS but ours.
                self._refusals.count("origin")
                raise web.HTTPForbidden(text="this origin is not allowed")
            try:
                address = self._count(request)
            except RequestRefused as refused:  # whatever the vendor does: no socket is taken for this
                return _to_aiohttp(self._refuse(protocol, refused, "socket"), {})
            try:
                response = http_fault(self._switchboard.faults, "call")
                if response is not None:
                    return _to_aiohttp(response, {})
                upgrade, place = await self._reception.admit(protocol, _asked(request), address)
            except RequestRefused as refused:
                response = self._refuse(protocol, refused, "socket")
                closing = closing_fault(self._switchboard.faults, protocol, protocol.refusal_closing(refused))
                if closing is None:
                    return _to_aiohttp(response, {})
                socket = await _upgrade(request)
                for message in closing.messages:
                    await socket.send_str(message)
                if closing.code is None:
                    await self._await_goodbye(socket)
                    return socket
                await socket.close(code=closing.code, message=closing.reason.encode()[:123])
                return socket
            try:
                socket = await _upgrade(request)
                transport = request.transport
                call = await self._reception.take_socket(
                    protocol,
                    upgrade,
                    place,
                    socket,
                    abort=lambda: transport.abort() if transport is not None else None,
                )
            except BaseException:
                place.leave()
                raise
            # The handler is the socket: it stays for as long as the call does.
            await asyncio.shield(self._switchboard.running[call])
            return socket

        return handle

    async def _await_goodbye(self, socket: web.WebSocketResponse) -> None:
        """Leave a refused socket to its client, for as long as a call has to come up."""
        closing = asyncio.create_task(self._switchboard.closing.wait())
        going = asyncio.create_task(_drain(socket))
        try:
            await asyncio.wait(
                (closing, going), timeout=self._reception.open_timeout, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for task in (closing, going):
                task.cancel()
            await asyncio.gather(closing, going, return_exceptions=True)
        await socket.close()

    def _count(self, request: web.Request) -> str:
        """Count a request for its address, and return that.

        Raises:
            LimitReached: it is one too many.
        """
        address = caller(request.remote)
        if wait := self._rate_limit.take(address, asyncio.get_running_loop().time()):
            raise LimitReached("rate-limit", "Rate limit exceeded; try again later", retry_after=wait)
        return address

    def _refuse(self, protocol: type[VoiceProtocol], refused: RequestRefused, route: str) -> HttpResponse:
        logger.debug("refused: route=%s refusal=%s", route, refused.refusal.value)
        response = protocol.refusal_response(refused, route)
        if not isinstance(refused, LimitReached):
            self._refusals.count(refused.refusal.value.replace("_", "-"), level=logging.INFO)
            return response
        self._refusals.count(refused.kind)
        if refused.retry_after is None:
            return response
        headers = {**response.headers, "retry-after": str(math.ceil(refused.retry_after))}
        return HttpResponse(response.status, headers, response.body)

    def _preflight_handler(self, method: str) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            headers = self._cors_headers(request)
            if "Access-Control-Allow-Origin" in headers:
                headers |= {
                    "Access-Control-Allow-Methods": method,
                    "Access-Control-Allow-Headers": "Authorization, Content-Type",
                    "Access-Control-Max-Age": "600",
                }
            return web.Response(status=204, headers=headers)

        return handle

    def _may_ask(self, origin: str | None) -> bool:
        return origin is None or "*" in self._cors_origins or origin in self._cors_origins

    def _cors_headers(self, request: web.Request) -> dict[str, str]:
        """CORS (WHATWG Fetch, 3.3). A page sets the credential itself, in a header: "*" gives nothing away."""
        if "*" in self._cors_origins:
            return {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After"}
        origin = request.headers.get("Origin")
        if origin is None or not self._may_ask(origin):
            return {"Vary": "Origin"}
        return {
            "Vary": "Origin",
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": "Retry-After",
        }

    # What no route knows

    @web.middleware
    async def word_errors(self, request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
        """Give errors that no handler made the service's own shape."""
        vendor = self._protocols[0] if self._protocols else None
        try:
            response: web.StreamResponse = await handler(request)
            return response
        except web.HTTPNotFound:
            self._refusals.count("not-found", level=logging.INFO)
            if vendor is None:
                raise
            refused = RequestRefused(Refusal.NOT_FOUND, "Not Found")
            return _to_aiohttp(vendor.refusal_response(refused, ""), {})
        except web.HTTPMethodNotAllowed as exc:
            self._refusals.count("method", level=logging.INFO)
            # FastAPI's words: the vendors document none.
            return web.json_response(
                {"detail": "Method Not Allowed"}, status=405, headers={"Allow": exc.headers["Allow"]}
            )
        except web.HTTPException:
            raise
        except ConnectionResetError:
            # The caller went before its upgrade was answered: nobody's fault here, and nobody reads this.
            return web.Response(status=400)
        except Exception:
            logger.exception("a request failed: method=%s path=%.200r", request.method, request.path)
            if vendor is None:
                raise
            refused = RequestRefused(Refusal.INTERNAL, "Internal server error")
            return _to_aiohttp(vendor.refusal_response(refused, ""), {})


async def _upgrade(request: web.Request) -> web.WebSocketResponse:
    offered = [name.strip() for name in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
    socket = web.WebSocketResponse(
        timeout=CLOSE_DEADLINE,
        autoping=False,
        compress=False,
        max_msg_size=MESSAGE_LIMIT,
        protocols=[name for name in offered[:1] if name],
    )
    await socket.prepare(request)
    return socket


async def _drain(socket: web.WebSocketResponse) -> None:
    async for _ in socket:
        pass


def _asked(request: web.Request, body: bytes = b"") -> HttpRequest:
    """Return a request as a codec reads it; its URL is the one by which the caller reached us."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    return HttpRequest(request.method, str(request.url), headers, body)


def _to_aiohttp(response: HttpResponse, headers: dict[str, str]) -> web.Response:
    return web.Response(status=response.status, headers={**response.headers, **headers}, body=response.body)

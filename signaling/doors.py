"""The mock's own doors: to look at it and to steer it from any language.

``GET /healthz`` is everybody's. ``/mock/…`` is free when the mock listens on loopback; elsewhere it wants the API key
as ``Authorization: Bearer``. There is no CORS here, and on loopback a request must name a loopback host: a web page
that was not asked to must not steer the mock, not even through a DNS name that points at it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from rtcpeer.errors import ConfigurationError
from rtcpeer.netem import NetworkConditions
from rtcpeer.protocols.http import HttpRequest
from rtcpeer.protocols.strict_json import load_json
from rtcpeer.serving.listening import is_loopback, read_body

from .faults import FAULTS
from .scenario import SCENARIOS

if TYPE_CHECKING:
    from .calls import Call
    from .server import MockServer

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_routes(app: web.Application, server: MockServer) -> None:
    """Add the doors of ``server`` to its application."""

    def door(method: str, path: str, handler: Handler) -> None:
        async def guarded(request: web.Request) -> web.StreamResponse:
            if refusal := _refusal(request, server):
                server.refusals.count("door")
                return refusal
            return await handler(request)

        app.router.add_route(method, path, guarded)

    def find(request: web.Request) -> Call:
        call = server.find_call(request.match_info["id"])
        if call is None:
            raise web.HTTPNotFound
        return call

    async def json(request: web.Request) -> Any:
        try:
            return load_json(await read_body(request, server.limits.request_deadline, server.refusals))
        except (ValueError, RecursionError):
            raise ConfigurationError("the body is not JSON") from None

    async def healthz(request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def list_calls(request: web.Request) -> web.Response:
        return web.json_response([call.to_dict() for call in server.calls])

    async def list_refused(request: web.Request) -> web.Response:
        return web.json_response(server.refused)

    async def get_call(request: web.Request) -> web.Response:
        return web.json_response(find(request).to_dict())

    async def get_audio(request: web.Request) -> web.Response:
        call = find(request)
        if call.tape is None:
            return _error(410, "the audio of this call is gone: only that of the newest calls is kept")
        return web.Response(body=call.tape.to_wav(), content_type="audio/wav")

    async def hang_up(request: web.Request) -> web.Response:
        await find(request).hang_up()
        return web.Response(status=204)

    async def put_scenario(request: web.Request) -> web.Response:
        match await json(request):
            case {"scenario": str(name)} | str(name):
                server.scenario = name
            case _:
                raise ConfigurationError(f'expected {{"scenario": NAME}}; there is {", ".join(SCENARIOS)}')
        return web.json_response({"scenario": server.scenario.name})

    async def put_faults(request: web.Request) -> web.Response:
        match await json(request):
            case {"faults": list(names)} | list(names) if all(isinstance(name, str) for name in names):
                server.faults = names
            case _:
                raise ConfigurationError(f'expected {{"faults": [NAME, …]}}; there is {", ".join(FAULTS)}')
        return web.json_response({"faults": sorted(server.faults)})

    async def put_netem(request: web.Request) -> web.Response:
        match await json(request):
            case {"netem": (str() | None) as netem} | (str() as netem):
                server.netem = NetworkConditions.of(netem)
            case _:
                raise ConfigurationError('expected {"netem": "loss=5%,delay=40ms"}, or {"netem": null} for none')
        answer: dict[str, object] = {"netem": str(server.netem) or None}
        if nothing := server.netem.not_over_a_stream:
            answer["not_over_websocket"] = nothing  # TCP repairs it: such calls go on as if it were not there
        return web.json_response(answer)

    app.router.add_route("GET", "/healthz", healthz)
    door("GET", "/mock/calls", list_calls)
    door("GET", "/mock/calls/{id}", get_call)
    door("GET", "/mock/refused", list_refused)
    door("GET", "/mock/calls/{id}/audio.wav", get_audio)
    door("DELETE", "/mock/calls/{id}", hang_up)
    door("PUT", "/mock/scenario", _with_errors(put_scenario))
    door("PUT", "/mock/faults", _with_errors(put_faults))
    door("PUT", "/mock/netem", _with_errors(put_netem))


def _with_errors(handler: Handler) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except ConfigurationError as exc:
            return _error(422, str(exc))

    return handle


def _refusal(request: web.Request, server: MockServer) -> web.Response | None:
    headers = {"authorization": request.headers.get("Authorization", "")}
    if server.tokens.knows_key(HttpRequest(request.method, "", headers).bearer):
        return None
    if not server.on_loopback:
        return _error(401, "give the mock's API key: Authorization: Bearer KEY")
    if not is_loopback(request.url.host or ""):
        return _error(403, "this door is for loopback: call it as 127.0.0.1 or localhost, or give the API key")
    return None


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)

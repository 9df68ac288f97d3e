"""Every protocol of the table, both sides: its messages, its HTTP, what a user may ask of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from given import FIXTURES, Target, golden, size, words_in

from rtcpeer.cli.join import _pairs
from rtcpeer.errors import (
    AuthError,
    ConfigurationError,
    LocalProtocolError,
    RemoteProtocolError,
    RtcPeerError,
    SignalingError,
    Unsupported,
)
from rtcpeer.protocols import PROTOCOLS, Side, VoiceProtocol
from rtcpeer.protocols.base import AudioChunk
from rtcpeer.protocols.http import (
    HttpRequest,
    HttpResponse,
    Refusal,
    RequestRefused,
    for_display,
    parse_time,
    retry_after,
)
from rtcpeer.protocols.orga_http import ICE_SCHEMES
from rtcpeer.protocols.orga_messages import readable
from rtcpeer.protocols.session_config import parse_session_config, session_config_response
from rtcpeer.protocols.strict_json import load_json
from rtcpeer.protocols.text import plain_text, without_control
from rtcpeer.protocols.websocket import WebSocketProtocol
from rtcpeer.transports.http import check_http_url, redact_url

BASE = "https://api.example.com"
OF_TOMORROW = '{"type": "of tomorrow", "event": "of tomorrow"}'


def messages(protocol: type[VoiceProtocol], side: Side, data: bytes) -> None:
    """What one side hears, a message after a 0: those that begin with a 1 are binary. A 2 in front: who must sign in.

    What was understood can be written down and said again; afterwards the codec still hears.
    """
    codec, again = protocol(side), protocol(side.other)
    if data[:1] == b"\x02" and isinstance(codec, WebSocketProtocol) and side is Side.SERVER:
        codec.admit = _admit
    heard = 0
    for part in data.removeprefix(b"\x02").split(b"\0"):
        message = part[1:] if part[:1] == b"\x01" else part.decode("utf-8", "replace")
        try:
            found = codec.receive(message)
        except RequestRefused as refused:
            assert refused.refusal in Refusal
            continue
        except RemoteProtocolError as exc:
            assert type(exc) is RemoteProtocolError
            continue
        for said in found:
            heard += len(json.dumps(said.to_dict(), allow_nan=False).encode())
            if isinstance(said, AudioChunk):
                assert len(said.data) <= len(message)
            _say_again(again, said)
    assert size(codec) <= 20_000 + 70 * len(data)
    assert heard <= 20_000 + 500 * len(data)
    codec.admit = None  # type: ignore[attr-defined]
    assert codec.receive(OF_TOMORROW)


def _admit(credential: str | None) -> None:
    if credential != "right":
        raise RequestRefused(Refusal.BAD_TOKEN, "wrong")


def _say_again(codec: VoiceProtocol, said: Any) -> None:
    try:
        wire = codec.send(said)
    except (LocalProtocolError, Unsupported):
        return
    for each in wire:
        assert isinstance(each, (str, bytes))
        if isinstance(each, str):
            json.loads(each)


def http(protocol: type[VoiceProtocol], data: bytes) -> None:
    """A request or an answer: a line with its status or its path, headers, an empty line, the body."""
    head, _, body = data.partition(b"\n\n")
    first, *lines = head.decode("utf-8", "replace").split("\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    status = int(first) if first.isascii() and first.isdecimal() and len(first) == 3 else 200
    response, request = HttpResponse(status, headers, body), HttpRequest("POST", BASE + first, headers, body)
    try:
        urlsplit(request.url)
    except ValueError:
        request = HttpRequest("POST", BASE, headers, body)
    found: Any = protocol
    if protocol.profile.transport == "rtc":
        for parse, write in (("token", "token"), ("ice", "ice"), ("answer", "answer")):
            if (read := _read(partial(getattr(found, f"parse_{parse}"), response))) is not None:
                ours = getattr(found, f"{write}_response")
                assert read == getattr(found, f"parse_{parse}")(ours(read))
        found.parse_token_request(request)
        found.parse_ice_request(request)
        for strict in (False, True):
            offer = _read_request(found, "call", partial(found.parse_offer, request, strict=strict))
            if offer is not None:
                _asked(partial(found.offer_request, BASE, offer))
        return
    if "session" in protocol.profile.paths:
        ticket = _read(partial(found.parse_session, response, BASE))
        if ticket is not None:
            _asked(partial(found.socket_request, BASE, ticket, {"agent_id": "x", "computer_id": "x"}))
            found(Side.CLIENT).take(ticket)
        _read_request(found, "session", partial(found.parse_session_request, request))
    upgrade = _read_request(found, "socket", partial(found.parse_socket, request))
    if upgrade is not None:
        json.dumps(upgrade.params, allow_nan=False)
        found(Side.SERVER, upgrade.params)
    if not response.ok:
        _check_error(found.socket_refused(response))
    for code in (status, 1000 + status, 4000 + status, None):
        if (error := found.closing_error(code, head.decode("utf-8", "replace"))) is not None:
            _check_error(error)


def _check_error(error: RtcPeerError) -> None:
    assert isinstance(error, RtcPeerError)
    assert str(error).isprintable()
    assert len(str(error)) < 500


def _read(parse: Callable[[], Any]) -> Any:
    try:
        return parse()
    except (RemoteProtocolError, AuthError, SignalingError) as exc:
        _check_error(exc)
        return None


def _read_request(protocol: Any, route: str, parse: Callable[[], Any]) -> Any:
    try:
        return parse()
    except RequestRefused as refused:
        response = protocol.refusal_response(refused, route)
        assert 400 <= response.status < 600
        json.loads(response.body)
        return None


def _asked(make: Callable[[], Any]) -> None:
    try:
        make()
    except ConfigurationError:
        return


def options(protocol: type[VoiceProtocol], data: bytes) -> None:
    """Call parameters and settings, a ``key=value`` a line, as ``--param`` and ``--set`` have them."""
    try:
        given = _pairs(data.decode("utf-8", "replace").split("\n"), "--param")
        checked = protocol.configure(given)
    except ConfigurationError as exc:
        assert str(exc)
    else:
        json.dumps(checked, allow_nan=False)
        assert checked == protocol.configure(checked)
        protocol(Side.CLIENT, checked)
    try:
        update = protocol.update(
            dict(line.partition("=")[::2] for line in data.decode("utf-8", "replace").split("\n"))
        )
    except (ConfigurationError, Unsupported):
        return
    assert protocol(Side.CLIENT).send(update)


def session_config(data: bytes) -> None:
    """What a backend answers: a status and a body."""
    status, _, body = data.partition(b"\n")
    response = HttpResponse(int(status) if status in (b"200", b"401", b"429", b"500") else 200, {}, body)
    found = _read(partial(parse_session_config, response))
    if found is not None:
        again = parse_session_config(session_config_response(found))
        # What has no URL that a peer could use keeps its place when it is read, and is not passed on.
        urls = [tuple(url for url in server.urls if url.startswith(ICE_SCHEMES)) for server in found.ice_servers]
        usable = tuple(replace(each, urls=kept) for each, kept in zip(found.ice_servers, urls, strict=True) if kept)
        assert (found.ephemeral_token, usable) == (again.ephemeral_token, again.ice_servers)


def strict_json(data: bytes) -> None:
    try:
        found = load_json(data)
    except (ValueError, RecursionError):
        return
    assert found == load_json(json.dumps(found, allow_nan=False))


def text(data: bytes) -> None:
    """Words of strangers, made fit to be shown, and read."""
    raw = (
        data.decode("utf-16", "surrogatepass")
        if data[:1] == b"\x01" and len(data) % 2 == 0
        else data.decode("latin-1")
    )
    shown = readable(raw)
    assert shown == plain_text(shown) == without_control(shown)
    shown.encode()
    assert for_display(raw).isprintable()
    assert len(for_display(raw)) <= 200
    redact_url(raw)
    with suppress(ConfigurationError):
        check_http_url(raw)
    when = parse_time(raw)
    assert when is None or isinstance(when, float)
    delay = retry_after(HttpResponse(429, {"retry-after": raw}))
    assert delay is None or 0 <= delay < 1e10


def _wire(name: str, side: Side) -> list[bytes]:
    """What the other side of that protocol says, in its document's order."""
    found = []
    for line in golden(name):
        if line["from"] == side.other.value:
            if "wire_base64" in line:
                found.append(b"\x01" + base64.b64decode(line["wire_base64"]))
            found += [json.dumps(wire).encode() for wire in line.get("wires") or [line.get("wire")] if wire]
    return found


def _exchanges(name: str) -> list[bytes]:
    path = FIXTURES / "protocols" / f"{name}_http.json"
    found = []
    for kind in json.loads(path.read_text("utf-8")).values() if path.exists() else ():
        for wire in (item["wire"] for item in kind):
            url = urlsplit(wire.get("url", ""))
            first = str(wire["status"]) if "status" in wire else f"{url.path}?{url.query}"
            head = "\n".join([first, *(f"{key}: {value}" for key, value in (wire.get("headers") or {}).items())])
            body = wire.get("body")
            found.append(f"{head}\n\n{body if isinstance(body, str) else json.dumps(body)}".encode())
    return found


def _targets() -> Mapping[str, Target]:
    found = {}
    for name, protocol in PROTOCOLS.items():
        words = words_in([line.get("wires") or line.get("wire") for line in golden(name)])
        for side in Side:
            wire = _wire(name, side)
            found[f"{name}-{side.value}"] = Target(
                partial(messages, protocol, side), (b"\0".join(wire), *wire), words
            )
        seeds = _exchanges(name)
        words = words_in([seed.decode() for seed in seeds])
        found[f"{name}-http"] = Target(partial(http, protocol), tuple(seeds), words)
        known = frozenset(protocol.parameters) | frozenset({"voice", "temperature", "modalities"})
        lines = "\n".join(f"{key}=1" for key in sorted(known))
        found[f"{name}-options"] = Target(partial(options, protocol), (lines.encode(),), known)
    servers = '[{"urls": ["turn:h"], "username": "u", "credential": "c"}]'
    backend = f'200\n{{"ephemeralToken": "t", "iceServers": {servers}}}'.encode()
    return {
        **found,
        "session-config": Target(session_config, (backend,), frozenset({"ephemeralToken", "iceServers", "urls"})),
        "strict-json": Target(strict_json, (b'{"a": [1, 2.5, "x", null, true, {"b": 1e300}]}',)),
        "text": Target(text, (b"<emotion>Well</emotion> [laughter] sk_123 \x1b[31m https://u:p@h/?token=x",)),
    }


TARGETS = _targets()

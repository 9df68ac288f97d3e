"""Orga before media: token, ICE servers and the call, both sides, as values.

The service is FastAPI-shaped: refusals are ``{"error": {…}}``, a field that is missing or wrong is 422 with
``{"detail": [{"loc", "msg", "type"}]}`` (Orga docs, reference/api-reference and reference/errors/error-codes).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from ..errors import RemoteProtocolError
from .http import (
    Answer,
    HttpRequest,
    HttpResponse,
    IceServer,
    Offer,
    Refusal,
    RequestRefused,
    Token,
    TokenRequest,
    authorization,
    is_token,
    json_answer,
    json_response,
    parse_time,
    service_url,
)
from .rtc import RtcProtocol
from .strict_json import load_json
from .text import read_id

PATHS = {
    "token": "/v1/realtime/client-secrets",
    "ice": "/v1/realtime/ice-config",
    "call": "/v1/realtime/calls",
}

CALL_DEFAULTS: Mapping[str, Any] = {
    "voice": "Sofía",
    "model": "orga-1-beta",
    "temperature": 0.5,
    "return_transcription": False,
    "instructions": None,
    "modalities": ("audio", "video"),
    "history": True,
}
"""What the vendor's SDK (core 1.1.1) puts into ``params`` for what is not set, in its order."""

ICE_SCHEMES = ("stun:", "stuns:", "turn:", "turns:")


class OrgaHttp(RtcProtocol):
    """The HTTP half of ``Orga``."""

    # client-secrets

    @classmethod
    def token_request(cls, base_url: str, api_key: str, options: Mapping[str, str]) -> HttpRequest:
        """Ask for a token; the option ``email`` is what servers before December 2025 require."""
        email = options.get("email")
        url = _url(base_url, "token") + (f"?{urlencode({'email': email})}" if email else "")
        return HttpRequest("POST", url, _headers(api_key, "API key"))

    @classmethod
    def parse_token(cls, response: HttpResponse) -> Token:
        match _content(response, "token"):
            case {"ephemeral_token": str(value), **rest} if is_token(value):
                return Token(value, parse_time(rest.get("expires_at")))
        raise RemoteProtocolError("token: the server's answer has no usable ephemeral_token")

    @classmethod
    def parse_token_request(cls, request: HttpRequest) -> TokenRequest:
        return TokenRequest(request.bearer, dict(parse_qsl(urlsplit(request.url).query)))

    @classmethod
    def token_response(cls, token: Token) -> HttpResponse:
        expires_at = None
        if token.expires_at is not None:
            # UTC without saying so, with microseconds: as in the vendor's example.
            moment = datetime.fromtimestamp(token.expires_at, UTC).replace(tzinfo=None)
            expires_at = moment.isoformat(timespec="microseconds")
        content = {"ephemeral_token": token.value, "token_type": "bearer", "expires_at": expires_at}
        return json_response(200, content)

    # ice-config

    @classmethod
    def ice_request(cls, base_url: str, token: str) -> HttpRequest:
        return HttpRequest("GET", _url(base_url, "ice"), _headers(token, "token"))

    @classmethod
    def parse_ice(cls, response: HttpResponse) -> tuple[IceServer, ...]:
        match _content(response, "ice"):
            case {"iceServers": list(entries)} | list(entries):  # the bare list: docs, version 1.1
                return tuple(map(_parse_ice_server, entries))
        raise RemoteProtocolError("ice-config: the server's answer has no list iceServers")

    @classmethod
    def parse_ice_request(cls, request: HttpRequest) -> str | None:
        return request.bearer

    @classmethod
    def ice_response(cls, servers: tuple[IceServer, ...]) -> HttpResponse:
        return json_response(200, {"iceServers": [server.to_dict() for server in servers]})

    # calls

    @classmethod
    def offer_request(cls, base_url: str, offer: Offer) -> HttpRequest:
        # email belongs to the token; where mcp_server belongs is not published, its page shows it beside params.
        params = {name: value for name, value in offer.params.items() if name not in ("mcp_server", "email")}
        body: dict[str, Any] = {
            "offer": {"sdp": offer.sdp, "type": "offer", "candidates": list(_candidates(offer.sdp))},
            "params": params,
        }
        if "mcp_server" in offer.params:  # null says: no tools in this session
            body["mcp_server"] = offer.params["mcp_server"]
        headers = _headers(offer.token, "token")
        return HttpRequest("POST", _url(base_url, "call"), headers, json.dumps(body).encode())

    @classmethod
    def parse_answer(cls, response: HttpResponse) -> Answer:
        match _content(response, "call"):
            case {
                "conversation_id": id,
                "answer": {"sdp": str(sdp), **rest},
            } if sdp.startswith("v=0") and rest.get("type", "answer") == "answer":
                with suppress(TypeError):
                    return Answer(sdp, read_id(id))
        raise RemoteProtocolError("calls: the server's answer lacks a usable conversation_id or an SDP answer")

    @classmethod
    def parse_offer(cls, request: HttpRequest, *, strict: bool = False) -> Offer:
        """Read a call; candidates that only the list names are merged into the SDP.

        The vendor's pages disagree on whether ``params`` is required: it is with ``strict``.
        """
        try:
            body = load_json(request.body)
        except (ValueError, RecursionError) as exc:
            raise _invalid("JSON decode error", "body") from exc
        if not isinstance(body, dict):
            raise _invalid("Input should be a valid dictionary", "body")
        for name in ("offer", "params") if strict else ("offer",):
            if body.get(name) is None:
                raise RequestRefused(Refusal.MISSING_FIELD, "Field required", field=("body", name))
        return Offer(_parse_sdp(body["offer"]), _parse_params(body), request.bearer)

    @classmethod
    def answer_response(cls, answer: Answer) -> HttpResponse:
        content = {"conversation_id": answer.conversation_id, "answer": {"sdp": answer.sdp, "type": "answer"}}
        return json_response(200, content)

    # Refusals

    @classmethod
    def refusal_response(cls, refused: RequestRefused, route: str) -> HttpResponse:
        match refused.refusal:
            case Refusal.MISSING_FIELD | Refusal.INVALID_FIELD as refusal:
                loc = [int(part) if part.isdecimal() else part for part in refused.field]
                kind = "missing" if refusal is Refusal.MISSING_FIELD else "value_error"
                return json_response(422, {"detail": [{"loc": loc, "msg": str(refused), "type": kind}]})
            case _ if refused.refusal in CREDENTIAL_WORDS and route == "token":
                # As documented: the envelope stands in its own message.
                return _error(401, error_envelope("Incorrect or inactive API key provided.", "invalid_request_error"))
            case Refusal.NO_CREDENTIAL if route == "ice":
                return _error(403, "Not authenticated")
            case _ if refused.refusal in CREDENTIAL_WORDS:
                # Only "Invalid ephemeral token" is documented; calls names the other two causes in prose.
                said = CREDENTIAL_WORDS[refused.refusal] if route == "call" else "Invalid ephemeral token"
                return _error(401, said)
            case Refusal.USER_NOT_FOUND:
                return _error(404, "User not found.", "not_found_error")
            case Refusal.NOT_FOUND:
                return _error(404, "Not Found", "not_found_error")
            case Refusal.RATE_LIMITED:
                return _error(429, "Too many requests.", "rate_limit_error", {"retry-after": "1"})
            case _:
                return _error(500, "Internal server error.", "server_error")


CREDENTIAL_WORDS: Mapping[Refusal, str] = {
    Refusal.BAD_API_KEY: "Invalid ephemeral token",
    Refusal.NO_CREDENTIAL: "Not authenticated",
    Refusal.BAD_TOKEN: "Invalid ephemeral token",
    Refusal.EXPIRED_TOKEN: "Ephemeral token has expired",
    Refusal.SPENT_TOKEN: "Ephemeral token was already consumed",
}
"""What is wrong with a credential, in the service's words."""


def error_envelope(message: object, kind: str, code: str | None = None) -> dict[str, Any]:
    """The service's shape of an error; its pages say that ``code`` is not used as yet."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _error(
    status: int, message: object, kind: str = "invalid_request_error", headers: Mapping[str, str] | None = None
) -> HttpResponse:
    return json_response(status, error_envelope(message, kind), headers)


# Requests


def _url(base_url: str, route: str) -> str:
    return service_url(base_url, PATHS[route])


def _headers(credential: str | None, name: str) -> dict[str, str]:
    # The content type also where there is no content: ice-config's page requires it.
    return {"accept": "application/json", "content-type": "application/json", **authorization(credential, name)}


def _split(sdp: str) -> tuple[list[str], list[list[str]]]:
    """Return an SDP's session lines, and the lines of each m-line's section (RFC 8866, 5)."""
    head: list[str] = []
    sections: list[list[str]] = []
    for line in sdp.replace("\r\n", "\n").split("\n"):
        if line.startswith("m="):
            sections.append([])
        if line:
            (sections[-1] if sections else head).append(line)
    return head, sections


def _mid(section: list[str]) -> str | None:
    return next((line.removeprefix("a=mid:").strip() for line in section if line.startswith("a=mid:")), None)


def _candidates(sdp: str) -> Iterator[dict[str, Any]]:
    """Yield the candidates of an SDP as W3C ``RTCIceCandidateInit`` objects."""
    for index, section in enumerate(_split(sdp)[1]):
        mid = _mid(section)
        for line in section:
            if line.startswith("a=candidate:"):
                found: dict[str, Any] = {"candidate": line.removeprefix("a=")}
                if mid is not None:
                    found["sdpMid"] = mid
                yield found | {"sdpMLineIndex": index}


# Answers


def _content(response: HttpResponse, route: str) -> Any:
    return json_answer(response, _name(route), credential="API key" if route == "token" else "token")


def _name(route: str) -> str:
    return PATHS[route].rpartition("/")[2]


def _parse_ice_server(entry: Any) -> IceServer:
    """Read what there is to be read: one odd entry is no reason to do without the others.

    One of which nothing can be used has no URLs. Which URL is none that we know is said where the list is used.
    """
    match entry:
        case {"urls": str(url)} | {"url": str(url)}:
            urls = [url]
        case {"urls": list(given)} | {"url": list(given)}:
            urls = [url for url in given if isinstance(url, str)]
        case _:
            return IceServer(())
    username, credential = entry.get("username"), entry.get("credential")
    if not all(value is None or isinstance(value, str) for value in (username, credential)):
        return IceServer(())
    return IceServer(tuple(urls), username, credential)


# Offers, as a server reads them


def _invalid(message: str, *field: str) -> RequestRefused:
    return RequestRefused(Refusal.INVALID_FIELD, message, field=field)


_CANDIDATES = 100
"""In the list beside an offer: several times those of a machine with many addresses."""


def _parse_sdp(offer: Any) -> str:
    """Read ``offer`` and merge its list of candidates into its SDP."""
    if not isinstance(offer, dict):
        raise _invalid("Input should be a valid dictionary", "body", "offer")
    sdp, candidates = offer.get("sdp"), offer.get("candidates") or []
    if sdp is None:
        raise RequestRefused(Refusal.MISSING_FIELD, "Field required", field=("body", "offer", "sdp"))
    if not isinstance(sdp, str) or not sdp.startswith("v=0"):
        raise _invalid("Input should be an SDP", "body", "offer", "sdp")
    if offer.get("type", "offer") != "offer":
        raise _invalid("Input should be 'offer'", "body", "offer", "type")
    if not isinstance(candidates, list):
        raise _invalid("Input should be a valid list", "body", "offer", "candidates")
    if len(candidates) > _CANDIDATES:
        raise _invalid(f"List should have at most {_CANDIDATES} items", "body", "offer", "candidates")

    head, sections = _split(sdp)
    mids = [_mid(section) for section in sections]
    known = [{_identity(line) for line in section} for section in sections]
    for number, item in enumerate(candidates):
        where = ("body", "offer", "candidates", str(number))
        match item:
            case {"candidate": str(text)} if text.startswith("candidate:") and text.isprintable():
                line = f"a={text}"
            case {"candidate": ""}:  # end of candidates
                continue
            case _:
                raise _invalid("Input should be an ICE candidate", *where, "candidate")
        mid, index = item.get("sdpMid"), item.get("sdpMLineIndex")
        if mid is not None and mid in mids:
            index = mids.index(mid)
        elif not isinstance(index, int) or not 0 <= index < len(sections):
            raise _invalid("No such m-line in the SDP", *where)
        if _identity(line) not in known[index]:
            known[index].add(_identity(line))
            section = sections[index]
            end = section.index("a=end-of-candidates") if "a=end-of-candidates" in section else len(section)
            section.insert(end, line)
    return "".join(f"{line}\r\n" for lines in (head, *sections) for line in lines)


def _identity(line: str) -> tuple[str, ...]:
    # Foundation to type (RFC 8839, 5.1): a browser's list has a ufrag behind that, its SDP has none.
    return tuple(line.split()[:8])


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


_PARAM_CHECKS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "voice": (_is_text, "Input should be a valid string"),
    "model": (_is_text, "Input should be a valid string"),
    # 0 to 1 is the SDK's rule; whether the service has one is not published.
    "temperature": (_is_number, "Input should be a valid number"),
    "return_transcription": (_is_flag, "Input should be a valid boolean"),
    "instructions": (_is_text, "Input should be a valid string"),
    "modalities": (_is_texts, "Input should be a valid list of strings"),
    "history": (_is_flag, "Input should be a valid boolean"),
}


def _parse_params(body: Mapping[str, Any]) -> dict[str, Any]:
    """Check ``params`` and fill in what is absent; names that are new to us are kept."""
    given = body.get("params")
    if given is None:
        given = {}
    if not isinstance(given, dict):
        raise _invalid("Input should be a valid dictionary", "body", "params")
    params: dict[str, Any] = {**CALL_DEFAULTS, "modalities": list(CALL_DEFAULTS["modalities"])}
    for name, value in given.items():
        check, message = _PARAM_CHECKS.get(name, (None, ""))
        if check is not None and value is not None and not check(value):
            raise _invalid(message, "body", "params", name)
        if value is not None or name not in CALL_DEFAULTS:
            params[name] = value
    if "mcp_server" in body:
        params["mcp_server"] = body["mcp_server"]
    match params.get("mcp_server"):
        case None | {"id": str(), "alias": str(), "url": str()}:
            return params
    place = ("body",) if "mcp_server" in body else ("body", "params")
    raise _invalid("Input should have id, alias and url", *place, "mcp_server")

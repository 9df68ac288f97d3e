"""What a client asks of the backend that holds the API key: one token and the ICE servers, both sides, as values.

``GET`` without credentials → ``{"ephemeralToken", "iceServers"}``, in camel case unlike the service's own API, as
Orga's client SDKs read it (``fetchSessionConfig`` in @orga-ai/core; their examples fail with ``{"error"}``). The
``reason`` and ``retryable`` beside ``error`` are ours.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace

from ..errors import RemoteProtocolError, SignalingError
from .http import HttpRequest, HttpResponse, IceServer, for_display, is_token, json_response
from .http import retry_after as read_retry_after
from .orga_http import ICE_SCHEMES, OrgaHttp


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """All that one session needs to begin."""

    ephemeral_token: str = field(repr=False)
    ice_servers: tuple[IceServer, ...]
    expires_at: float | None = None
    """Unix time in seconds; ``None``: not said, as always by a backend."""


def session_config_request(url: str) -> HttpRequest:
    return HttpRequest("GET", url, {"accept": "application/json"})


def session_config_response(config: SessionConfig) -> HttpResponse:
    # A browser refuses the whole list for one entry without URLs, or with a URL of another kind.
    usable = [
        replace(server, urls=tuple(url for url in server.urls if url.startswith(ICE_SCHEMES)))
        for server in config.ice_servers
    ]
    servers = [server.to_dict() for server in usable if server.urls]
    content = {"ephemeralToken": config.ephemeral_token, "iceServers": servers}
    return json_response(200, content, {"cache-control": "no-store"})


def session_config_refusal(
    status: int, reason: str, retry_after: float | None = None, *, retryable: bool = False
) -> HttpResponse:
    """Say that there is no session, why, and whether asking again may help; ``reason`` is for strangers to read."""
    headers = {"cache-control": "no-store"}
    if retry_after is not None:
        headers["retry-after"] = str(math.ceil(retry_after))  # RFC 9110, 10.2.3: whole seconds
    content = {"error": "Failed to get session config", "reason": reason, "retryable": retryable}
    return json_response(status, content, headers)


def parse_session_config(response: HttpResponse) -> SessionConfig:
    """Read the backend's answer; an empty ``iceServers`` is valid.

    Raises:
        SignalingError: the backend answered with an error status.
        RemoteProtocolError: the answer lacks the token or the list, or is no JSON.
    """
    try:
        found = json.loads(response.body)
    except (ValueError, RecursionError):
        found = None
    if not response.ok:
        said = found.get("reason") or found.get("error") if isinstance(found, dict) else None
        failure = SignalingError(
            f"the session config endpoint answered {response.status}"
            + (f": {for_display(said)}" if isinstance(said, str) else ""),
            status=response.status,
            retry_after=read_retry_after(response),
        )
        # A gateway's 502 is worth another try, unless it says that it is not: a refused key stays refused.
        if isinstance(found, dict) and found.get("retryable") is False:
            failure.retryable = False
        raise failure
    match found:
        case {"ephemeralToken": str(token), "iceServers": list()} if is_token(token):
            # The list is the same as in the service's own ice-config.
            return SessionConfig(token, OrgaHttp.parse_ice(response))
    raise RemoteProtocolError(
        "the session config endpoint's answer has no ephemeralToken and iceServers: is its URL right?"
    )

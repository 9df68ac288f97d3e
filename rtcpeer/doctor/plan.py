"""What is to be checked, and the order of it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import ConfigurationError
from ..protocols import find_protocol
from ..protocols.base import VoiceProtocol
from ..protocols.http import IceServer, is_token
from ..protocols.orga import Orga
from ..protocols.rtc import RtcProtocol
from ..transports.http import check_http_url, environment_proxy, redact_url
from ..transports.ice_options import IceOptions
from . import machine, network, software
from .call import check_call
from .checks import Check, run_check, run_checks
from .finding import Diagnosis, Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to check; all of this machine is checked always.

    Raises:
        ConfigurationError: something that can't be; the message says what.
    """

    url: str | None = None
    """Base URL of a service; ``ws`` and ``wss`` stand for http and https, and what comes behind ``?`` is left out."""
    protocol: str | type[VoiceProtocol] = "orga"
    api_key: str | None = field(default=None, repr=False)
    """Gets a token of the service, and with it the ICE servers that a call would have; the token is thrown away."""
    token: str | None = field(default=None, repr=False)
    """Instead of a key. Asking for the ICE servers does not spend it."""
    ice_servers: tuple[IceServer, ...] = ()
    """Further STUN and TURN servers."""
    turn_ca: str | Path | None = None
    """A PEM file of CAs that TURN over TLS is to trust beside the system's."""
    interface: str | None = None
    """The network interface, or the local address, that calls are to use alone."""
    udp_ports: tuple[int, int] | None = None
    """The first and the last local UDP port to use; ``None``: the kernel's choice."""
    call: bool = False
    """Make a short call as well, which the service counts and a token is spent on."""
    calls: int = 1
    """How many there are to be at once."""
    timeout: float = 5.0
    """Seconds to wait for any one answer."""

    def __post_init__(self) -> None:
        found = find_protocol(self.protocol)
        if self.url is not None:
            check_http_url(_base(self.url))
            environment_proxy(self.url)
        elif self.api_key is not None or self.token is not None:
            raise ConfigurationError("a key or token, but no URL: name the service that takes it")
        if self.api_key is not None and self.token is not None:
            raise ConfigurationError("give a key or a token, not both")
        if self.call and (self.url is None or (self.api_key is None and self.token is None)):
            raise ConfigurationError("a call takes a service and a credential: give the URL and --api-key or --token")
        for name, value in (("API key", self.api_key), ("token", self.token)):
            if value is not None and not is_token(value):
                raise ConfigurationError(f"the {name} is empty or has spaces or line breaks in it; is it whole?")
            if value is not None and not issubclass(found, RtcProtocol):
                raise ConfigurationError(
                    f"{found.profile.name} tries its credential when its socket opens: leave the {name} out, or join"
                )
        if not 1 <= self.calls <= 100_000:
            raise ConfigurationError(f"{self.calls} calls: give a number from 1 to 100000")
        if not 0.1 <= self.timeout <= 60:
            raise ConfigurationError(f"a timeout of {self.timeout:g} s: give one from 0.1 to 60")


async def diagnose(plan: Plan) -> Diagnosis:
    """Check everything, in some seconds; far ends side by side, timers and CPU alone.

    Raises:
        ConfigurationError: a file of the plan can't be used.
    """
    protocol = find_protocol(plan.protocol)
    ice = IceOptions.of(interface=plan.interface, udp_ports=plan.udp_ports, turn_ca=plan.turn_ca)
    addresses = len(ice.addresses())
    # One after another, so that nothing holds up what is timed: imports and libopus first, then the far ends.
    near = await run_checks(
        [
            Check("versions", software.check_versions),
            Check("libopus", software.check_libopus),
            Check("devices", software.check_devices),
            Check("environment", machine.check_environment),
            Check("limits", functools.partial(machine.check_limits, plan.calls, max(1, addresses))),
            Check("addresses", functools.partial(network.check_addresses, ice)),
            Check("udp", functools.partial(network.check_ports, ice, plan.calls)),
            Check("offer", functools.partial(_offer, protocol, ice)),
        ]
    )
    near += await run_check(Check("timers", machine.check_timers))
    near += await run_check(Check("cpu", functools.partial(machine.check_cpu, plan.calls)))
    far = await run_checks(
        [
            # Each step has its own, far shorter.
            Check("service", functools.partial(_service, plan, protocol, ice), timeout=20 * plan.timeout),
            Check("ice", functools.partial(_ice, plan.ice_servers, plan, ice, True), timeout=5 * plan.timeout),
        ]
    )
    far += _unasked(far)
    if plan.call:
        far += await run_check(Check("call", functools.partial(check_call, plan), timeout=6 * plan.timeout))
    return Diagnosis((*near, *far))


def _unasked(findings: Sequence[Finding]) -> list[Finding]:
    """Return the lines for what no server was named for."""
    names = {finding.name for finding in findings}
    return [
        Finding(name=name, status="skipped", detail=f"no server named: --ice-server {name}:HOST has one checked")
        for name in ("stun", "turn")
        if name not in names
    ]


async def _offer(protocol: type[VoiceProtocol], ice: IceOptions) -> list[Finding]:
    from .offer import check_offer

    # Only WebRTC has an offer, and this machine can or can't do it whatever the service speaks.
    return await check_offer(protocol if issubclass(protocol, RtcProtocol) else Orga, ice)


async def _service(plan: Plan, protocol: type[VoiceProtocol], ice: IceOptions) -> list[Finding]:
    from .service import Service

    if plan.url is None:
        return [Finding(name="http", status="skipped", detail="no service named: rtcpeer doctor URL has one checked")]
    service = Service(_base(plan.url), protocol, api_key=plan.api_key, token=plan.token, timeout=plan.timeout)
    findings = await service.examine()
    return findings + await _ice(service.ice_servers, plan, ice, False)


async def _ice(servers: tuple[IceServer, ...], plan: Plan, ice: IceOptions, asked_for: bool) -> list[Finding]:
    from .ice import check_ice_servers

    return await check_ice_servers(servers, asked_for=asked_for, ice=ice, timeout=plan.timeout)


def _base(url: str) -> str:
    """Return the http URL of a service, whose socket's URL may have a token in it."""
    parts = urlsplit(url)
    if parts.scheme in ("ws", "wss"):
        return redact_url("http" + url.removeprefix("ws"))
    return url

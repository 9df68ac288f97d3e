"""The protocols this peer speaks: one file each, and one line here."""

from __future__ import annotations

from ..errors import ConfigurationError
from .base import Message, Profile, Side, VoiceProtocol
from .orbitali import Orbitali
from .orga import Orga
from .orga_ws import OrgaWs
from .orgo import Orgo
from .soca import Soca

PROTOCOLS: dict[str, type[VoiceProtocol]] = {
    protocol.profile.name: protocol for protocol in (Orga, OrgaWs, Orgo, Orbitali, Soca)
}


def find_protocol(protocol: str | type[VoiceProtocol]) -> type[VoiceProtocol]:
    """Return the class for a name; a class is its own answer, so that a protocol may live outside the tree.

    Raises:
        ConfigurationError: no such protocol; the message lists those there are.
    """
    if not isinstance(protocol, str):
        return protocol
    try:
        return PROTOCOLS[protocol]
    except KeyError:
        raise ConfigurationError(f"unknown protocol {protocol!r}; there is {', '.join(PROTOCOLS)}") from None


__all__ = [
    "PROTOCOLS",
    "Message",
    "Orbitali",
    "Orga",
    "OrgaWs",
    "Orgo",
    "Profile",
    "Side",
    "Soca",
    "VoiceProtocol",
    "find_protocol",
]

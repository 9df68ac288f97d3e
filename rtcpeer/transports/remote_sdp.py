"""What a far end's SDP says, written so plainly that aiortc understands it. Pure text: no clock and no network.

Implementations write the same call in many ways: transport attributes once for a whole bundle, a line turned down
with port 0, no direction, static payload types without a name, host names instead of addresses. ``read_offer`` and
``read_answer`` turn each of them into the one way that aiortc parses, and keep beside it what aiortc does not ask.
What cannot be read and is not needed is passed over and counted; what is needed and unusable is a
``RemoteProtocolError`` of one sentence.

A plain description comes out as it went in, and what comes out is plain. The cost is linear in the length of the
text, which is bounded.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from ..audio.coding import DECODERS
from ..errors import RemoteProtocolError
from .sdp_sections import HASHES, TRANSPORT, Direction, Section, Unusable, joined, read, split

CANDIDATES = 40
"""Kept of a description, those of the highest priority; RFC 8445, 6.1.2.5 wants a limit. Each is asked several times
whether it answers, from each of our addresses."""
NAMES = 8
"""Candidates kept that have a host name instead of an address: each is a look-up."""


@dataclass(frozen=True, slots=True)
class RemoteLine:
    """One media line of a far end's description.

    Args:
        codecs: Encoding names in lower case by RTP payload type, in the far end's order of preference.
        rejected: It is not used: the far end turned it down, or we do.
    """

    kind: str
    mid: str
    protocol: str
    formats: tuple[str, ...]
    direction: Direction
    codecs: Mapping[int, str]
    rejected: bool = False


@dataclass(frozen=True, slots=True)
class RemoteDescription:
    """A far end's offer or answer, read.

    Args:
        sdp: The plain text; lines that are rejected are left out of an offer, and inactive in an answer.
        lines: Every media line, in order.
        named: Candidates with a host name, as ``a=candidate`` has them without the ``a=``; the end of candidates is
            left out of ``sdp`` when there are any.
        passed_over: What was not used and why, with how often.
        ice_lite: It answers checks and sends none (RFC 8445, 2.5).
    """

    sdp: str
    lines: tuple[RemoteLine, ...]
    named: tuple[str, ...]
    passed_over: Mapping[str, int]
    ice_lite: bool

    def line(self, kind: str) -> RemoteLine | None:
        """Return the line of that kind that is used."""
        return next((line for line in self.lines if line.kind == kind and not line.rejected), None)


def read_offer(sdp: str) -> RemoteDescription:
    """Read an offer; lines that we have no use for count as rejected, and ``complete_answer`` says so.

    Raises:
        RemoteProtocolError: there is no audio that we can hear and play, or no transport for it.
    """
    with _explained("offer"):
        return _read_offer(sdp)


def _read_offer(sdp: str) -> RemoteDescription:
    head, sections, ignored = read(sdp)
    if len({section.mid for section in sections}) < len(sections):
        raise Unusable("two media lines have the same a=mid")
    seen: set[str] = set()
    for section in sections:
        section.rejected = section.rejected or not section.usable or section.kind in seen
        if not section.rejected:
            seen.add(section.kind)
    if "audio" not in seen:
        raise Unusable(_no_audio(sections))
    bundle = _bundle(head)
    _insist_on_one_transport(sections, bundle)
    tag = _tagged(sections, bundle)
    used = [section for section in sections if not section.rejected]
    return _describe(head, sections, used, tag, "offer", ignored)


def read_answer(sdp: str, offer: str) -> RemoteDescription:
    """Read the answer to an offer of ours, which is a single bundle.

    Raises:
        RemoteProtocolError: it is none, audio was turned down, or there is no transport.
    """
    with _explained("answer"):
        return _read_answer(sdp, offer)


def _read_answer(sdp: str, offer: str) -> RemoteDescription:
    head, sections, ignored = read(sdp)
    ours = [Section.parse(lines) for lines in split(offer)[1]]
    if len(sections) > len(ours):
        ignored["media lines that we did not offer"] += len(sections) - len(ours)
        del sections[len(ours) :]
    for number, line in enumerate(ours):
        if number == len(sections):
            # RFC 3264, 6, has as many lines in an answer as in the offer; some leave out what they turn down.
            sections.append(Section(line.kind, "0", line.protocol, line.formats, mid=line.mid, rejected=True))
        section = sections[number]
        if section.kind != line.kind:
            raise Unusable(f"its media line {number + 1} is {section.kind[:20]}, and that of our offer {line.kind}")
        section.name(line.mid)  # the order of lines is what counts (RFC 3264, 6)
        section.rejected = section.rejected or not section.usable
    audio = next(section for section in sections if section.kind == "audio")
    if audio.rejected:
        raise Unusable(_no_audio(sections))
    bundle = _bundle(head)
    _insist_on_one_transport(sections, bundle)
    tag = _tagged(sections, bundle)
    for section, line in zip(sections, ours, strict=True):
        if section.rejected:
            section.take_back(line)
    return _describe(head, sections, sections, tag, "answer", ignored)


def complete_answer(answer: str, offer: RemoteDescription) -> str:
    """Add to our answer, made for the plain offer, the lines that it rejects (RFC 3264, 6)."""
    if not any(line.rejected for line in offer.lines):
        return answer
    head, sections = split(answer)
    found = iter(sections)
    for line in offer.lines:
        head += _turned_down(line) if line.rejected else next(found)
    return joined(head)


def codec_numbers(sdp: str, kind: str = "audio") -> dict[int, str]:
    """Return the codecs of a plain description's line: payload type → encoding name in lower case, the best first."""
    for lines in split(sdp)[1]:
        section = Section.parse(lines)
        if section.kind == kind:
            return section.codecs
    return {}


@contextmanager
def _explained(kind: str) -> Iterator[None]:
    try:
        yield
    except Unusable as exc:
        raise RemoteProtocolError(f"the far end's SDP {kind} can't be used: {exc}") from None


def _turned_down(line: RemoteLine) -> list[str]:
    # RFC 9429, 5.3.1: the same media, protocol and formats, with port 0.
    found = [f"m={line.kind} 0 {line.protocol} {' '.join(line.formats) or '0'}", "c=IN IP4 0.0.0.0", "a=inactive"]
    return [*found, f"a=mid:{line.mid}"] if line.mid else found


# Transport


def _bundle(head: Sequence[str]) -> list[str] | None:
    """Return the mids of the first bundle; ``None``: there is none."""
    return next((line.split()[1:] for line in head if re.match(r"a=group:BUNDLE\b", line)), None)


def _tagged(sections: Sequence[Section], bundle: Sequence[str] | None) -> Section:
    """Return the line whose transport counts for the bundle: the first in it that is used and has one.

    RFC 9143, 7.3.2; where only a rejected line says it, that has to do.
    """
    by_mid = {section.mid: section for section in sections}
    members = [by_mid[mid] for mid in bundle or () if mid in by_mid] or list(sections)
    for candidates in ([each for each in members if not each.rejected], members, sections):
        for section in candidates:
            if section.has("ice-ufrag"):
                return section
    return next(section for section in sections if not section.rejected)


def _insist_on_one_transport(sections: Sequence[Section], bundle: Sequence[str] | None) -> None:
    """Reject video that shares no transport with the audio; the data channel has to.

    In a bundle of an offer, lines may have transports of their own and give them up (RFC 9143, 7.1.1); without one,
    the same user name is the same transport.
    """
    audio = next(section for section in sections if section.kind == "audio" and not section.rejected)
    for section in sections:
        bundled = bundle is not None and audio.mid in bundle and section.mid in bundle
        if section.rejected or bundled or section.value("ice-ufrag") in (None, audio.value("ice-ufrag")):
            continue
        if section.kind == "application":
            raise Unusable("its data channel is not in one bundle with its audio (a=group:BUNDLE)")
        section.rejected = True


def _describe(
    head: list[str],
    sections: Sequence[Section],
    used: Sequence[Section],
    tag: Section,
    kind: Literal["offer", "answer"],
    ignored: Counter[str],
) -> RemoteDescription:
    """Give every line that is used the transport of the tagged one, and put the text together."""
    ufrag = tag.value("ice-ufrag")
    # A certificate may have several fingerprints; of everything else the first counts.
    transport = [
        (name, value)
        for name, value in dict.fromkeys(tag.attributes)
        if name == "fingerprint" or (name in TRANSPORT and value == tag.value(name))
    ]
    if tag.value("setup") is None:
        # RFC 8842, 5.2, wants it said. libwebrtc takes an answer without it for that of a DTLS client.
        transport.append(("setup", "actpass" if kind == "offer" else "active"))
        ignored["no a=setup"] += 1
    for name, meaning in (("ice-ufrag", "user name"), ("ice-pwd", "password"), ("fingerprint", "DTLS fingerprint")):
        if all(found != name for found, _ in transport):
            known = f" of a kind that we know: {', '.join(HASHES)}" if name == "fingerprint" else ""
            raise Unusable(f"it has no {meaning} (a={name}){known}")
    if kind == "answer" and ("setup", "actpass") in transport:
        transport[transport.index(("setup", "actpass"))] = ("setup", "active")
        ignored["a=setup:actpass in an answer"] += 1
    shared = [each for each in sections if each.value("ice-ufrag") in (None, ufrag)]
    # RFC 9143, 7.1.1: each line of a browser's offer has ports of its own, under one user name, and all but those of
    # the tagged line are given up once it is answered. Where that has none, they stand elsewhere.
    alone = kind == "offer" and tag.has("candidate")
    candidates, named = _candidates([tag] if alone else shared, ignored)
    ended = any(section.has("end-of-candidates") for section in shared) and bool(candidates) and not named
    for section in used:
        _make_plain(section, transport, candidates, ended=ended)
    mids = [section.mid for section in used]
    if _bundle(head) != mids:
        head = [line for line in head if not line.startswith("a=group:")]
        head.append(f"a=group:BUNDLE {' '.join(mids)}")
    lines = tuple(
        RemoteLine(
            section.kind,
            section.mid,
            section.protocol,
            tuple(section.formats),
            section.direction,
            section.codecs,
            section.rejected,
        )
        for section in sections
    )
    text = [*head, *(line for section in used for line in section.text())]
    return RemoteDescription(joined(text), lines, named, ignored, "a=ice-lite" in head)


def _make_plain(
    section: Section,
    transport: Sequence[tuple[str, str | None]],
    candidates: Sequence[tuple[str, str | None]],
    *,
    ended: bool,
) -> None:
    """Write transport and candidates where they stood, in full."""
    if section.port == "0":
        section.port = "9"
    wanted = [*candidates, *transport]
    if ended:
        wanted.append(("end-of-candidates", None))
    names = (*TRANSPORT, "candidate", "end-of-candidates", "bundle-only")
    mine = [(name, value) for name, value in section.attributes if name in names]
    if Counter(mine) == Counter(wanted):
        return
    section.attributes = [each for each in section.attributes if each[0] not in names] + wanted


# Candidates


def _candidates(
    sections: Sequence[Section], ignored: Counter[str]
) -> tuple[list[tuple[str, str | None]], tuple[str, ...]]:
    """Return the candidates that can be tried, and those that have to be looked up first."""
    usable: dict[tuple[str, str], tuple[int, str]] = {}
    named: dict[tuple[str, str], tuple[int, str]] = {}
    seen: set[str] = set()
    for section in sections:
        for value in section.values("candidate"):
            if value in seen:
                continue
            seen.add(value)
            found = _candidate(value)
            if isinstance(found, str):
                ignored[found] += 1
            elif found is not None:
                priority, host, port, is_name = found
                (named if is_name else usable).setdefault((host, port), (priority, value))
    for kept, most, what in ((usable, CANDIDATES, "candidates"), (named, NAMES, "named candidates")):
        if len(kept) > most:
            ignored[f"{what} beyond the first {most}"] += len(kept) - most
            best = sorted(kept, key=lambda each: -kept[each][0])[:most]
            for address in kept.keys() - set(best):
                del kept[address]
    names = tuple(f"candidate:{value}" for _, value in named.values())
    return [("candidate", value) for _, value in usable.values()], names


def _candidate(value: str) -> tuple[int, str, str, bool] | str | None:
    """Return priority, host, port and whether that is a name; or why it is of no use; or ``None``: silently none."""
    parts = value.split()
    if len(parts) < 8 or parts[6] != "typ" or not re.fullmatch(r"[0-9]{1,10}", parts[3]):
        return "malformed candidates"
    component, protocol, priority, host, port, kind = (parts[place] for place in (1, 2, 3, 4, 5, 7))
    if component != "1":
        return None  # RTCP shares the port of RTP
    if protocol.lower() == "tcp":
        return "TCP candidates"
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65_536 or not _is_sound(parts[8:]):
        return "malformed candidates"
    if protocol.lower() != "udp" or kind not in ("host", "srflx", "relay"):
        return "candidates of an unknown kind"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        named = re.fullmatch(r"(?=.{1,253}$)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?", host) is not None
        return (int(priority), host.lower(), port, True) if named else "malformed candidates"
    # An IPv6 address that is good for one link alone needs that link's name, which means nothing to another machine.
    if address.is_unspecified or address.is_multicast or (address.version == 6 and address.is_link_local):
        return "candidates without a usable address"
    return int(priority), str(address), port, False


def _is_sound(extensions: Sequence[str]) -> bool:
    """Whether aiortc can read the pairs of names and values behind a candidate."""
    pairs = zip(extensions[::2], extensions[1::2], strict=False)
    return all(name != "rport" or re.fullmatch(r"[0-9]{1,5}", value) for name, value in pairs)


def _no_audio(sections: Iterable[Section]) -> str:
    audio = next((section for section in sections if section.kind == "audio"), None)
    if audio is None:
        return "it has no audio line"
    if audio.port == "0" and not audio.has("bundle-only"):
        return "its audio line is turned down (m=audio 0)"
    if not audio.formats:
        return "its audio line names no formats"
    codecs = ", ".join(audio.codecs.values()) or "no codec"
    return f"its audio line has {codecs[:200]} over {audio.protocol[:40]}: we have {', '.join(DECODERS)} over SRTP"

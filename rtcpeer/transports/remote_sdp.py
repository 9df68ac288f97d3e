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
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Literal

from ..audio.coding import DECODERS
from ..errors import RemoteProtocolError

CHARACTERS = 64_000
"""Of the whole SDP. Chromium's is 6 to 10 thousand with video."""
LINES = 1000
LINE = 4096
"""Characters of one line: as long as any that browsers write, fingerprints and fmtp included, several times over."""
MEDIA = 16
"""Lines that begin with ``m=``."""
CANDIDATES = 40
"""Kept of a description, those of the highest priority; RFC 8445, 6.1.2.5 wants a limit. Each is asked several times
whether it answers, from each of our addresses."""
NAMES = 8
"""Candidates kept that have a host name instead of an address: each is a look-up."""

VIDEO_CODEC = "vp8"

Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
DIRECTIONS: Final[tuple[Direction, ...]] = ("sendrecv", "sendonly", "recvonly", "inactive")

# RFC 3551, 6: the payload types that need no rtpmap, of the codecs that we play.
_STATIC = {"0": "PCMU/8000", "8": "PCMA/8000"}
# RFC 5761, 4: they look like RTCP when both share a port. aiortc refuses a description that names one.
_LIKE_RTCP = range(72, 77)
_TRANSPORT = ("ice-ufrag", "ice-pwd", "ice-options", "fingerprint", "setup")
_HASHES = ("sha-256", "sha-384", "sha-512")
# aiortc reads these as numbers and breaks off at anything else.
_NUMBERS_IN_FMTP = ("apt", "max-fr", "max-fs", "maxplaybackrate", "minptime", "stereo", "useinbandfec")
_TOKEN = r"[^\s:]+"


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
    head, sections, ignored = _read(sdp)
    if len({section.mid for section in sections}) < len(sections):
        raise _Unusable("two media lines have the same a=mid")
    seen: set[str] = set()
    for section in sections:
        section.rejected = section.rejected or not section.usable or section.kind in seen
        if not section.rejected:
            seen.add(section.kind)
    if "audio" not in seen:
        raise _Unusable(_no_audio(sections))
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
    head, sections, ignored = _read(sdp)
    ours = [_Section.parse(lines) for lines in _sections(offer)[1]]
    if len(sections) > len(ours):
        ignored["media lines that we did not offer"] += len(sections) - len(ours)
        del sections[len(ours) :]
    for number, line in enumerate(ours):
        if number == len(sections):
            # RFC 3264, 6, has as many lines in an answer as in the offer; some leave out what they turn down.
            sections.append(_Section(line.kind, "0", line.protocol, line.formats, mid=line.mid, rejected=True))
        section = sections[number]
        if section.kind != line.kind:
            raise _Unusable(f"its media line {number + 1} is {section.kind[:20]}, and that of our offer {line.kind}")
        section.name(line.mid)  # the order of lines is what counts (RFC 3264, 6)
        section.rejected = section.rejected or not section.usable
    audio = next(section for section in sections if section.kind == "audio")
    if audio.rejected:
        raise _Unusable(_no_audio(sections))
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
    head, sections = _sections(answer)
    found = iter(sections)
    for line in offer.lines:
        head += _turned_down(line) if line.rejected else next(found)
    return _text(head)


def codec_numbers(sdp: str, kind: str = "audio") -> dict[int, str]:
    """Return the codecs of a plain description's line: payload type → encoding name in lower case, the best first."""
    for lines in _sections(sdp)[1]:
        section = _Section.parse(lines)
        if section.kind == kind:
            return section.codecs
    return {}


class _Unusable(Exception):
    """Says why a description can't be used: it goes on from "it" or "its"."""


@contextmanager
def _explained(kind: str) -> Iterator[None]:
    try:
        yield
    except _Unusable as exc:
        raise RemoteProtocolError(f"the far end's SDP {kind} can't be used: {exc}") from None


# Lines


@dataclass(slots=True)
class _Section:
    """A media line with what follows it, without ``m=`` and with its attributes as pairs."""

    kind: str
    port: str
    protocol: str
    formats: list[str]
    lines: list[str] = field(default_factory=list)
    attributes: list[tuple[str, str | None]] = field(default_factory=list)
    mid: str = ""
    rejected: bool = False

    @classmethod
    def parse(cls, lines: Sequence[str]) -> _Section:
        found = re.fullmatch(r"m=([a-z0-9-]+) ([0-9]{1,5})(?:/[0-9]+)? ([A-Za-z0-9./-]+)((?: +\S+)*)", lines[0])
        if found is None:
            raise _Unusable(f"a media line can't be read: {lines[0][:80]!r}")
        section = cls(found[1], found[2], found[3].upper(), found[4].split())
        for line in lines[1:]:
            if line.startswith("a="):
                name, colon, value = line[2:].partition(":")
                section.attributes.append((name, value if colon else None))
            else:
                section.lines.append(line)
        section.mid = section.value("mid") or ""
        section.rejected = int(section.port) == 0 and not section.has("bundle-only")
        return section

    def name(self, mid: str) -> None:
        """Give it this ``a=mid``."""
        if mid != self.mid:
            self.attributes = [each for each in self.attributes if each[0] != "mid"]
            self.attributes.append(("mid", mid))
            self.mid = mid

    def value(self, name: str) -> str | None:
        """Return the value of the first such attribute; ``None``: there is no such attribute, or it has no value."""
        return next((value for found, value in self.attributes if found == name), None)

    def values(self, name: str) -> list[str]:
        return [value for found, value in self.attributes if found == name and value is not None]

    def has(self, name: str) -> bool:
        return any(found == name for found, _ in self.attributes)

    @property
    def direction(self) -> Direction:
        # RFC 8866, 6.7: sendrecv is the default.
        said = {name for name, _ in self.attributes}
        return next((direction for direction in DIRECTIONS if direction in said), "sendrecv")

    @property
    def codecs(self) -> dict[int, str]:
        named = {}
        for value in self.values("rtpmap"):
            number, _, codec = value.partition(" ")
            named[number] = codec.partition("/")[0].lower()
        return {int(number): named[number] for number in self.formats if number in named}

    @property
    def usable(self) -> bool:
        """Whether it is of a kind, and has a codec, that we know."""
        if self.kind == "application":
            return self.protocol in ("UDP/DTLS/SCTP", "TCP/DTLS/SCTP", "DTLS/SCTP") and bool(self.formats)
        known: Collection[str] = {"audio": DECODERS, "video": (VIDEO_CODEC,)}.get(self.kind, ())
        secure = re.fullmatch(r"[A-Z/]*RTP/SAVPF?", self.protocol)
        return secure is not None and any(name in known for name in self.codecs.values())

    def take_back(self, ours: _Section) -> None:
        """Become a line of ours that is agreed on and not used: aiortc knows no rejected one."""
        self.protocol, self.lines, self.port = ours.protocol, list(ours.lines), ours.port
        names = {str(number) for number, name in ours.codecs.items() if name == VIDEO_CODEC}
        kept = ("rtpmap", "fmtp", "rtcp-fb") if names else ("sctp-port", "max-message-size")
        self.formats = [number for number in ours.formats if not names or number in names]
        self.attributes = [
            (name, value)
            for name, value in ours.attributes
            if name in kept and (not names or (value or "").partition(" ")[0] in names)
        ]
        self.attributes += [("inactive", None), ("mid", self.mid), ("rtcp-mux", None)]

    def text(self) -> list[str]:
        attributes = [f"a={name}" if value is None else f"a={name}:{value}" for name, value in self.attributes]
        line = " ".join((f"m={self.kind}", self.port, self.protocol, *self.formats))
        return [line, *self.lines, *attributes]


def _sections(sdp: str) -> tuple[list[str], list[list[str]]]:
    """Return the session's lines, and those of each media line (RFC 8866, 5)."""
    head: list[str] = []
    sections: list[list[str]] = []
    for line in sdp.splitlines():
        line = line.rstrip()
        if line.startswith("m="):
            sections.append([])
        if line:
            (sections[-1] if sections else head).append(line)
    return head, sections


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\r\n" for line in lines)


def _turned_down(line: RemoteLine) -> list[str]:
    # RFC 9429, 5.3.1: the same media, protocol and formats, with port 0.
    found = [f"m={line.kind} 0 {line.protocol} {' '.join(line.formats) or '0'}", "c=IN IP4 0.0.0.0", "a=inactive"]
    return [*found, f"a=mid:{line.mid}"] if line.mid else found


# Reading


def _read(sdp: str) -> tuple[list[str], list[_Section], Counter[str]]:
    """Return the session's lines and the media lines, each with what can be read of it, and what was ignored."""
    if (why := too_large(sdp)) is not None:
        raise _Unusable(why)
    ignored: Counter[str] = Counter()
    head, found = _sections(sdp)
    if not found or not head or not head[0].startswith("v="):
        raise _Unusable("it is no SDP with a media line")
    head = _readable_head(head, ignored)
    sections = [_Section.parse(lines) for lines in found]
    for number, section in enumerate(sections):
        if not section.mid:
            section.name(_new_mid(number, sections))
        section.lines = [line for line in section.lines if _readable(line, ignored)]
        _inherit(section, head)
        _make_readable(section, ignored)
    return head, sections, ignored


def too_large(sdp: str) -> str | None:
    """Return in what a description is larger than any call needs; ``None``: it is not."""
    if len(sdp) > CHARACTERS:
        return f"it has more than {CHARACTERS} characters"
    lines = sdp.splitlines()
    if len(lines) > LINES:
        return f"it has more than {LINES} lines"
    if any(len(line) > LINE for line in lines):
        return f"it has a line of more than {LINE} characters"
    if sum(line.startswith("m=") for line in lines) > MEDIA:
        return f"it has more than {MEDIA} media lines"
    return None


def _new_mid(number: int, sections: Sequence[_Section]) -> str:
    taken = {section.mid for section in sections}
    return next(mid for mid in map(str, range(number, number + len(sections) + 1)) if mid not in taken)


def _readable_head(head: Sequence[str], ignored: Counter[str]) -> list[str]:
    found: list[str] = []
    for line in head:
        name, colon, value = line[2:].partition(":") if line.startswith("a=") else ("", "", "")
        check = _CHECKS.get(name)
        if line.startswith("v=") and not line[2:].isdecimal():
            line = "v=0"
        if check is not None and (not colon or check(value) is None):
            ignored[f"a={name} that can't be read"] += 1
        elif _readable(line, ignored):
            found.append(line)
    return found


def _readable(line: str, ignored: Counter[str]) -> bool:
    if line.startswith("c=") and not re.fullmatch(r"c=IN IP[46] \S+", line):
        ignored["c= that can't be read"] += 1
        return False
    return True


def _inherit(section: _Section, head: Sequence[str]) -> None:
    """Give a media line what the session says for all of them."""
    of_all = {}
    for line in head:
        if line.startswith("a="):
            name, colon, value = line[2:].partition(":")
            of_all[name] = value if colon else None
    for name in _TRANSPORT:
        if name in of_all and not section.has(name):
            section.attributes.append((name, of_all[name]))
    if section.kind in ("audio", "video") and not any(section.has(name) for name in DIRECTIONS):
        section.attributes.append((next((name for name in DIRECTIONS if name in of_all), "sendrecv"), None))


def _make_readable(section: _Section, ignored: Counter[str]) -> None:
    """Leave out, or mend, what aiortc would break off at."""
    media = section.kind in ("audio", "video")
    known: set[str] = set()
    if media:
        section.formats = [each for each in section.formats if _is_payload_type(each)]
        named = {value.partition(" ")[0] for value in section.values("rtpmap") if _rtpmap(value)}
        for static, codec in _STATIC.items():
            if section.kind == "audio" and static in section.formats and static not in named:
                section.attributes.append(("rtpmap", f"{static} {codec}"))
                named.add(static)
        known = named.intersection(section.formats)
        if not section.has("rtcp-mux"):
            section.attributes.append(("rtcp-mux", None))  # in a bundle it is understood (RFC 9143, 9.3)
    elif section.protocol == "DTLS/SCTP" and section.formats and not section.formats[0].isdecimal():
        section.protocol = "UDP/DTLS/SCTP"  # only the old one, DTLS/SCTP, has its port in place of a format
    found: list[tuple[str, str | None]] = []
    for name, value in section.attributes:
        check = _CHECKS.get(name)
        read = value
        if check is not None:
            read = check(value) if value is not None else None
            if read is None:
                ignored[f"a={name} that can't be read"] += 1
                continue
        if name in ("rtpmap", "fmtp", "rtcp-fb") and read is not None:
            number = read.partition(" ")[0]
            if number not in known and not (name == "rtcp-fb" and number == "*"):
                if name != "rtcp-fb":
                    ignored[f"a={name} of a payload type that is not used"] += 1
                continue
        found.append((name, read))
    if media:
        _sort_rtpmaps(found, section.formats)
    elif section.protocol != "DTLS/SCTP" and section.kind == "application" and "sctp-port" not in dict(found):
        # RFC 8841, 5.1, wants it said; 5000 is what everybody says.
        found.append(("sctp-port", "5000"))
    section.attributes = found


def _sort_rtpmaps(attributes: list[tuple[str, str | None]], formats: Sequence[str]) -> None:
    """Put the rtpmaps into the order of the media line: that is the order of preference (RFC 3264, 6.1)."""
    order = {number: place for place, number in enumerate(formats)}
    places = [place for place, (name, _) in enumerate(attributes) if name == "rtpmap"]
    ordered = sorted((attributes[place] for place in places), key=lambda each: order[str(each[1]).partition(" ")[0]])
    for place, attribute in zip(places, ordered, strict=True):
        attributes[place] = attribute


def _is_payload_type(text: str) -> bool:
    return text.isdecimal() and len(text) <= 3 and int(text) < 128 and int(text) not in _LIKE_RTCP


# What an attribute must look like: each returns it as it is to be read, or ``None``.


def _matching(pattern: str) -> Callable[[str], str | None]:
    compiled = re.compile(pattern)
    return lambda value: value if compiled.fullmatch(value) else None


def _rtpmap(value: str) -> str | None:
    found = re.fullmatch(r"([0-9]{1,3}) ([^\s/]+)/([0-9]{1,6})(/[0-9]{1,2})?", value)
    return value if found and _is_payload_type(found[1]) else None


def _fmtp(value: str) -> str | None:
    number, blank, parameters = value.partition(" ")
    if not blank or not _is_payload_type(number):
        return None
    kept = [each for each in parameters.split(";") if _fmtp_parameter(each)]
    return f"{number} {';'.join(kept)}" if kept else None


def _fmtp_parameter(text: str) -> bool:
    name, equals, value = text.partition("=")
    if not equals or name not in _NUMBERS_IN_FMTP:
        return bool(text.strip())
    return re.fullmatch(r" *[0-9]{1,9} *", value) is not None


def _fingerprint(value: str) -> str | None:
    algorithm, _, digits = value.partition(" ")
    readable = algorithm.lower() in _HASHES and re.fullmatch(r"(?:[0-9A-Fa-f]{2}:){31,63}[0-9A-Fa-f]{2}", digits)
    return value if readable else None


def _extmap(value: str) -> str | None:
    parts = value.split()
    if len(parts) < 2 or not re.fullmatch(r"[0-9]{1,5}(?:/\w+)?", parts[0]):
        return None
    return value if len(parts) == 2 else " ".join(parts[:2])  # RFC 8285, 8, may have extension attributes behind it


_CHECKS: Mapping[str, Callable[[str], str | None]] = {
    "extmap": _extmap,
    "fingerprint": _fingerprint,
    "fmtp": _fmtp,
    "group": _matching(r"\S.*"),
    "ice-options": _matching(r".*"),
    "ice-pwd": _matching(r"[A-Za-z0-9+/=_-]{4,256}"),
    "ice-ufrag": _matching(r"[A-Za-z0-9+/=_-]{1,256}"),
    "max-message-size": _matching(r"[0-9]{1,15}"),
    "mid": _matching(r"\S+"),
    "msid": _matching(r"\S.*"),
    "msid-semantic": _matching(r" ?\S.*"),
    "rtcp": _matching(r"[0-9]{1,5}(?: IN IP[46] \S+)?"),
    "rtcp-fb": _matching(r"(?:[0-9]{1,3}|\*) \S+.*"),
    "rtpmap": _rtpmap,
    "sctp-port": _matching(r"[0-9]{1,5}"),
    "sctpmap": _matching(r"[0-9]{1,5} \S.*"),
    "setup": _matching(r"active|passive|actpass"),
    "ssrc": _matching(rf"[0-9]{{1,10}} {_TOKEN}:.*"),
    "ssrc-group": _matching(r"\S+(?: [0-9]{1,10})+"),
}


# Transport


def _bundle(head: Sequence[str]) -> list[str] | None:
    """Return the mids of the first bundle; ``None``: there is none."""
    return next((line.split()[1:] for line in head if re.match(r"a=group:BUNDLE\b", line)), None)


def _tagged(sections: Sequence[_Section], bundle: Sequence[str] | None) -> _Section:
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


def _insist_on_one_transport(sections: Sequence[_Section], bundle: Sequence[str] | None) -> None:
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
            raise _Unusable("its data channel is not in one bundle with its audio (a=group:BUNDLE)")
        section.rejected = True


def _describe(
    head: list[str],
    sections: Sequence[_Section],
    used: Sequence[_Section],
    tag: _Section,
    kind: Literal["offer", "answer"],
    ignored: Counter[str],
) -> RemoteDescription:
    """Give every line that is used the transport of the tagged one, and put the text together."""
    ufrag = tag.value("ice-ufrag")
    # A certificate may have several fingerprints; of everything else the first counts.
    transport = [
        (name, value)
        for name, value in dict.fromkeys(tag.attributes)
        if name == "fingerprint" or (name in _TRANSPORT and value == tag.value(name))
    ]
    if tag.value("setup") is None:
        # RFC 8842, 5.2, wants it said. libwebrtc takes an answer without it for that of a DTLS client.
        transport.append(("setup", "actpass" if kind == "offer" else "active"))
        ignored["no a=setup"] += 1
    for name, meaning in (("ice-ufrag", "user name"), ("ice-pwd", "password"), ("fingerprint", "DTLS fingerprint")):
        if all(found != name for found, _ in transport):
            known = f" of a kind that we know: {', '.join(_HASHES)}" if name == "fingerprint" else ""
            raise _Unusable(f"it has no {meaning} (a={name}){known}")
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
    return RemoteDescription(_text(text), lines, named, ignored, "a=ice-lite" in head)


def _make_plain(
    section: _Section,
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
    names = (*_TRANSPORT, "candidate", "end-of-candidates", "bundle-only")
    mine = [(name, value) for name, value in section.attributes if name in names]
    if Counter(mine) == Counter(wanted):
        return
    section.attributes = [each for each in section.attributes if each[0] not in names] + wanted


# Candidates


def _candidates(
    sections: Sequence[_Section], ignored: Counter[str]
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


def _no_audio(sections: Iterable[_Section]) -> str:
    audio = next((section for section in sections if section.kind == "audio"), None)
    if audio is None:
        return "it has no audio line"
    if audio.port == "0" and not audio.has("bundle-only"):
        return "its audio line is turned down (m=audio 0)"
    if not audio.formats:
        return "its audio line names no formats"
    codecs = ", ".join(audio.codecs.values()) or "no codec"
    return f"its audio line has {codecs[:200]} over {audio.protocol[:40]}: we have {', '.join(DECODERS)} over SRTP"

"""The lines of an SDP, and what of them can be read. Pure text.

What aiortc would break off at is left out, or mended where its meaning is plain; each is counted by what it was.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from ..audio.coding import DECODERS

CHARACTERS = 64_000
"""Of the whole SDP. Chromium's is 6 to 10 thousand with video."""
LINES = 1000
LINE = 4096
"""Characters of one line: as long as any that browsers write, fingerprints and fmtp included, several times over."""
MEDIA = 16
"""Lines that begin with ``m=``."""
VIDEO_CODEC = "vp8"

Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
DIRECTIONS: Final[tuple[Direction, ...]] = ("sendrecv", "sendonly", "recvonly", "inactive")

# RFC 3551, 6: the payload types that need no rtpmap, of the codecs that we play.
_STATIC = {"0": "PCMU/8000", "8": "PCMA/8000"}
# RFC 5761, 4: they look like RTCP when both share a port. aiortc refuses a description that names one.
_LIKE_RTCP = range(72, 77)
TRANSPORT = ("ice-ufrag", "ice-pwd", "ice-options", "fingerprint", "setup")
HASHES = ("sha-256", "sha-384", "sha-512")
# aiortc reads these as numbers and breaks off at anything else.
_NUMBERS_IN_FMTP = ("apt", "max-fr", "max-fs", "maxplaybackrate", "minptime", "stereo", "useinbandfec")
_TOKEN = r"[^\s:]+"


class Unusable(Exception):
    """Says why a description can't be used: it goes on from "it" or "its"."""


@dataclass(slots=True)
class Section:
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
    def parse(cls, lines: Sequence[str]) -> Section:
        found = re.fullmatch(r"m=([a-z0-9-]+) ([0-9]{1,5})(?:/[0-9]+)? ([A-Za-z0-9./-]+)((?: +\S+)*)", lines[0])
        if found is None:
            raise Unusable(f"a media line can't be read: {lines[0][:80]!r}")
        section = cls(found[1], found[2], found[3].upper(), found[4].split())
        for line in lines[1:]:
            if line.startswith("a="):
                name, colon, value = line[2:].partition(":")
                section.attributes.append((name, value if colon else None))
            else:
                section.lines.append(line)
        mid = section.value("mid") or ""
        section.mid = mid if re.fullmatch(r"\S*", mid) else ""
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

    def take_back(self, ours: Section) -> None:
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


def split(sdp: str) -> tuple[list[str], list[list[str]]]:
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


def joined(lines: Iterable[str]) -> str:
    return "".join(f"{line}\r\n" for line in lines)


# Reading


def read(sdp: str) -> tuple[list[str], list[Section], Counter[str]]:
    """Return the session's lines and the media lines, each with what can be read of it, and what was ignored."""
    if (why := too_large(sdp)) is not None:
        raise Unusable(why)
    ignored: Counter[str] = Counter()
    head, found = split(sdp)
    if not found or not head or not head[0].startswith("v="):
        raise Unusable("it is no SDP with a media line")
    head = _readable_head(head, ignored)
    sections = [Section.parse(lines) for lines in found]
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


def _new_mid(number: int, sections: Sequence[Section]) -> str:
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


def _inherit(section: Section, head: Sequence[str]) -> None:
    """Give a media line what the session says for all of them."""
    of_all = {}
    for line in head:
        if line.startswith("a="):
            name, colon, value = line[2:].partition(":")
            of_all[name] = value if colon else None
    for name in TRANSPORT:
        if name in of_all and not section.has(name):
            section.attributes.append((name, of_all[name]))
    if section.kind in ("audio", "video") and not any(section.has(name) for name in DIRECTIONS):
        section.attributes.append((next((name for name in DIRECTIONS if name in of_all), "sendrecv"), None))


def _make_readable(section: Section, ignored: Counter[str]) -> None:
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
    readable = algorithm.lower() in HASHES and re.fullmatch(r"(?:[0-9A-Fa-f]{2}:){31,63}[0-9A-Fa-f]{2}", digits)
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

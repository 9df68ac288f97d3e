"""The load generator: the far end of many calls, cheaper than any system it measures.

A call is set up by aiortc. Then its socket is taken out of the event loop: packets that were encoded beforehand go
out on rtcpeer's media clock, and what comes is read at the same tick and never decrypted. When a packet arrived is
the kernel's word (``SO_TIMESTAMPNS``), so a late generator does not make a system look late. Linux only.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.rtcconfiguration import RTCBundlePolicy
from numpy.typing import NDArray

from rtcpeer.transports.aiortc_compat import AudioReceiver, AudioSender
from rtcpeer.transports.media_clock import media_clock
from rtcpeer.transports.sdp import with_opus_parameters

FRAME = 960
RATE = 48_000
DEADLINE = 20.0
_SO_TIMESTAMPNS = 35  # asm-generic/socket.h; Python does not name it
_ANCILLARY = socket.CMSG_SPACE(16)
_timespec = struct.Struct("qq")
_timestamp = struct.Struct("!L")


def is_media(data: bytes) -> bool:
    """Tell RTP from STUN, DTLS and RTCP on one port (RFC 7983, 7 and RFC 5761, 4)."""
    return len(data) >= 12 and 128 <= data[0] <= 191 and not 64 <= data[1] & 0x7F <= 95


class FarEnd:
    """One call's far end.

    Args:
        payloads: What it says, a frame each, over and over; from ``begin`` on, so that the calls do not all pause at
            the same time.
    """

    def __init__(self, payloads: Sequence[bytes], begin: int) -> None:
        self._payloads = payloads
        self._number = begin
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self._loop = asyncio.get_running_loop()
        self._connected = self._loop.create_future()
        self._heard = self._loop.create_future()
        self._pc.on("connectionstatechange", self._on_state)
        # A socket an address of ours, the one that is sent from first: libwebrtc now and then uses another.
        self._sockets: list[tuple[socket.socket, Any]] = []
        self.measuring = False
        self.arrivals = array("q")
        """Kernel times of the audio packets that came while ``measuring``, in nanoseconds."""
        self.timestamps = array("L")
        """And their RTP timestamps."""

    async def offer(self) -> str:
        line = self._pc.addTransceiver("audio", direction="sendrecv")
        opus = [each for each in RTCRtpSender.getCapabilities("audio").codecs if each.mimeType == "audio/opus"]
        line.setCodecPreferences(opus)
        self._sender = AudioSender(line.sender)
        AudioReceiver(line.receiver, lambda packet: None, lambda: None)
        # rtcpeer's session is up when its channel is; the others get it too.
        self._pc.createDataChannel("orga-realtime-client-events")
        await self._pc.setLocalDescription()
        self._transport: Any = line.sender.transport
        self._ice: Any = self._transport.transport._connection
        for protocol in self._ice._protocols:
            protocol.datagram_received = self._watch(protocol.datagram_received)
        return with_opus_parameters(self._pc.localDescription.sdp)

    def _watch(self, receive: Any) -> Any:
        def datagram_received(data: bytes, addr: tuple[Any, ...]) -> None:
            if is_media(data) and not self._heard.done():
                self._heard.set_result(self._loop.time())
            receive(data, addr)

        return datagram_received

    async def accept(self, sdp: str) -> None:
        await self._pc.setRemoteDescription(RTCSessionDescription(sdp, "answer"))

    def _on_state(self) -> None:
        if self._pc.connectionState == "connected" and not self._connected.done():
            self._connected.set_result(None)

    async def heard(self) -> float:
        """Wait for the far end's first audio, start to talk, and return when it came, in the loop's time."""
        async with asyncio.timeout(DEADLINE):
            await self._connected
            media_clock().add(self._talk)
            return await self._heard

    def take_over(self) -> None:
        """Read the sockets ourselves from now on, with the kernel's times."""
        media_clock().remove(self._talk)
        pair = self._ice._nominated[1]
        self._address = pair.remote_addr
        for protocol in sorted(self._ice._protocols, key=lambda each: each is not pair.protocol):
            number = protocol.transport.get_extra_info("socket").fileno()
            loop: Any = self._loop
            loop._remove_reader(number)
            ours = socket.socket(fileno=os.dup(number))
            ours.setblocking(False)
            ours.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            self._sockets.append((ours, protocol.datagram_received))
        self._protect = self._transport._tx_srtp.protect
        media_clock().add(self._tick)

    def _write(self) -> bytes:
        self._number += 1
        payload = self._payloads[self._number % len(self._payloads)]
        writer = self._sender._writer
        assert writer is not None
        return writer.write(self._number & 0xFFFF, self._number * FRAME & 0xFFFF_FFFF, payload, level=30, voiced=True)

    def _talk(self, number: int, now: float) -> None:
        """As ``_tick``, while the socket is still the event loop's."""
        pair = self._ice._nominated.get(1)
        if pair is not None and self._sender.ready:
            pair.protocol.transport.sendto(self._transport._tx_srtp.protect(self._write()), pair.remote_addr)

    def _tick(self, number: int, now: float) -> None:
        try:
            self._sockets[0][0].sendto(self._protect(self._write()), self._address)
            for ours, pass_on in self._sockets:
                self._drain(ours, pass_on)
        except BlockingIOError:
            return  # a full socket: that packet is lost, as it would be on a network
        except OSError:
            media_clock().remove(self._tick)  # it has gone: what does not come is counted

    def _drain(self, ours: socket.socket, pass_on: Any) -> None:
        receive = ours.recvmsg
        try:
            while True:
                data, ancillary, _, addr = receive(2048, _ANCILLARY)
                if not is_media(data):
                    pass_on(data, addr)
                elif self.measuring:
                    seconds, nanoseconds = _timespec.unpack(ancillary[0][2])
                    self.arrivals.append(seconds * 1_000_000_000 + nanoseconds)
                    self.timestamps.append(_timestamp.unpack_from(data, 4)[0])
        except BlockingIOError:
            return

    def measure(self) -> None:
        """Begin to write down what comes."""
        self.arrivals, self.timestamps = array("q"), array("L")
        self.measuring = True

    def lateness(self, seconds: float) -> NDArray[np.float64]:
        """Stop, and return the seconds by which each packet of the window came late; infinite: it never came."""
        self.measuring = False
        return lateness(np.array(self.arrivals), np.array(self.timestamps), seconds)

    async def close(self) -> None:
        media_clock().remove(self._tick)
        media_clock().remove(self._talk)
        for ours, _ in self._sockets:
            ours.close()
        await self._pc.close()


def lateness(arrivals: NDArray[np.int64], timestamps: NDArray[Any], seconds: float) -> NDArray[np.float64]:
    """Return by how many seconds each packet missed the schedule of 20 ms; infinite for those that never came.

    The schedule is the one of the stream's own timestamps, set by its most punctual packet: whoever is always equally
    late is not late.

    Args:
        arrivals: Nanoseconds.
        timestamps: Of RTP at 48 kHz, 32 bits.
        seconds: Length of the window.
    """
    # The far end's schedule is not ours, and what is on its way at the end is not missing: 100 ms are let be.
    expected = int((seconds - 0.1) * RATE / FRAME)
    if not len(arrivals):
        return np.full(expected, np.inf)
    ahead = (timestamps.astype(np.int64) - int(timestamps[0]) + 0x8000_0000) % (1 << 32) - 0x8000_0000
    offsets = (arrivals - arrivals[0]) / 1e9 - ahead / RATE
    expected = max(expected, int(ahead.max() - ahead.min()) // FRAME + 1)
    missing = max(0, expected - len(np.unique(ahead)))
    return np.concatenate((offsets - offsets.min(), np.full(missing, np.inf)))

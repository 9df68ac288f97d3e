"""The WebRTC link: one codec's messages over a DataChannel, one call's audio as RTP, on aiortc.

The same class offers and answers. Decisions about the session are not made here: what happens is reported to a
listener, which belongs to the session.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.rtcconfiguration import RTCBundlePolicy, RTCIceTransportPolicy
from numpy.typing import NDArray

from ..audio.coding import DECODERS, ReceiverWishes, VoiceEncoder
from ..audio.dtmf import EventPacket, EventReceiver
from ..audio.jitter import MediaPacket, Playout, PlayoutFrame
from ..audio.level import Level, level_of
from ..audio.packets import OpusPacket, StreamTimeline
from ..errors import ConnectionLost, IceError, LocalProtocolError, RemoteProtocolError, RtcPeerError, Unsupported
from ..escaping import escaped
from ..events import DtmfReceived, ErrorReported
from ..formats import OpusSettings
from ..netem import CLEAN, NetworkConditions
from ..protocols.base import Message, VoiceProtocol
from ..protocols.http import IceServer
from ..stats import InboundAudioStats, OutboundAudioStats
from . import aiortc_compat
from .ice_options import IceOptions
from .ice_servers import IceUrl, ServerOutcome, read_ice_servers
from .impairment import Impairment
from .link import Link, LinkListener, PacketWatcher, Reports, VideoDirection, VideoWatcher
from .liveness import Liveness
from .message_channel import MessageChannel
from .negotiated import NegotiatedAudio, counted, facts, negotiate_audio
from .remote_sdp import RemoteDescription, complete_answer, read_answer, read_offer
from .sdp import (
    free_payload_types,
    receiver_wishes,
    telephone_event_types,
    with_opus_parameters,
    with_telephone_events,
)
from .video import VideoSource
from .video_line import IncomingVideo, OutgoingVideo
from .watchdog import WATCHFUL, Watchdog

logger = logging.getLogger(__name__)

CLOSE_DEADLINE = 5.0
"""Seconds for a goodbye."""
NO_AUDIO_OUT = "the far end takes no audio: nothing that is played reaches it"


class RtcLink(Link):
    """One peer connection. Make it, then ``offer`` and ``accept``, or ``answer``; then ``opened``; then ``close``."""

    def __init__(
        self,
        protocol: VoiceProtocol,
        listener: LinkListener,
        *,
        ice: IceOptions | None = None,
        netem: NetworkConditions = CLEAN,
        netem_seed: int | str = 0,
        decode: bool = True,
        opus: OpusSettings | None = None,
        watchdog: Watchdog | None = WATCHFUL,
    ) -> None:
        """``decode=False``: audio is received and sent as packets alone, and ``hear`` must not be called."""
        self.protocol = protocol
        self._listener = self.reports = listener = Reports(listener)
        self._ice = ice or IceOptions()
        self._ice_servers: list[IceUrl] = []
        self._ice_failures: list[ServerOutcome] = []
        self._pc = RTCPeerConnection(
            RTCConfiguration(
                # Always a list: the default is a public STUN server. We gather by ourselves.
                iceServers=[],
                # Without it every media line has a socket, and a TURN allocation, of its own.
                bundlePolicy=RTCBundlePolicy.MAX_BUNDLE,
                iceTransportPolicy=RTCIceTransportPolicy(self._ice.policy),
            )
        )
        aiortc_compat.take_any_certificate(self._pc)
        self._impairment = Impairment(netem, netem_seed)
        self._channel = MessageChannel(
            protocol,
            listener,
            on_open=self._on_open,
            on_close=lambda: self._end("remote", "the far end closed the data channel"),
            on_abuse=lambda why: self._end("lost", why, RemoteProtocolError(why)),
        )
        self._audio: aiortc_compat.AudioSender | None = None
        self._audio_in: aiortc_compat.AudioReceiver | None = None
        self._reports: aiortc_compat.AudioReports | None = None
        self._pair: dict[str, str] | None = None
        self._local = ""
        self._remote: RemoteDescription | None = None
        self._negotiated: NegotiatedAudio | None = None
        self._unplayable: Counter[int] = Counter()
        self._lookups: set[asyncio.Task[None]] = set()
        self._names_open = 0  # of candidates, not looked up yet, or in vain
        self._video_out: OutgoingVideo | None = None
        self._video_in: IncomingVideo | None = None
        self._opus = opus or OpusSettings()
        # Nothing is said, and no payload type is playable, before codecs are negotiated.
        self._voice: VoiceEncoder | None = None
        self._wishes = ReceiverWishes()
        self._playout: Playout | None = Playout({}) if decode else None
        self._codec = "none"
        self._timeline: StreamTimeline | None = None if decode else StreamTimeline()
        self._packet_watchers: list[PacketWatcher] = []
        self._offered_events: dict[int, int] = {}
        self._events = EventReceiver()
        self._heard_before: InboundAudioStats | None = None
        self._said_before: OutboundAudioStats | None = None
        self._goodbye = False
        self._given_up = False
        self._ended = False
        self._liveness = Liveness(watchdog, self._ask_for_life, listener.report, self._on_silent)
        loop = asyncio.get_running_loop()
        self._time = loop.time
        self._connected: asyncio.Future[None] = loop.create_future()
        self._open: asyncio.Future[None] = loop.create_future()
        for future in (self._connected, self._open):
            # Whoever opens the link awaits these; a link closed before that must not complain at exit.
            future.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._pc.on("connectionstatechange", self._on_connection_state)
        self._stop_connecting = aiortc_compat.watch_connecting(self._pc, self._on_connect_failure)
        self._give_up_closing = aiortc_compat.close_in_one_task(self._pc)

    # Opening

    def use_ice_servers(self, servers: Sequence[IceServer]) -> None:
        """Take the servers to gather with; before ``offer`` and ``answer``. What can't be used is reported."""
        self._ice_servers, unusable = read_ice_servers(servers)
        for outcome in unusable:
            self._on_ice_failure(outcome)

    async def offer(self, *, video: VideoSource | Literal[False] | None = None) -> str:
        """Gather candidates and return the SDP offer.

        The order of lines is the vendor's: audio sendrecv, video sendonly, then the channel (Orga's React SDK).
        """
        self._set_up_audio(self._pc.addTransceiver("audio", direction="sendrecv"))
        if self.protocol.profile.video and video is not False:
            line = self._pc.addTransceiver("video", direction="sendonly")
            _prefer(line, "vp8")
            self._video_out = OutgoingVideo(line, self._listener.on_media_error)
            if video is not None:
                self.send_video(video)
        self._channel.create(self._pc)
        sdp = await self._describe()
        self._offered_events = dict(zip((48_000, 8_000), free_payload_types(sdp), strict=False))
        self._local = with_telephone_events(sdp, self._offered_events)
        return self._local

    async def accept(self, sdp: str) -> None:
        """Take the far end's answer; connecting starts.

        Raises:
            RemoteProtocolError: it is no answer to our offer.
        """
        remote = read_answer(sdp, self._local)
        if remote.line("application") is None:
            raise RemoteProtocolError("the far end's SDP answer can't be used: it turns the data channel down")
        self._use_events(telephone_event_types(remote.sdp), self._offered_events)
        if self._video_out is not None and remote.line("video") is None:
            if self._video_out.wanted:
                self._listener.report(ErrorReported("the far end takes no video", code="no_video_out"))
            self._video_out.stop()
            self._video_out = None
        await self._set_remote(remote, "answer")
        self._on_negotiated()
        assert self._negotiated is not None
        if not self._negotiated.receives:
            self._listener.report(ErrorReported("the far end sends no audio", code="no_audio_in"))

    async def answer(self, sdp: str) -> str:
        """Take an offer and return our answer; connecting starts.

        Raises:
            RemoteProtocolError: it is no offer we can take.
        """
        remote = read_offer(sdp)
        # Made before the offer is applied, so that it is matched with our direction and codecs; aiortc would
        # otherwise answer recvonly, with codecs we do not play.
        self._set_up_audio(self._pc.addTransceiver("audio", direction="sendrecv"))
        if remote.line("video") is not None:
            line = self._pc.addTransceiver("video", direction="recvonly")
            _prefer(line, "vp8")
            self._video_in = IncomingVideo(line, self._on_bye)
        self._channel.expect(self._pc)
        events = telephone_event_types(remote.sdp)
        self._use_events(events, events)
        await self._set_remote(remote, "offer")
        self._local = with_telephone_events(await self._describe(), events)
        self._on_negotiated()
        return complete_answer(self._local, remote)

    async def connected(self) -> None:
        """Wait for ICE and DTLS. Raises IceError."""
        await asyncio.shield(self._connected)

    async def opened(self) -> None:
        """Wait for the channel. Raises IceError, ConnectionLost."""
        await asyncio.shield(self._open)

    def _set_up_audio(self, line: RTCRtpTransceiver) -> None:
        _prefer(line, *DECODERS)
        self._audio = aiortc_compat.AudioSender(line.sender)
        self._audio_in = aiortc_compat.AudioReceiver(
            line.receiver, self._on_packet, self._on_bye, self._on_unplayable
        )
        aiortc_compat.compare_fingerprints(self._audio_in.transport)
        self._reports = aiortc_compat.AudioReports(self._audio, self._audio_in)

    def _use_events(self, theirs: Mapping[int, int], ours: Mapping[int, int]) -> None:
        """Send telephone events as ``theirs`` and take them as ``ours``, payload types by clock rate."""
        assert self._audio is not None
        assert self._audio_in is not None
        self._audio.event_types = theirs
        self._audio_in.event_types = {ours[rate]: rate for rate in theirs if rate in ours}

    async def _describe(self) -> str:
        aiortc_compat.gather_with(self._pc, self._ice_servers, self._ice, self._on_ice_failure)
        aiortc_compat.check_quickly(self._pc)
        aiortc_compat.survive_the_end_of_the_loop(self._pc)
        self._channel.guard(self._pc)
        await self._pc.setLocalDescription()
        if not aiortc_compat.candidate_types(self._pc)[0]:
            raise IceError(self._no_candidates())
        assert self._audio_in is not None
        aiortc_compat.watch_life(self._pc, self._audio_in.transport, self._on_life)
        aiortc_compat.receive_directly(self._pc, self._audio_in)
        aiortc_compat.watch_send_errors(self._pc, self._liveness.suspect)
        self._impairment.attach(self._pc)
        sdp = with_opus_parameters(self._pc.localDescription.sdp)
        logger.debug("local description:\n%s", sdp)
        return sdp

    async def _set_remote(self, remote: RemoteDescription, kind: Literal["offer", "answer"]) -> None:
        logger.debug("remote description, as it is read:\n%s", escaped(remote.sdp, keep="\r\n"))
        if remote.passed_over:
            logger.info("not used of the far end's SDP: %s", counted(remote.passed_over))
        try:
            await self._pc.setRemoteDescription(RTCSessionDescription(remote.sdp, kind))
        except Exception as exc:  # whatever aiortc may still refuse
            raise RemoteProtocolError(
                f"the far end's SDP {kind} can't be used: {str(exc) or type(exc).__name__}"
            ) from exc
        self._remote = remote
        self._wishes = receiver_wishes(remote.sdp)
        for candidate in remote.named:
            self._start_lookup(candidate)

    def _start_lookup(self, candidate: str) -> None:
        async def look_up() -> None:
            if await aiortc_compat.add_named_candidate(self._pc, candidate):
                self._names_open -= 1

        self._names_open += 1
        task = asyncio.create_task(look_up())
        self._lookups.add(task)
        task.add_done_callback(self._lookups.discard)

    def _on_negotiated(self) -> None:
        assert self._remote is not None
        assert self._audio is not None
        assert self._audio_in is not None
        negotiated = self._negotiated = negotiate_audio(self._local, self._remote)
        if self._playout is not None:
            self._playout = Playout(
                {number: DECODERS[name] for number, name in negotiated.receive_types.items()},
                events=self._audio_in.event_types,
            )
        elif negotiated.codec != "opus":
            raise RemoteProtocolError(f'the far end speaks {negotiated.codec}: audio="packets" needs Opus')
        self._codec = negotiated.codec
        self._audio.payload_type = negotiated.send_type
        self._audio_in.payload_types = negotiated.receive_types
        if not negotiated.sends:
            self._listener.report(ErrorReported(NO_AUDIO_OUT, code="no_audio_out"))
        # They are bundled: one transport for all lines.
        self._audio_in.transport.on("statechange", self._on_transport_state)

    def _on_ice_failure(self, outcome: ServerOutcome) -> None:
        self._ice_failures.append(outcome)
        self._listener.report(ErrorReported(str(outcome), code="ice-server"))

    def _no_candidates(self) -> str:
        if self._ice.policy == "all":
            return "no ICE candidates: this machine has no usable network address"
        failures = "; ".join(str(each) for each in self._ice_failures if each.server.startswith("turn"))
        return (
            f"no relay candidate: {failures}"
            if failures
            else "ICE policy is relay, but the service named no TURN server"
        )

    def tried(self) -> str:
        """Say between what a path was looked for, for an error."""
        ours, theirs = aiortc_compat.candidate_types(self._pc)
        unused = dict(self._remote.passed_over) if self._remote is not None else {}
        if self._names_open:
            unused["names that were not found"] = self._names_open
        not_used = f" (not used: {counted(unused)})" if unused else ""
        told = "".join(f"; {each}" for each in self._ice_failures)
        none = "no candidates"
        return f"we offered {counted(ours) or none}, the far end {counted(theirs) or none}{not_used}{told}"

    # While it runs

    def send_messages(self, messages: Sequence[Message]) -> None:
        self._channel.send(messages)

    def send_audio(self, pcm: NDArray[np.int16], frame: int, *, voiced: bool, level: Level | None = None) -> None:
        if self._audio is None or not self._audio.ready:
            return
        if self._voice is None:
            # Made when there is something to say: who passes packets on needs none.
            self._voice = VoiceEncoder(self._codec, self._wishes, self._opus)
        below_full_scale = (level or level_of(pcm)).below_full_scale
        for payload, timestamp in self._voice.encode(pcm, frame):
            self._audio.send(payload, timestamp, level=below_full_scale, voiced=voiced)

    def send_packet(self, packet: OpusPacket, origin: object, *, event: bool = False) -> None:
        if self._audio is None or not self._audio.ready:
            return
        self.check_packets()
        if event:
            self._audio.send_event(
                packet.payload,
                packet.timestamp,
                marker=packet.marker,
                origin=origin,
                sequence=packet.sequence_number,
            )
        else:
            self._audio.send_ready(
                origin, packet.sequence_number, packet.timestamp, packet.payload, marker=packet.marker
            )

    @property
    def event_rate(self) -> int | None:
        return self._audio.event_rate if self._audio is not None else None

    def send_event(self, packet: EventPacket, frame: int) -> None:
        if self._audio is not None and self._audio.ready and self._audio.event_rate is not None:
            timestamp = frame * self._audio.event_rate // 50 + packet.offset
            self._audio.send_event(packet.payload, timestamp, marker=packet.first)

    def check_audio(self) -> None:
        if self._negotiated is not None and not self._negotiated.sends:
            raise Unsupported(NO_AUDIO_OUT)

    def check_packets(self) -> None:
        self.check_audio()
        self._check_opus()

    def _check_opus(self) -> None:
        if self._codec not in ("opus", "none"):
            raise Unsupported(f"the far end speaks {self._codec}, which is not passed on undecoded: only Opus is")

    def watch_packets(self, watcher: PacketWatcher) -> None:
        self._check_opus()
        if self._timeline is None:
            self._timeline = StreamTimeline()
        self._packet_watchers.append(watcher)

    def set_opus(self, settings: OpusSettings) -> None:
        self._opus = settings
        if self._voice is not None:
            self._voice.use(settings)

    def hear(self, now: float) -> PlayoutFrame:
        assert self._playout is not None, "a link that does not decode has nothing to hear"
        return self._playout.get(now)

    def note_interrupted(self, samples: int) -> None:
        if self._playout is not None:
            self._playout.stats.interrupted_samples += samples

    def adapt(self) -> None:
        if self._voice is not None and self._reports is not None and self._reports.fraction_lost is not None:
            self._voice.adapt(self._reports.fraction_lost)

    def send_video(self, source: VideoSource) -> None:
        """Start sending a video source on the (so far silent) video line.

        Raises:
            LocalProtocolError: this call has none.
        """
        if self._video_out is None:
            raise LocalProtocolError("this call has no video line, or the far end turned it down")
        self._video_out.send(source)

    def receive_video(self) -> MediaStreamTrack | None:
        return self._video_in.decode() if self._video_in is not None else None

    def watch_video(self, watcher: VideoWatcher) -> tuple[VideoDirection, ...]:
        found: list[VideoDirection] = []
        if self._video_out is not None and self._video_out.watch(partial(watcher, "ours")):
            found.append("ours")
        if self._video_in is not None:
            found.append("theirs")
            self._video_in.watch(partial(watcher, "theirs"))
        return tuple(found)

    def close_channel(self) -> None:
        self._channel.close()

    def stats(self) -> dict[str, Any]:
        return {
            "inbound_audio": self._inbound().to_dict(),
            "outbound_audio": self._outbound().to_dict(),
            "inbound_video": {"frames_received": self._video_in.frames_received if self._video_in else 0},
            "candidate_pair": self._pair or aiortc_compat.selected_pair(self._pc),
            "negotiated": self._facts(),
            "netem": self._impairment.stats(),
        }

    def _facts(self) -> dict[str, Any] | None:
        if self._remote is None or self._negotiated is None or self._audio_in is None:
            return None
        ours, theirs = aiortc_compat.candidate_types(self._pc)
        return facts(self._remote, self._negotiated) | {
            "candidates": {
                "local": dict(Counter(ours)),
                "remote": dict(Counter(theirs)),
                "pairs_left_out": aiortc_compat.pairs_left_out(self._pc),
            },
            "dtls": aiortc_compat.dtls_facts(self._audio_in.transport),
        }

    def _outbound(self) -> OutboundAudioStats:
        said = OutboundAudioStats(target_bitrate=self._voice.bitrate if self._voice is not None else 0)
        if self._audio is not None and self._reports is not None:
            told = self._reports
            said.packets_sent, said.bytes_sent = self._audio.packets_sent, self._audio.bytes_sent
            said.round_trip_time, said.fraction_lost = told.round_trip_time, told.fraction_lost
            said.packets_lost, said.jitter = told.packets_lost, told.jitter / self._audio.clock_rate
        return said if self._said_before is None else said.since(self._said_before)

    def _inbound(self) -> InboundAudioStats:
        if self._playout is not None:
            heard = replace(self._playout.stats)
            heard.packets_unplayable += self._unplayable.total()
            return heard if self._heard_before is None else heard.since(self._heard_before)
        line = self._timeline  # one for all links of a session
        assert line is not None
        return InboundAudioStats(
            packets_received=line.packets_received, packets_lost=line.packets_lost, bytes_received=line.bytes_received
        )

    @property
    def conditions(self) -> NetworkConditions:
        return self._impairment.conditions

    def impair(self, conditions: NetworkConditions) -> None:
        self._impairment.conditions = conditions
        if self.heir is not None:
            self.heir.impair(conditions)

    @property
    def was_ready(self) -> bool:
        return self._open.done() and not self._open.cancelled() and self._open.exception() is None

    def succeed(self, old: Link) -> None:
        super().succeed(old)
        assert isinstance(old, RtcLink)
        self.set_opus(old._opus)
        self._said_before = old._outbound()
        if old._playout is not None:
            self._heard_before = old._inbound()
        if old._timeline is not None:
            self._timeline = old._timeline
        if self._video_out is not None and old._video_out is not None:
            self._video_out.succeed(old._video_out)

    def retire(self) -> None:
        super().retire()
        self._packet_watchers.clear()
        self._timeline = None  # the one that took its place goes on with it

    # Ending

    async def close(self) -> None:
        """Say goodbye (RTCP BYE, SCTP abort, DTLS close_notify) and release everything."""
        self._ended = True
        self._liveness.close()
        for future in (self._connected, self._open):
            if not future.done():
                future.set_exception(ConnectionLost("closed before it was open"))
        if self._video_out is not None:
            self._video_out.stop()
        self._impairment.close()
        if self._given_up:
            # It may hear us still. A goodbye would be a hang-up to it; by its own watchdog it knows to come back.
            aiortc_compat.mute(self._pc)
        try:
            async with asyncio.timeout(CLOSE_DEADLINE):
                await self._stop_looking_up()
                await self._stop_connecting()
                await aiortc_compat.say_goodbye(self._pc)
                await self._pc.close()
        except TimeoutError:
            logger.warning("the peer connection did not close within %g s: it is torn down", CLOSE_DEADLINE)
            self._tear_down()
        except asyncio.CancelledError:
            # The loop is ending, and aiortc's close is of no use any more.
            await aiortc_compat.say_goodbye(self._pc)
            self._tear_down()
            raise

    async def _stop_looking_up(self) -> None:
        lookups = list(self._lookups)
        for task in lookups:
            task.cancel()
        await asyncio.gather(*lookups, return_exceptions=True)

    def _tear_down(self) -> None:
        self._give_up_closing()
        aiortc_compat.tear_down(self._pc)

    async def abandon(self) -> None:
        """Vanish without a goodbye, as a killed process does."""
        self._impairment.close()  # first: its end would undo the silence
        aiortc_compat.mute(self._pc)
        await self.close()

    def _end(self, reason: Literal["remote", "lost"], detail: str, failure: RtcPeerError | None = None) -> None:
        if self._ended:
            return
        self._ended = True
        self._liveness.close()
        self.failure = failure or ConnectionLost(detail)
        for future in (self._connected, self._open):
            if not future.done():
                future.set_exception(self.failure)
        self._listener.on_ended(reason, detail)

    def _on_connect_failure(self, exc: Exception) -> None:
        failure = RemoteProtocolError(f"the far end's SDP can't be used: {str(exc) or type(exc).__name__}")
        failure.__cause__ = exc
        for future in (self._connected, self._open):
            if not future.done():
                future.set_exception(failure)

    def _on_connection_state(self) -> None:
        state = self._pc.connectionState
        if state == "connected" and not self._connected.done():
            self._pair = aiortc_compat.selected_pair(self._pc)
            self._connected.set_result(None)
            self._liveness.start()
        elif state == "failed" and not self._connected.done():
            failure = IceError(
                f"no network path to the far end: no candidate pair answered ({self.tried()})"
                if self._pc.iceConnectionState == "failed"
                else self._why_dtls_failed()
            )
            self._connected.set_exception(failure)
            self._open.set_exception(failure)

    def _why_dtls_failed(self) -> str:
        assert self._audio_in is not None
        why = aiortc_compat.why_dtls_failed(self._audio_in.transport)
        return "the DTLS handshake with the far end failed" + (f": {why}" if why else "")

    def _on_transport_state(self) -> None:
        transport = self._pc.getTransceivers()[0].receiver.transport
        if transport.state == "closed":
            if (task := asyncio.current_task()) is not None and task.cancelling():
                return  # the loop is ending, and took DTLS's task with it; who closes us says goodbye
            if self._goodbye or aiortc_compat.path_alive(self._pc):
                self._end("remote", "the far end closed the connection")
            else:
                self._end("lost", "the far end stopped answering")

    # Being alive

    def _on_life(self) -> None:
        self._liveness.heard = self._time()

    def _ask_for_life(self) -> None:
        aiortc_compat.ask_for_life(self._pc)

    def _on_silent(self, why: str) -> None:
        self._given_up = True
        self._end("lost", why)

    def _on_packet(self, packet: MediaPacket) -> None:
        self._goodbye = False  # it goes on: what ended was a stream, or a mute
        now = self._liveness.heard = self._time()
        if self._playout is not None:
            self._playout.put(packet, now)
        assert self._audio_in is not None
        rate = self._audio_in.event_types.get(packet.payload_type)
        if rate is not None:
            self._report_digit(self._events.put(packet.payload, packet.timestamp, now, rate))
        elif self._events.active:
            self._report_digit(self._events.expire(now))
        if self._timeline is not None:
            sequence, timestamp = self._timeline.place(packet, now, event=rate is not None)
            received = OpusPacket(packet.payload, timestamp, sequence, packet.marker, now)
            for watcher in self._packet_watchers:
                watcher(received, rate is not None)

    def _on_unplayable(self, payload_type: int) -> None:
        self._unplayable[payload_type] += 1
        if self._unplayable.total() == 1:
            self._listener.report(
                ErrorReported(
                    f"the far end sends audio with payload type {payload_type}, which was not negotiated: "
                    "it is not heard",
                    code="unplayable_audio",
                )
            )

    def _report_digit(self, pressed: tuple[str, float] | None) -> None:
        if pressed is not None:
            self._listener.report(DtmfReceived(pressed[0], round(pressed[1], 4)))

    def _on_bye(self) -> None:
        # A goodbye of one stream, not of the call: libwebrtc says it of a track that is taken away (RFC 3550, 6.6).
        self._goodbye = True

    def _on_open(self) -> None:
        if not self._open.done():
            self._open.set_result(None)


def _prefer(line: RTCRtpTransceiver, *codecs: str) -> None:
    """Offer and accept these codecs alone (and their retransmissions): what we cannot play is not negotiated."""
    capabilities = RTCRtpSender.getCapabilities(line.kind).codecs
    names = (*codecs, "rtx")
    line.setCodecPreferences([each for each in capabilities if each.mimeType.partition("/")[2].lower() in names])

"""Audio without a codec: packets read, sent, piped and recorded, and keys pressed, in real calls on loopback."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import spectrum
from calling import DEADLINE, answering, loudest_frequency, until

import rtcpeer
from rtcpeer import (
    Closed,
    ConfigurationError,
    DtmfReceived,
    DtmfSource,
    ErrorReported,
    MediaError,
    OpusFile,
    OpusPacket,
    PacketSource,
    RemoteProtocolError,
    Session,
    ToneSource,
    Unsupported,
)
from rtcpeer.audio.opus import OpusDecoder
from rtcpeer.audio.packets import SILENT_PACKET
from rtcpeer.netem import NetworkConditions
from rtcpeer.transports.sdp import telephone_event_types

pytestmark = pytest.mark.usefixtures("nothing_left")


@asynccontextmanager
async def call(answer=lambda sdp: sdp, **options: Any) -> AsyncIterator[tuple[Session, Session]]:
    """A call that is up: ours, and the far end's."""
    async with (
        answering(answer) as (url, sessions),
        rtcpeer.connect("orga", url, token="token", **options) as ours,
    ):
        await sessions[0].opened()
        yield ours, sessions[0]


async def hear_tone(session: Session, frequency: float) -> None:
    """Wait for 0.4 s of it."""
    heard: list[np.ndarray] = []
    async with asyncio.timeout(DEADLINE):
        async for frame in session.audio:
            heard = [*heard[-19:], frame.samples]
            pcm = np.concatenate(heard)
            if len(heard) == 20 and np.abs(pcm).max() > 1000 and abs(loudest_frequency(pcm) - frequency) < 5:
                return


def opus_file(path: Path, frequency: float, seconds: float) -> Path:
    """An Ogg/Opus file by FFmpeg: 20 ms packets."""
    pcm = spectrum.tone(frequency, seconds, level=-15.0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libopus", rate=48_000, layout="mono", bit_rate=32_000)
        frame = av.AudioFrame.from_ndarray(pcm.T.copy(), format="s16", layout="mono")
        frame.sample_rate = 48_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


# Reading


async def test_received_packets_are_those_that_were_sent():
    async with call() as (ours, theirs):
        reader = aiter(ours.packets)
        await theirs.play(ToneSource(440.0))
        async with asyncio.timeout(DEADLINE):
            packets = [await anext(reader) for _ in range(40)]

        assert {960} == set(np.diff([packet.timestamp for packet in packets]))
        assert {1} == set(np.diff([packet.sequence_number for packet in packets]))
        assert all(before.t < after.t for before, after in zip(packets, packets[10:], strict=False))
        decoder = OpusDecoder()
        pcm = np.concatenate([decoder.decode(packet.payload) for packet in packets])
        assert 440 == pytest.approx(loudest_frequency(pcm), abs=3)
        await hear_tone(ours, 440)  # reading packets takes nothing from who listens


async def test_readers_of_packets_end_with_the_session():
    async with call() as (ours, _):
        reader = aiter(ours.packets)
        await ours.close()
        assert [] == [packet async for packet in reader][1000:]


# Sending


async def test_an_opus_file_is_sent_as_it_is_and_the_stream_goes_on_from_and_to_what_is_encoded(tmp_path: Path):
    path = opus_file(tmp_path / "speech.ogg", 880, 0.5)
    source = OpusFile(path)
    payloads = [packet.payload for packet in iter(source.read, None)]
    source.close()

    async with call() as (ours, theirs):
        reader = aiter(theirs.packets)
        async with asyncio.timeout(DEADLINE):
            received = [await anext(reader)]
            playback = await ours.play_packets(OpusFile(path))
            await playback
            received += [await anext(reader) for _ in range(len(payloads) + 30)]

    assert 0.5 <= playback.played <= 0.54
    found = [packet.payload for packet in received]
    first = found.index(payloads[0])
    assert first > 0
    assert payloads == found[first : first + len(payloads)]
    assert len(found) > first + len(payloads)  # our own silence again
    assert {1} == set(np.diff([packet.sequence_number for packet in received]))
    steps = np.diff([packet.timestamp for packet in received])
    assert 960 == steps.min()
    # Where one takes over from the other the timestamp goes on by the time that passed.
    assert 3 >= np.count_nonzero(steps != 960)
    assert steps.max() < 960 * 5


async def test_what_is_played_goes_before_packets_and_they_wait(tmp_path: Path):
    async with call() as (ours, theirs):
        playing = await ours.play(ToneSource(440.0))
        packets = await ours.play_packets(OpusFile(opus_file(tmp_path / "a.ogg", 880, 0.6)))
        await hear_tone(theirs, 440)
        assert 0.0 == packets.played
        playing.cancel()
        await hear_tone(theirs, 880)
        async with asyncio.timeout(DEADLINE):
            await packets


class Broken(PacketSource):
    def __init__(self, *packets: OpusPacket) -> None:
        self._packets = list(packets)

    def read(self) -> OpusPacket | None:
        if not self._packets:
            raise ValueError("no more")
        return self._packets.pop(0)


async def test_a_packet_source_that_fails_is_reported_and_the_call_goes_on():
    async with call() as (ours, theirs):
        for source in (Broken(), Broken(OpusPacket(b"", 0, 0)), Broken(OpusPacket(b"\x03", 0, 0))):
            with pytest.raises(MediaError):
                await (await ours.play_packets(source))
        await until(lambda: 3 == sum(isinstance(entry.said, ErrorReported) for entry in ours.events.entries()))
        await ours.play(ToneSource(440.0))
        await hear_tone(theirs, 440)


class Counting(PacketSource):
    """20 ms of silence each, numbered as a test likes."""

    def __init__(self, numbers: list[int]) -> None:
        self._numbers = list(numbers)
        self._sent = 0

    def read(self) -> OpusPacket | None:
        if not self._numbers:
            return None
        self._sent += 1
        payload = SILENT_PACKET + bytes(2000 if self._sent == 4 else 0)  # more than a datagram
        return OpusPacket(payload, self._sent * 960, self._numbers.pop(0))


async def test_numbers_that_make_no_sense_end_neither_the_call_nor_the_stream():
    # SRTP refuses a number that was used (RFC 3711, 3.3.2), and leaps of half the numbers.
    async with call() as (ours, theirs):
        await (await ours.play_packets(Counting([0, 0, 0, 1, -500, -499, 70_000, 70_001, 10**12])))
        received = theirs.stats()["inbound_audio"]["packets_received"]
        await ours.play(ToneSource(440.0))
        await hear_tone(theirs, 440)
        assert theirs.stats()["inbound_audio"]["packets_received"] > received


async def test_cancelled_packets_are_sent_no_more(tmp_path: Path):
    async with call() as (ours, _):
        playback = await ours.play_packets(OpusFile(opus_file(tmp_path / "a.ogg", 880, 0.5), loop=True))
        await until(lambda: playback.played > 0.7)  # longer than the file: it loops
        playback.cancel()
        await playback
        assert playback.done


# Packets alone


async def test_a_session_of_packets_decodes_and_encodes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    async with call(audio="packets", record=tmp_path / "call", record_received=True) as (ours, theirs):
        await theirs.play(ToneSource(440.0))
        reader = aiter(ours.packets)
        async with asyncio.timeout(DEADLINE):
            for _ in range(30):
                await anext(reader)
            await aiter(theirs.packets).__anext__()  # it says silence, which nobody encodes
        with pytest.raises(ConfigurationError, match="packets only"):
            await ours.listen()
        with pytest.raises(ConfigurationError, match="packets only"):
            _ = ours.audio
        assert ours.link._voice is None
        assert ours.link._playout is None
        stats = ours.stats()["inbound_audio"]
        assert stats["packets_received"] >= 30
        assert 0 == stats["packets_lost"]
        assert stats["bytes_received"] > 0
        assert 0 == np.abs((await anext(aiter(theirs.audio))).samples).max()
        await ours.play(ToneSource(660.0))
        await hear_tone(theirs, 660)

    written = json.loads((tmp_path / "call" / "call.json").read_text())
    assert written["audio"] is None
    assert written["received"]["file"] == "received.ogg"
    assert not list((tmp_path / "call").glob("audio.*"))


def without_opus(sdp: str) -> str:
    """The offer of a far end that has G.711 alone."""
    sdp = re.sub(r"^(m=audio \S+ \S+) .*(?=\r)", r"\1 0", sdp, flags=re.MULTILINE)
    return re.sub(r"a=(rtpmap|fmtp):(?!0 )\d+ (opus|telephone|minptime|PCMA|0-15).*\r\n", "", sdp)


async def test_a_far_end_without_opus_is_no_call_of_packets_and_other_calls_say_so():
    with pytest.raises(RemoteProtocolError, match="needs Opus"):
        async with call(without_opus, audio="packets"):
            pass
    async with call(without_opus) as (ours, _):
        for undecoded in (lambda: ours.packets, lambda: ours.pipe(ours)):
            with pytest.raises(Unsupported, match="pcmu"):
                undecoded()
        with pytest.raises(Unsupported, match="pcmu"):
            await ours.play_packets(Counting([0]))


def test_packets_that_no_protocol_carries_and_modes_that_do_not_exist_are_refused(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="audio='mp3'"):
        rtcpeer.connect("orga", "http://127.0.0.1", token="t", audio="mp3")
    with pytest.raises(ConfigurationError, match="record="):
        rtcpeer.connect("orga", "http://127.0.0.1", token="t", record_received=True)


# Pipes


@pytest.mark.parametrize("audio", ["pcm", "packets"])
async def test_a_pipe_passes_payloads_on_untouched_both_ways(audio: str):
    async with call(audio=audio) as (one, far_one), call(audio=audio) as (other, far_other):
        sent = aiter(one.packets)
        arrived = aiter(far_other.packets)
        await far_one.play(ToneSource(440.0))
        await far_other.play(ToneSource(660.0))
        pipes = one.pipe(other, both=True)
        await asyncio.gather(hear_tone(far_other, 440), hear_tone(far_one, 660))
        async with asyncio.timeout(DEADLINE):
            passed = [(await anext(sent)) for _ in range(30)]
            got = [(await anext(arrived)) for _ in range(60)]

        payloads = [packet.payload for packet in got]
        first = payloads.index(passed[10].payload)
        assert [packet.payload for packet in passed[10:]] == payloads[first : first + 20]
        assert 2 == len(pipes)
        for pipe in pipes:
            assert pipe.packets_sent > 30
            pipe.stop()
            pipe.stop()
        seen = other.stats()["outbound_audio"]["packets_sent"]
        await until(lambda: other.stats()["outbound_audio"]["packets_sent"] > seen + 5)  # silence of its own again


async def test_loss_before_a_pipe_is_loss_behind_it_and_nothing_else_is():
    # Every twentieth packet or so is lost on the way in; on the way on, nothing is.
    async with call() as (one, far_one), call() as (other, far_other):
        one.link.impair(NetworkConditions.of("loss=10%"))
        one.pipe(other)
        sent = far_one.stats()["outbound_audio"]["packets_sent"]
        before = far_other.stats()["inbound_audio"]["packets_lost"]
        reader = aiter(far_other.packets)
        await far_one.play(ToneSource(440.0))
        await until(lambda: far_one.stats()["outbound_audio"]["packets_sent"] > sent + 150)
        one_lost = one.stats()["inbound_audio"]["packets_lost"]
        await until(lambda: far_other.stats()["inbound_audio"]["packets_lost"] > before + one_lost - 3)
        far_lost = far_other.stats()["inbound_audio"]["packets_lost"] - before
        async with asyncio.timeout(DEADLINE):
            got = [await anext(reader) for _ in range(80)]

        assert one_lost > 3
        assert abs(far_lost - one.stats()["inbound_audio"]["packets_lost"]) <= 3
        gaps = [
            (b.sequence_number - a.sequence_number, b.timestamp - a.timestamp) for a, b in itertools.pairwise(got)
        ]
        assert any(step > 1 for step, _ in gaps)
        assert all(960 * step == ticks for step, ticks in gaps)


async def test_what_the_piped_session_plays_goes_first():
    async with call() as (one, far_one), call() as (other, far_other):
        await far_one.play(ToneSource(440.0))
        (pipe,) = one.pipe(other)
        await hear_tone(far_other, 440)
        announcement = await other.play(ToneSource(880.0))
        await hear_tone(far_other, 880)
        assert pipe.packets_held_back > 5
        announcement.cancel()
        await hear_tone(far_other, 440)


async def test_a_pipe_that_was_stopped_leaves_nothing_at_its_sessions():
    async with call() as (one, _), call() as (other, _):
        before = [len(each._closers) for each in (one, other)]
        for _ in range(3):
            one.pipe(other)[0].stop()

        assert before == [len(each._closers) for each in (one, other)]


async def test_a_pipe_ends_with_either_session():
    async with call() as (one, _), call() as (other, _):
        (pipe,) = one.pipe(other)
        for wrong in (lambda: one.pipe(other), lambda: one.pipe(one), lambda: other.pipe(one, both=True)):
            with pytest.raises(ConfigurationError, match="one session at a time"):
                wrong()
        await until(lambda: pipe.packets_sent > 5)
        await other.close()
        sent = pipe.packets_sent
        received = one.stats()["inbound_audio"]["packets_received"]
        await until(lambda: one.stats()["inbound_audio"]["packets_received"] > received + 5)
        assert sent == pipe.packets_sent
        with pytest.raises(rtcpeer.ConnectionLost):
            one.pipe(other)


# Somebody else's code


class Endless(PacketSource):
    """Silence, until it is told to end; closing it fails."""

    ended = False

    def __init__(self, wrong: object = None) -> None:
        self.count, self.wrong = 0, wrong

    def read(self) -> Any:
        self.count += 1
        if self.wrong is not None and self.count > 3:
            return self.wrong
        return None if self.ended else OpusPacket(SILENT_PACKET, self.count * 960, self.count)

    def close(self) -> None:
        raise RuntimeError("the user's own")


async def test_packet_source_that_cannot_be_closed_breaks_nothing_when_it_ends(caplog: pytest.LogCaptureFixture):
    async with call() as (ours, theirs):
        source = Endless()
        playback = await ours.play_packets(source)
        await until(lambda: source.count > 5)
        source.ended = True
        await asyncio.wait_for(playback, DEADLINE)
        await ours.play(ToneSource(440.0))
        await hear_tone(theirs, 440)

    assert "closing Endless failed" in caplog.text


async def test_packet_source_that_cannot_be_closed_does_not_keep_the_session_open():
    async with call() as (ours, _):
        playbacks = [await ours.play_packets(Endless()) for _ in range(2)]
        await ours.close()

    assert ours.events.closed
    assert all(playback.done for playback in playbacks)


@pytest.mark.parametrize(
    "wrong",
    [b"bytes", OpusPacket(SILENT_PACKET, "soon", 1), OpusPacket(SILENT_PACKET, 960, 1.5), OpusPacket(7, 1, 2)],
)
async def test_packet_source_that_gives_what_is_no_packet_ends_its_playback_alone(wrong: object):
    async with call() as (ours, theirs):
        playback = await ours.play_packets(Endless(wrong))
        with pytest.raises(MediaError, match=r"Endless: read\(\) returned"):
            await asyncio.wait_for(playback, DEADLINE)
        await ours.play(ToneSource(440.0))
        await hear_tone(theirs, 440)


async def test_tap_on_packets_that_fails_is_called_no_more_and_the_call_goes_on(caplog: pytest.LogCaptureFixture):
    calls: list[bool] = []

    def broken(packet: OpusPacket, is_event: bool) -> None:
        calls.append(is_event)
        raise ZeroDivisionError("the user's own")

    async with call() as (ours, theirs):
        ours.undecoded.tap(broken)
        await theirs.play(ToneSource(440.0))
        reported = await ours.wait_for(ErrorReported, timeout=DEADLINE)
        await hear_tone(ours, 440)

    assert 1 == len(calls)
    assert "tap" == reported.code
    assert "broken failed: ZeroDivisionError: the user's own" in reported.message
    assert 1 == caplog.text.count("called no more")


# Keys


async def test_keys_are_received_as_they_were_pressed_and_the_voice_goes_on():
    async with call() as (ours, theirs):
        playback = await ours.play(ToneSource(440.0))
        await ours.send_dtmf("1,5#d", duration=0.1, gap=0.06)
        await until(lambda: 4 == sum(isinstance(each.said, DtmfReceived) for each in theirs.events.entries()))
        await hear_tone(theirs, 440)
        playback.cancel()

        pressed = [each.said for each in theirs.events.entries() if isinstance(each.said, DtmfReceived)]
        stats = theirs.stats()["inbound_audio"]

    assert [DtmfReceived(digit, 0.1) for digit in "15#D"] == pressed
    assert (0, 0) == (stats["packets_lost"], stats["packets_unplayable"])


async def test_a_key_held_for_longer_than_one_packet_can_say_is_one_key():
    # 0xFFFF ticks are 1.37 s (RFC 4733, 2.5.1.3).
    async with call() as (ours, theirs):
        await ours.send_dtmf("7", duration=1.5)
        event = await theirs.wait_for(DtmfReceived, timeout=DEADLINE)
        await ours.send_dtmf("8")
        await until(lambda: 2 == sum(isinstance(each.said, DtmfReceived) for each in theirs.events.entries()))

    assert ("7", pytest.approx(1.5, abs=0.001)) == (event.digit, event.duration)


async def test_keys_pass_a_pipe():
    async with call() as (one, far_one), call() as (other, far_other):
        one.pipe(other)
        await far_one.send_dtmf("42")
        await until(lambda: 2 == sum(isinstance(each.said, DtmfReceived) for each in far_other.events.entries()))
        pressed = [each.said.digit for each in far_other.events.entries() if isinstance(each.said, DtmfReceived)]
        lost = far_other.stats()["inbound_audio"]["packets_lost"]

    assert ["4", "2"] == pressed
    assert lost <= 0


async def test_keys_beside_g711_count_at_8_khz():
    def g711_and_events(sdp: str) -> str:
        number = telephone_event_types(sdp)[8_000]
        lines = f"SAVPF 0 {number}\r\na=rtpmap:{number} telephone-event/8000\r\n"
        return without_opus(sdp).replace("SAVPF 0\r\n", lines, 1)

    async with call(g711_and_events) as (ours, theirs):
        await ours.send_dtmf("3", duration=0.2)
        event = await theirs.wait_for(DtmfReceived, timeout=DEADLINE)

    assert DtmfReceived("3", 0.2) == event


def without_events(sdp: str) -> str:
    """The answer of a far end that never heard of them."""
    for number in telephone_event_types(sdp).values():
        sdp = re.sub(rf"a=(rtpmap|fmtp):{number} .*\r\n", "", sdp)
        sdp = re.sub(rf"^(m=audio .*) {number}\b", r"\1", sdp, flags=re.MULTILINE)
    return sdp


async def test_a_far_end_without_telephone_events_is_said_so_and_hears_tones():
    async with call(without_events) as (ours, theirs):
        with pytest.raises(Unsupported, match="DtmfSource"):
            await ours.send_dtmf("1")
        await ours.play(DtmfSource("5555", duration=0.5, gap=0.03))
        heard: list[np.ndarray] = []
        async with asyncio.timeout(DEADLINE):
            async for frame in theirs.audio:
                heard = [*heard[-9:], frame.samples]
                pcm = spectrum.as_float(np.concatenate(heard))
                if all(spectrum.tone_level(pcm, 48_000, hz) > -20 for hz in (770, 1336)):
                    break


async def test_digits_that_no_telephone_has_are_refused():
    async with call() as (ours, _):
        for wrong in ({"digits": "12x"}, {"digits": "1", "duration": 0.01}, {"digits": "1", "gap": 9.0}):
            with pytest.raises(ConfigurationError):
                await ours.send_dtmf(**wrong)
        with pytest.raises(ConfigurationError, match="waiting"):
            await ours.send_dtmf("1" * 300)


async def test_closing_amid_digits_says_so():
    async with call() as (ours, _):
        sending = asyncio.create_task(ours.send_dtmf("1234567890"))
        await asyncio.sleep(0)
        await ours.close()
        with pytest.raises(rtcpeer.ConnectionLost):
            await sending
        assert isinstance(ours.events.entries()[-1].said, Closed)


# received.ogg


async def test_received_packets_are_recorded_untouched_with_their_pauses(tmp_path: Path):
    async with call(record=tmp_path / "call", record_received=True) as (ours, theirs):
        reader = aiter(ours.packets)
        await theirs.play(ToneSource(440.0))
        await hear_tone(ours, 440)
        ours.link.impair(NetworkConditions.of("loss=100%"))
        async with asyncio.timeout(DEADLINE):
            seen = [await anext(reader)]
        await asyncio.sleep(0.3)
        ours.link.impair(NetworkConditions())
        await hear_tone(ours, 440)
    seen += [packet async for packet in reader]

    written = json.loads((tmp_path / "call" / "call.json").read_text())["received"]
    path = tmp_path / "call" / written["file"]
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux() if packet.size]
    real = [bytes(packet) for packet in packets if packet.size > 1]
    assert real[-len(seen) :] == [packet.payload for packet in seen]
    assert len(packets) - len(real) >= 14  # 0.3 s that never came
    assert {960} == set(np.diff([packet.pts for packet in packets]))
    assert written["starts_at"] == pytest.approx(seen[0].t - (seen[0].timestamp / 48_000), abs=0.05)

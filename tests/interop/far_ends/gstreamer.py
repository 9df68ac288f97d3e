"""GStreamer's webrtcbin as a far end, for the system's Python, which has its bindings: README.md says what it speaks.

Its certificate is RSA. It ends a call as its users' programs do: the channel is closed, then the pipeline is.
"""

from __future__ import annotations

import cmath
import json
import math
import re
import struct
import sys
import threading
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstWebRTC", "1.0")
gi.require_version("GstSdp", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402 - versions first

LABEL = "orga-realtime-client-events"
RATE, WINDOW = 8000, 4096
"""Hz, and samples that are measured at once: half a second."""
LEVEL = 10 ** (-12 / 20)


def say(kind: str, **content: Any) -> None:
    print(json.dumps({"type": kind, **content}), flush=True)


def transform(samples: list[complex]) -> list[complex]:
    """Return the discrete Fourier transform of a power of two of samples."""
    if len(samples) == 1:
        return samples
    even, odd = transform(samples[::2]), transform(samples[1::2])
    half = len(even)
    turned = [cmath.exp(-1j * math.pi * number / half) * odd[number] for number in range(half)]
    pairs = list(zip(even, turned, strict=True))
    return [a + b for a, b in pairs] + [a - b for a, b in pairs]


def measure(samples: list[int]) -> dict[str, float]:
    """Return frequency and level of the strongest tone, and the level of everything, in dBFS."""
    windowed = [
        complex(each / 32768 * 0.5 * (1 - math.cos(2 * math.pi * number / WINDOW)))
        for number, each in enumerate(samples)
    ]
    power = [abs(each) ** 2 for each in transform(windowed)[: WINDOW // 2]]
    peak = max(range(2, WINDOW // 2 - 2), key=power.__getitem__)
    around = range(peak - 2, peak + 3)
    total = sum(power[number] for number in around)
    frequency = sum(number * power[number] for number in around) / total * RATE / WINDOW if total else 0.0
    # A Hann window spreads a sine of amplitude 1 over three bins, whose squares add up to 3/32 of the window's.
    level = total / (WINDOW**2 * 3 / 32)
    square = 2 * sum((each / 32768) ** 2 for each in samples) / WINDOW
    decibels = [10 * math.log10(each) if each > 1e-12 else -120.0 for each in (level, square)]
    return {"frequency": round(frequency, 1), "level": round(decibels[0], 2), "rms": round(decibels[1], 2)}


class Call:
    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.channel: Any = None
        self.heard: list[int] = []
        self.over = False
        self.pipeline = Gst.Pipeline.new("call")
        self.webrtc = Gst.ElementFactory.make("webrtcbin", "webrtc")
        self.webrtc.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self.webrtc.set_property("latency", 60)
        self.pipeline.add(self.webrtc)
        self.webrtc.connect("pad-added", self.on_pad)
        self.webrtc.connect("on-data-channel", lambda _, channel: self.use(channel))
        self.webrtc.connect("notify::connection-state", self.on_state)
        self.webrtc.connect("notify::ice-gathering-state", self.on_gathered)
        # It tells its user neither of DTLS's close_notify nor of SCTP's ABORT; RTCP's BYE is what it notices.
        self.webrtc.get_by_name("rtpbin").connect("on-bye-ssrc", lambda *_: self.on_closed())

    # Describing

    def answer(self, sdp: str) -> None:
        self.pipeline.set_state(Gst.State.PLAYING)
        found = re.search(r"a=rtpmap:(\d+) opus/48000", sdp, re.IGNORECASE)
        if found is None:
            raise ValueError("the offer has no Opus")
        self.set_remote(sdp, GstWebRTC.WebRTCSDPType.OFFER)
        self.sound(int(found[1]))
        self.webrtc.emit("create-answer", None, Gst.Promise.new_with_change_func(self.take, "answer"))

    def offer(self) -> None:
        self.sound(96)
        self.pipeline.set_state(Gst.State.READY)
        self.use(self.webrtc.emit("create-data-channel", LABEL, None))
        self.webrtc.connect("on-negotiation-needed", self.on_negotiation_needed)
        self.pipeline.set_state(Gst.State.PLAYING)

    def on_negotiation_needed(self, _: Any) -> None:
        self.webrtc.emit("create-offer", None, Gst.Promise.new_with_change_func(self.take, "offer"))

    def take(self, promise: Any, kind: str) -> None:
        reply = promise.get_reply()  # the description is a part of it, and goes with it
        self.webrtc.emit("set-local-description", reply.get_value(kind), Gst.Promise.new())

    def set_remote(self, sdp: str, kind: Any) -> None:
        _, message = GstSdp.SDPMessage.new_from_text(sdp)
        done = Gst.Promise.new()
        self.webrtc.emit("set-remote-description", GstWebRTC.WebRTCSessionDescription.new(kind, message), done)
        done.wait()

    def on_gathered(self, *_: Any) -> None:
        if self.webrtc.get_property("ice-gathering-state") != GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            return
        sdp = self.webrtc.get_property("local-description").sdp.as_text()
        if not self.options.get("candidates", True):
            lines = sdp.splitlines(keepends=True)
            sdp = "".join(line for line in lines if not line.startswith(("a=candidate:", "a=end-of-candidates")))
        say(self.options["role"], sdp=sdp)

    # Sound and messages

    def sound(self, payload_type: int) -> None:
        source = Gst.parse_bin_from_description(
            f"audiotestsrc is-live=true freq={self.options['tone']} volume={LEVEL:.4f} ! "
            "audio/x-raw,rate=48000,channels=1 ! audioconvert ! opusenc inband-fec=true ! "
            f'rtpopuspay pt={payload_type} ! capsfilter caps="application/x-rtp,media=audio,encoding-name=OPUS,'
            f'payload={payload_type},clock-rate=48000"',
            True,
        )
        self.pipeline.add(source)
        source.link(self.webrtc)
        source.sync_state_with_parent()

    def on_pad(self, _: Any, pad: Any) -> None:
        if pad.direction != Gst.PadDirection.SRC:
            return
        ear = Gst.parse_bin_from_description(
            "rtpopusdepay ! opusdec plc=true use-inband-fec=true ! audioconvert ! audioresample ! "
            f"capsfilter caps=audio/x-raw,format=S16LE,channels=1,rate={RATE} ! "
            "appsink name=ear emit-signals=true sync=false",
            True,
        )
        self.pipeline.add(ear)
        ear.sync_state_with_parent()
        pad.link(ear.get_static_pad("sink"))
        ear.get_by_name("ear").connect("new-sample", self.on_sample)

    def on_sample(self, sink: Any) -> Any:
        buffer = sink.emit("pull-sample").get_buffer()
        ok, mapped = buffer.map(Gst.MapFlags.READ)
        if ok:
            self.heard += struct.unpack(f"<{len(mapped.data) // 2}h", mapped.data)
            buffer.unmap(mapped)
        if len(self.heard) >= WINDOW:
            say("heard", **measure(self.heard[:WINDOW]))
            del self.heard[:WINDOW]
        return Gst.FlowReturn.OK

    def use(self, channel: Any) -> None:
        self.channel = channel
        channel.connect("on-open", lambda _: self.on_open())
        channel.connect("on-message-string", lambda _, text: say("message", text=text))
        channel.connect("on-close", lambda _: self.on_closed())
        if channel.get_property("ready-state") == GstWebRTC.WebRTCDataChannelState.OPEN:
            self.on_open()

    def on_open(self) -> None:
        say("open", label=self.channel.get_property("label"))

    # Ending

    def on_state(self, *_: Any) -> None:
        state = self.webrtc.get_property("connection-state")
        say("state", state=state.value_nick)
        over = GstWebRTC.WebRTCPeerConnectionState
        if state in (over.CLOSED, over.DISCONNECTED, over.FAILED):
            self.on_closed()

    def on_closed(self) -> None:
        if not self.over:
            self.over = True
            say("closed")

    def close(self) -> None:
        self.over = True
        if self.channel is not None:
            self.channel.emit("close")
        # The reset of its stream leaves before the pipeline is torn down.
        GLib.timeout_add(200, lambda: self.pipeline.set_state(Gst.State.NULL) and False)


def obey(call: Call, order: dict[str, Any]) -> None:
    match order["do"]:
        case "answer":
            call.answer(order["sdp"])
        case "offer":
            call.offer()
        case "accept":
            call.set_remote(order["sdp"], GstWebRTC.WebRTCSDPType.ANSWER)
        case "send":
            call.channel.emit("send-string", order["text"])
        case "close":
            call.close()


def main() -> None:
    Gst.init(None)
    loop = GLib.MainLoop()
    call = Call(json.loads(sys.argv[1]))

    def read() -> None:
        for line in sys.stdin:
            try:
                obey(call, json.loads(line))
            except Exception as exc:
                say("failed", error=f"{type(exc).__name__}: {exc}")
        loop.quit()

    threading.Thread(target=read, daemon=True).start()
    say("ready")
    loop.run()
    call.pipeline.set_state(Gst.State.NULL)


if __name__ == "__main__":
    main()

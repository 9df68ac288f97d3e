// werift (WebRTC in TypeScript) as a far end: node werift.js '{"role": "answer", "tone": 660}'
"use strict";

const { MediaStreamTrack, RTCPeerConnection } = require("werift");
const { CHANNEL, ending, obey, options, shown, tell } = require("./lines.js");
const { RtpEar, RtpTone, opusNumber } = require("./rtp_audio.js");

const pc = new RTCPeerConnection({ iceServers: options.ice_servers ?? [] }); // its default codecs: Opus, PCMU, VP8
const track = new MediaStreamTrack({ kind: "audio" });
const end = ending();
let channel;
let ear;
let tone;

pc.connectionStateChange.subscribe((state) => {
  tell("state", { state });
  if (state === "connected") begin();
  if (["closed", "failed", "disconnected"].includes(state)) over(state);
});
pc.onDataChannel.subscribe(listen);
pc.onTrack.subscribe((remote) => {
  if (remote.kind === "audio") remote.onReceiveRtp.subscribe(({ header, payload }) => hear(header.payloadType, payload));
});

function begin() {
  // The sender puts its own number and SSRC into what it is given.
  tone = new RtpTone(options.tone, opusNumber(pc.localDescription.sdp), 1, (packet) => track.writeRtp(packet));
}

function hear(payloadType, payload) {
  const number = opusNumber(pc.localDescription.sdp);
  ear ??= new RtpEar(number, (heard) => tell("heard", heard));
  if (payloadType === number && payload.length) ear.decode(payload);
}

function listen(opening) {
  channel = opening;
  channel.onMessage.subscribe((data) => tell("message", { text: data.toString() }));
  channel.stateChange.subscribe((state) => {
    if (state === "open") tell("open", { label: channel.label });
    if (state === "closed") over("channel");
  });
  if (channel.readyState === "open") tell("open", { label: channel.label });
}

function over(by) {
  tone?.stop();
  end.closed(by);
}

const gathered = () =>
  new Promise((resolve) => {
    if (pc.iceGatheringState === "complete") resolve();
    else pc.iceGatheringStateChange.subscribe((state) => state === "complete" && resolve());
  });

obey({
  async answer({ sdp }) {
    await pc.setRemoteDescription({ type: "offer", sdp });
    pc.addTrack(track);
    await pc.setLocalDescription(await pc.createAnswer());
    await gathered();
    tell("answer", { sdp: pc.localDescription.sdp });
  },
  async offer() {
    pc.addTransceiver(track, { direction: "sendrecv" });
    listen(pc.createDataChannel(CHANNEL));
    await pc.setLocalDescription(await pc.createOffer());
    await gathered();
    tell("offer", { sdp: shown(pc.localDescription.sdp) });
  },
  accept: ({ sdp }) => pc.setRemoteDescription({ type: "answer", sdp }),
  send: ({ text }) => channel.send(text),
  async close() {
    end.ours();
    tone?.stop();
    // Its pc.close() puts nothing on the wire, neither an alert nor an abort. The other side can be told of the channel's
    // end alone, and hangs up then.
    const hungUp = new Promise((resolve) => pc.connectionStateChange.subscribe((state) => state === "closed" && resolve()));
    channel.close();
    await Promise.race([hungUp, new Promise((resolve) => setTimeout(resolve, 2000))]);
    await pc.close();
  },
});

// libdatachannel (npm node-datachannel) as a far end: node node_datachannel.js '{"role": "answer", "tone": 660}'
"use strict";

const { Audio, PeerConnection, initLogger } = require("node-datachannel");
const { CHANNEL, ending, obey, options, shown, tell } = require("./lines.js");
const { RtpEar, RtpTone, opusNumber } = require("./rtp_audio.js");

const SSRC = 42;

initLogger("Error", (level, message) => process.stderr.write(`${level}: ${message}\n`));
const pc = new PeerConnection("far end", {
  iceServers: [],
  disableAutoNegotiation: true, // we say when it describes itself
});
const end = ending();
let channel;
let ear;
let tone;
let track;

pc.onStateChange((state) => {
  tell("state", { state });
  if (["closed", "failed", "disconnected"].includes(state)) over(state);
});
pc.onDataChannel(listen);
pc.onTrack((opening) => {
  if (opening.type() === "audio") talk(opening);
});

/** Send our tone on a track and hear what comes on it. */
function talk(opening) {
  track = opening;
  const number = () => opusNumber(pc.localDescription().sdp);
  const open = () => {
    tone = new RtpTone(options.tone, number(), SSRC, (packet) => track.isOpen() && track.sendMessageBinary(packet));
  };
  track.onMessage((packet) => {
    ear ??= new RtpEar(number(), (heard) => tell("heard", heard));
    ear.take(packet);
  });
  if (track.isOpen()) open();
  else track.onOpen(open);
}

function listen(opening) {
  channel = opening;
  channel.onMessage((data) => tell("message", { text: data.toString() }));
  channel.onClosed(() => over("channel"));
  const open = () => tell("open", { label: channel.getLabel() });
  if (channel.isOpen()) open();
  else channel.onOpen(open);
}

function over(by) {
  tone?.stop();
  end.closed(by);
}

/** Our description, with everything gathered. */
function described(type) {
  return new Promise((resolve) => {
    pc.onGatheringStateChange((state) => state === "complete" && resolve(pc.localDescription().sdp));
    pc.setLocalDescription(type);
  });
}

obey({
  async answer({ sdp }) {
    // A track of the offer's line that is there before it takes the number that the offer gives Opus.
    const mid = sdp.match(/^m=audio[^]*?^a=mid:(\S+)/m)[1];
    const audio = new Audio(mid, "SendRecv");
    audio.addOpusCodec(opusNumber(sdp));
    audio.addSSRC(SSRC, "far", "far", "audio");
    talk(pc.addTrack(audio));
    pc.setRemoteDescription(sdp, "offer");
    tell("answer", { sdp: await described("answer") });
  },
  async offer() {
    const audio = new Audio("audio", "SendRecv");
    audio.addOpusCodec(111);
    audio.addSSRC(SSRC, "far", "far", "audio");
    talk(pc.addTrack(audio));
    listen(pc.createDataChannel(CHANNEL));
    tell("offer", { sdp: shown(await described("offer")) });
  },
  accept: ({ sdp }) => pc.setRemoteDescription(sdp, "answer"),
  send: ({ text }) => channel.sendMessage(text),
  close() {
    end.ours();
    tone?.stop();
    pc.close();
  },
});

// libwebrtc (npm @roamhq/wrtc) as a far end: node wrtc.js '{"role": "answer", "tone": 660}'
"use strict";

const { RTCPeerConnection } = require("@roamhq/wrtc");
const { Ear, Tone, gathered } = require("../wrtc_audio.js");
const { CHANNEL, ending, obey, options, shown, tell } = require("./lines.js");

const pc = new RTCPeerConnection({ iceServers: options.ice_servers ?? [] });
const tone = new Tone(options.tone);
const end = ending();
let ear;
let channel;

pc.onconnectionstatechange = () => {
  tell("state", { state: pc.connectionState });
  if (["closed", "failed"].includes(pc.connectionState)) end.closed("connection");
};
pc.ontrack = ({ track }) => {
  if (track.kind === "audio") ear = new Ear(track, (heard) => tell("heard", heard));
};
pc.ondatachannel = (event) => listen(event.channel);

function listen(opening) {
  channel = opening;
  channel.onmessage = ({ data }) => tell("message", { text: data });
  channel.onclose = () => end.closed("channel");
  const open = () => tell("open", { label: channel.label });
  if (channel.readyState === "open") open();
  else channel.onopen = open;
}

obey({
  async answer({ sdp }) {
    await pc.setRemoteDescription({ type: "offer", sdp });
    const audio = pc.getTransceivers().find(({ receiver }) => receiver.track.kind === "audio");
    audio.direction = "sendrecv";
    await audio.sender.replaceTrack(tone.track);
    await pc.setLocalDescription(await pc.createAnswer());
    await gathered(pc);
    tell("answer", { sdp: pc.localDescription.sdp });
  },
  async offer() {
    const audio = pc.addTransceiver("audio", { direction: "sendrecv" });
    await audio.sender.replaceTrack(tone.track);
    listen(pc.createDataChannel(CHANNEL));
    await pc.setLocalDescription(await pc.createOffer());
    await gathered(pc);
    tell("offer", { sdp: shown(pc.localDescription.sdp) });
  },
  accept: ({ sdp }) => pc.setRemoteDescription({ type: "answer", sdp }),
  send: ({ text }) => channel.send(text),
  close() {
    end.ours();
    ear?.stop();
    tone.stop();
    pc.close();
  },
});

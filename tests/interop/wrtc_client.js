// A libwebrtc client of the Orga protocol, written from the vendor's public documentation: node wrtc_client.js '{…}'
// Options: base (URL), apiKey, frequency (Hz of the tone it sends), params (of the call), codec (the only one it offers
//   for audio, such as PCMU).
// stdout: one JSON object a line: session, state, message (of the channel), heard, failed.
// stdin: {"do": "send", "message": …} on the channel, {"do": "mute"} and {"do": "unmute"} take the track away and give it
//   back, {"do": "stop"} closes the call; end of file ends the process.
"use strict";

const { RTCPeerConnection } = require("@roamhq/wrtc");
const { Ear, Tone, gathered, listenToParent, tell } = require("./wrtc_audio.js");

const { base, apiKey, frequency, params = {}, codec } = JSON.parse(process.argv[2]);

async function request(method, route, credential, body) {
  const response = await fetch(`${base}/v1/realtime/${route}`, {
    method,
    headers: { Authorization: `Bearer ${credential}`, "Content-Type": "application/json" },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(10_000),
  });
  if (!response.ok) throw new Error(`${route}: ${response.status} ${await response.text()}`);
  return response.json();
}

function withoutOtherCodecs(sdp) {
  if (!codec) return sdp;
  const [, kept] = sdp.match(new RegExp(`^a=rtpmap:(\\d+) ${codec}/`, "im"));
  let audio = false;
  return sdp
    .split("\r\n")
    .filter((line) => {
      if (line.startsWith("m=")) audio = line.startsWith("m=audio ");
      const [, format] = line.match(/^a=(?:rtpmap|fmtp|rtcp-fb):(\d+) /) ?? [];
      return !audio || format === undefined || format === kept;
    })
    .map((line) => line.replace(/^(m=audio \d+ \S+) .*/, `$1 ${kept}`))
    .join("\r\n");
}

async function main() {
  const secrets = await request("POST", "client-secrets", apiKey);
  const { iceServers } = await request("GET", "ice-config", secrets.ephemeral_token);

  const pc = new RTCPeerConnection({ iceServers });
  const tone = new Tone(frequency);
  let ear;
  pc.onconnectionstatechange = () => tell("state", { state: pc.connectionState });
  pc.ontrack = ({ track }) => {
    if (track.kind === "audio") ear = new Ear(track, (heard) => tell("heard", heard));
  };
  const audio = pc.addTransceiver("audio", { direction: "sendrecv" });
  pc.addTransceiver("video", { direction: "sendonly" });
  await audio.sender.replaceTrack(tone.track);
  const channel = pc.createDataChannel("orga-realtime-client-events");
  channel.onopen = () => tell("open");
  channel.onclose = () => tell("channel-closed");
  channel.onmessage = ({ data }) => tell("message", { message: JSON.parse(data) });

  const candidates = [];
  pc.onicecandidate = ({ candidate }) => {
    if (candidate?.candidate) {
      const { candidate: line, sdpMid, sdpMLineIndex } = candidate;
      candidates.push({ candidate: line, sdpMid, sdpMLineIndex });
    }
  };
  await pc.setLocalDescription(await pc.createOffer());
  await gathered(pc);
  const { sdp, type } = pc.localDescription;
  const { conversation_id, answer } = await request("POST", "calls", secrets.ephemeral_token, {
    offer: { sdp: withoutOtherCodecs(sdp), type, candidates },
    params: {
      voice: "alloy",
      model: "orga-1-beta",
      temperature: 0.5,
      return_transcription: false,
      instructions: null,
      modalities: ["audio", "video"],
      history: true,
      ...params,
    },
  });
  await pc.setRemoteDescription(answer);
  tell("session", { conversation_id });

  listenToParent((order) => {
    if (order.do === "send") channel.send(JSON.stringify(order.message));
    if (order.do === "mute") audio.sender.replaceTrack(null);
    if (order.do === "unmute") audio.sender.replaceTrack(tone.track);
    if (order.do === "stop") {
      ear?.stop();
      tone.stop();
      channel.close();
      pc.close();
      tell("stopped");
    }
  });
}

main().catch((error) => {
  tell("failed", { error: String(error) });
  process.exit(1);
});

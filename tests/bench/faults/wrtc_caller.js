// libwebrtc (npm @roamhq/wrtc) as the caller; orders as in caller.py.
"use strict";

const path = require("node:path");
const parts = path.join(__dirname, "../../interop");
const wrtc = require(require.resolve("@roamhq/wrtc", { paths: [parts] }));
const { Tone, gathered, listenToParent, tell } = require(path.join(parts, "wrtc_audio.js"));

const AUDIBLE = 328; // as in ear.py
const GAP = 0.5; // seconds
const PARAMS = {
  voice: "alloy",
  model: "orga-1-beta",
  temperature: 0.5,
  return_transcription: false,
  instructions: null,
  modalities: ["audio", "video"],
  history: true,
};
const now = () => Number(process.hrtime.bigint()) / 1e9; // the monotonic clock, as Python has it
let pc, tone, sink;

async function call({ url, key, policy = "all" }) {
  const phases = {};
  let last = now();
  const done = (phase) => ([phases[phase], last] = [now() - last, now()]);

  async function request(method, route, bearer, body) {
    const response = await fetch(`${url}/v1/realtime/${route}`, {
      method,
      headers: { Authorization: `Bearer ${bearer}`, "Content-Type": "application/json" },
      body: body && JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${route}: ${response.status} ${await response.text()}`);
    return response.json();
  }

  tell("began", { t: last });
  const { ephemeral_token } = await request("POST", "client-secrets", key);
  done("token");
  const { iceServers } = await request("GET", "ice-config", ephemeral_token);
  done("ice-config");
  const ours = new wrtc.RTCPeerConnection({ iceServers, iceTransportPolicy: policy, bundlePolicy: "max-bundle" });
  pc = ours;
  pc.onconnectionstatechange = () => {
    tell("told", { t: now(), what: `connectionState ${ours.connectionState}` });
    if (ours.connectionState === "connected") {
      done("transport");
      tell("phases", { phases });
    }
  };
  pc.ontrack = ({ track }) => {
    let heard;
    sink = new wrtc.nonstandard.RTCAudioSink(track);
    sink.ondata = ({ samples }) => {
      if (!samples.some((sample) => Math.abs(sample) >= AUDIBLE)) return;
      const t = now();
      const gap = heard === undefined ? null : t - heard;
      heard = t;
      if (gap === null || gap > GAP) tell("sound", { t, gap });
    };
  };
  tone = new Tone(770);
  await pc.addTransceiver("audio", { direction: "sendrecv" }).sender.replaceTrack(tone.track);
  pc.createDataChannel("orga-realtime-client-events");
  await pc.setLocalDescription(await pc.createOffer());
  await gathered(pc); // the service takes one offer with everything in it
  done("gathering");
  const { sdp, type } = pc.localDescription;
  const body = { offer: { sdp, type, candidates: [] }, params: PARAMS };
  const { answer } = await request("POST", "calls", ephemeral_token, body);
  done("signaling");
  await pc.setRemoteDescription(answer);
}

const actions = {
  call: (order) => void call(order).catch((error) => tell("ended", { t: now(), error: String(error) })),
  hangup() {
    sink?.stop();
    tone?.stop();
    pc?.close();
    pc = tone = sink = undefined;
    tell("hungup");
  },
  stop() {
    tell("stopped");
    process.exit(0);
  },
};

listenToParent((order) => actions[order.do](order));
tell("ready");

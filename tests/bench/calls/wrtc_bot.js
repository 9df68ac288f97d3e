// libwebrtc (npm @roamhq/wrtc) as the system under test: PCM goes out, what comes is decoded and read.
// node wrtc_bot.js SPEECH: raw 48 kHz mono samples; orders as in quality/orders.py.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const parts = path.join(__dirname, "../../interop");
const wrtc = require(require.resolve("@roamhq/wrtc", { paths: [parts] }));
const { gathered, listenToParent, tell } = require(path.join(parts, "wrtc_audio.js"));

const SAMPLE_RATE = 48_000;
const BLOCK = SAMPLE_RATE / 100; // RTCAudioSource takes 10 ms at a time
const FORMAT = { sampleRate: SAMPLE_RATE, bitsPerSample: 16, channelCount: 1, numberOfFrames: BLOCK };
const bytes = fs.readFileSync(process.argv[2]);
const pcm = new Int16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
const calls = [];
let heard = 0; // samples

const started = process.hrtime.bigint();
let given = 0; // blocks; one timer for all calls is the cheapest way

/** Hand out what is due, and come back for the next: an interval of 10 ms would drift and then give two at once. */
function feed() {
  const passed = Number(process.hrtime.bigint() - started) / 1e6; // ms
  for (; given * 10 <= passed; given++) {
    for (const call of calls) {
      // It wants a buffer of its own.
      call.source.onData({ samples: pcm.slice(call.at, call.at + BLOCK), ...FORMAT });
      call.at = (call.at + BLOCK) % pcm.length;
    }
  }
  setTimeout(feed, given * 10 - passed);
}
feed();

const actions = {
  async answer({ sdp, begin }) {
    const pc = new wrtc.RTCPeerConnection({ iceServers: [], bundlePolicy: "max-bundle" });
    const call = { pc, source: new wrtc.nonstandard.RTCAudioSource(), at: (begin * 960) % pcm.length };
    pc.ontrack = ({ track }) => {
      call.sink = new wrtc.nonstandard.RTCAudioSink(track);
      call.sink.ondata = ({ samples, channelCount }) => (heard += samples.length / channelCount);
    };
    await pc.setRemoteDescription({ type: "offer", sdp });
    const [line] = pc.getTransceivers();
    line.direction = "sendrecv";
    await line.sender.replaceTrack(call.source.createTrack());
    await pc.setLocalDescription(await pc.createAnswer());
    await gathered(pc);
    calls.push(call);
    tell("answer", { sdp: pc.localDescription.sdp });
  },

  stats: () => tell("stats", { heard: Math.round(heard / 960) }),
};

listenToParent((order) =>
  Promise.resolve(actions[order.do](order)).catch((error) => tell("failed", { error: String(error?.stack ?? error) })),
);
tell("ready");

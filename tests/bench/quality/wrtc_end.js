// libwebrtc (npm @roamhq/wrtc) as one end of a measured call: node wrtc_end.js receive|send FILE; orders as in orders.py,
// the form of the recording as in recording.py.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const parts = path.join(__dirname, "../../interop");
const wrtc = require(require.resolve("@roamhq/wrtc", { paths: [parts] }));
const { gathered, listenToParent, tell } = require(path.join(parts, "wrtc_audio.js"));

const SAMPLE_RATE = 48_000;
const BLOCK = SAMPLE_RATE / 100; // RTCAudioSource takes 10 ms at a time
const [role, file] = process.argv.slice(2);

const pc = new wrtc.RTCPeerConnection({ iceServers: [], bundlePolicy: "max-bundle" });
const recorded = []; // Buffers: a disk must not disturb what is measured
let sink, sounding;

pc.onconnectionstatechange = () => pc.connectionState === "connected" && tell("connected");
pc.ontrack = ({ track }) => {
  if (role !== "receive" || track.kind !== "audio") return;
  sink = new wrtc.nonstandard.RTCAudioSink(track);
  sink.ondata = ({ samples, sampleRate, channelCount }) => {
    const head = Buffer.alloc(20);
    head.writeBigInt64LE(process.hrtime.bigint());
    head.writeInt32LE(sampleRate, 8);
    head.writeInt32LE(channelCount, 12);
    head.writeInt32LE(samples.length / channelCount, 16);
    recorded.push(head, Buffer.from(Int16Array.from(samples).buffer));
  };
};

/** Speech from a file of raw samples, 10 ms at a time, silence before and after; sent from the start. */
class Voice {
  constructor() {
    this.source = new wrtc.nonstandard.RTCAudioSource();
    this.track = this.source.createTrack();
    const bytes = fs.readFileSync(file);
    this.pcm = new Int16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
    this.spoken = -1; // samples; below 0: not yet
    const started = process.hrtime.bigint();
    let given = 0; // samples
    this.timer = setInterval(() => {
      const due = Number((process.hrtime.bigint() - started) / 10_000_000n) * BLOCK;
      for (; given < due; given += BLOCK) {
        const samples = new Int16Array(BLOCK);
        if (this.spoken >= 0) {
          samples.set(this.pcm.subarray(this.spoken, this.spoken + BLOCK));
          this.spoken += BLOCK;
        }
        const format = { sampleRate: SAMPLE_RATE, bitsPerSample: 16, channelCount: 1, numberOfFrames: BLOCK };
        this.source.onData({ samples, ...format });
      }
    }, 10);
  }
}

const actions = {
  async offer() {
    pc.addTransceiver("audio", { direction: "recvonly" });
    // rtcpeer's session is up when its channel is.
    pc.createDataChannel("orga-realtime-client-events");
    await pc.setLocalDescription(await pc.createOffer());
    await gathered(pc);
    tell("offer", { sdp: pc.localDescription.sdp });
  },

  accept: ({ sdp }) => pc.setRemoteDescription({ type: "answer", sdp }),

  async answer({ sdp }) {
    await pc.setRemoteDescription({ type: "offer", sdp });
    if (role === "send") {
      const [line] = pc.getTransceivers();
      line.direction = "sendonly";
      sounding = new Voice();
      await line.sender.replaceTrack(sounding.track);
    }
    await pc.setLocalDescription(await pc.createAnswer());
    await gathered(pc);
    tell("answer", { sdp: pc.localDescription.sdp });
  },

  async speak() {
    sounding.spoken = 0;
    tell("speaking", { t: Number(process.hrtime.bigint()) });
  },

  async stats() {
    for (const own of (await pc.getStats()).values()) {
      if (own.type === "inbound-rtp" && own.kind === "audio") {
        tell("stats", {
          total: own.totalSamplesReceived,
          concealed: own.concealedSamples,
          bytes: own.bytesReceived, // payload only
          own,
        });
        return;
      }
    }
    tell("stats", { total: null, concealed: null });
  },

  async stop() {
    sink?.stop();
    clearInterval(sounding?.timer);
    if (role === "receive") fs.writeFileSync(file, Buffer.concat(recorded));
    tell("stopped");
    process.exit(0); // the native threads would keep it alive
  },
};

listenToParent((order) =>
  Promise.resolve(actions[order.do](order)).catch((error) => tell("failed", { error: String(error?.stack ?? error) })),
);
tell("ready");

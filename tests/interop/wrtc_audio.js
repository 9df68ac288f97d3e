// Media in and out of @roamhq/wrtc (libwebrtc), shared by wrtc_client.js and wrtc_server.js.
"use strict";

const {
  nonstandard: { RTCAudioSink, RTCAudioSource, RTCVideoSink },
} = require("@roamhq/wrtc");
const { measure } = require("./measure.js");

const SAMPLE_RATE = 48_000;
const BLOCK = SAMPLE_RATE / 100; // RTCAudioSource takes 10 ms at a time
const WINDOW = SAMPLE_RATE / 2; // samples that a measurement looks at

/** A sine as a MediaStreamTrack; `level` in dBFS. */
class Tone {
  constructor(frequency, level = -12) {
    this.source = new RTCAudioSource();
    this.track = this.source.createTrack();
    const amplitude = 32767 * 10 ** (level / 20);
    const started = process.hrtime.bigint();
    let sent = 0; // samples
    // Timers are late; what is due is counted from the start, so that the tone has no holes.
    this.timer = setInterval(() => {
      const due = Number((process.hrtime.bigint() - started) / 10_000_000n) * BLOCK;
      while (sent < due) {
        const samples = new Int16Array(BLOCK);
        for (let i = 0; i < BLOCK; i++, sent++) {
          samples[i] = Math.round(amplitude * Math.sin((2 * Math.PI * frequency * sent) / SAMPLE_RATE));
        }
        this.source.onData({
          samples,
          sampleRate: SAMPLE_RATE,
          bitsPerSample: 16,
          channelCount: 1,
          numberOfFrames: BLOCK,
        });
      }
    }, 10);
  }

  stop() {
    clearInterval(this.timer);
    this.track.stop();
  }
}

/** Listens to a remote track and reports its spectrum, half a second at a time. */
class Ear {
  constructor(track, onHeard) {
    this.sink = new RTCAudioSink(track);
    let window = [];
    this.sink.ondata = ({ samples, sampleRate, channelCount }) => {
      for (let i = 0; i < samples.length; i += channelCount) window.push(samples[i] / 32768);
      if (window.length >= (WINDOW / SAMPLE_RATE) * sampleRate) {
        onHeard(measure(window, sampleRate));
        window = [];
      }
    };
  }

  stop() {
    this.sink.stop();
  }
}

/** Watches a remote track and reports each frame that was decoded. */
class Eye {
  constructor(track, onSeen) {
    this.sink = new RTCVideoSink(track);
    this.sink.onframe = ({ frame: { width, height, data } }) => {
      const luma = data.subarray(0, width * height); // I420
      onSeen({ width, height, darkest: min(luma), brightest: max(luma) });
    };
  }

  stop() {
    this.sink.stop();
  }
}

const min = (samples) => samples.reduce((least, sample) => Math.min(least, sample), 255);
const max = (samples) => samples.reduce((most, sample) => Math.max(most, sample), 0);

/** One line of JSON on stdout, for the test that started us. */
const tell = (type, rest = {}) => process.stdout.write(`${JSON.stringify({ type, ...rest })}\n`);

/** Calls `obey` with each line of JSON on stdin; its end means that the test is gone, and so are we. */
function listenToParent(obey) {
  const lines = require("node:readline").createInterface({ input: process.stdin });
  lines.on("line", (line) => obey(JSON.parse(line)));
  lines.on("close", () => process.exit(0));
}

/** Resolves once all candidates are in the local description. */
const gathered = (pc) =>
  new Promise((resolve) => {
    const check = () => pc.iceGatheringState === "complete" && resolve();
    pc.onicegatheringstatechange = check;
    check();
  });

module.exports = { Ear, Eye, Tone, gathered, listenToParent, tell };

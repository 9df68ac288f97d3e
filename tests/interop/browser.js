// What a browser supplies to the vendors' examples, for Node: WebSocket (npm ws), an AudioContext whose clock is real and
// whose speaker is a list, a microphone that hears a tone and then silence, and a console whose lines are reported.
// stdout: one JSON object a line: log (what the page wrote to its console), closed (code), played, failed.
// stdin: {"do": "played"} reports what was played so far, {"do": "stop"} runs what the page does at its end; end of file
//   ends the process.
"use strict";

const readline = require("node:readline");
const WebSocket = require("ws");

function tell(type, content = {}) {
  process.stdout.write(`${JSON.stringify({ type, ...content })}\n`);
}

/** The socket a page opens; its close is reported. */
class PageSocket extends WebSocket {
  constructor(...args) {
    super(...args);
    this.addEventListener("close", ({ code, reason }) => tell("closed", { code, reason }));
  }
}

/** Web Audio, as far as a page needs it to play buffers: each is noted with the time it begins. */
class AudioContext {
  static played = []; // [seconds on the context's clock, Float32Array], in the order of start()

  constructor({ sampleRate = 48_000 } = {}) {
    this.sampleRate = sampleRate;
    this.destination = {};
    this.born = performance.now();
    this.playing = new Set();
  }

  get currentTime() {
    return (performance.now() - this.born) / 1000;
  }

  createBuffer(channels, length, sampleRate) {
    const data = Array.from({ length: channels }, () => new Float32Array(length));
    return { length, sampleRate, duration: length / sampleRate, getChannelData: (channel) => data[channel] };
  }

  createBufferSource() {
    const context = this;
    return {
      buffer: null,
      onended: null,
      connect() {},
      start(when = 0) {
        const now = context.currentTime;
        const begins = Math.max(when, now);
        AudioContext.played.push([begins, this.buffer.getChannelData(0)]);
        const timer = setTimeout(() => {
          context.playing.delete(timer);
          this.onended?.();
        }, (begins + this.buffer.duration - now) * 1000);
        context.playing.add(timer);
      },
    };
  }

  close() {
    for (const timer of this.playing) clearTimeout(timer);
  }
}

/** Calls back with 20 ms of PCM16 every 20 ms: a tone of so many seconds, then silence. */
class Microphone {
  constructor(sampleRate, { frequency, seconds }, callback) {
    const samples = sampleRate / 50;
    const started = performance.now();
    let sent = 0;
    this.timer = setInterval(() => {
      // Timers are late; what is due is counted from the start.
      while (sent * 20 < performance.now() - started) {
        const frame = new Int16Array(samples);
        for (let i = 0; i < samples; i++) {
          const at = sent * samples + i;
          if (at < seconds * sampleRate) frame[i] = Math.round(10_000 * Math.sin((2 * Math.PI * frequency * at) / sampleRate));
        }
        sent++;
        callback(Buffer.from(frame.buffer));
      }
    }, 10);
  }

  stop() {
    clearInterval(this.timer);
  }
}

const page = {
  tell,
  options: JSON.parse(process.argv[2]),
  console: { log: (...words) => tell("log", { text: words.join(" ") }) },
  window: { AudioContext, atob },
  WebSocket: PageSocket,
  AudioContext,
  Microphone,
  /** Obey the test: `stop` is what the page does at its end. */
  listen(stop) {
    const lines = readline.createInterface({ input: process.stdin });
    lines.on("line", (line) => {
      const { do: order } = JSON.parse(line);
      if (order === "stop") stop();
      if (order === "played") {
        const at = AudioContext.played.map(([when]) => when);
        const parts = AudioContext.played.map(([, samples]) => Buffer.from(Int16Array.from(samples, (x) => x * 32768).buffer));
        tell("played", { at, lengths: parts.map((part) => part.length / 2), pcm: Buffer.concat(parts).toString("base64") });
      }
    });
    lines.on("close", () => process.exit(0));
  },
};

process.on("unhandledRejection", (error) => {
  tell("failed", { error: String(error) });
  process.exit(1);
});

module.exports = page;

// Orgo's client as its documentation has it (docs.orgo.ai, "Audio Streaming", Examples), against the mock.
// node orgo_client.mjs '{…}'; options: base (URL), apiKey, computer, seconds. stdout: one JSON object: what it made of
// the stream. Changed of the example: host and key, and what a browser would supply, which comes first.
import WebSocketOfNode from "ws";

const { base, apiKey: key, computer, seconds } = JSON.parse(process.argv[2]);

// A browser's part: WebSocket with a binaryType of "arraybuffer" is `ws`'s too; Web Audio is only written down.
const WebSocket = WebSocketOfNode;
const scheduled = [];
const started = [];
class AudioContext {
  constructor({ sampleRate }) {
    this.sampleRate = sampleRate;
    this.destination = {};
    this.began = performance.now();
  }
  get currentTime() {
    return (performance.now() - this.began) / 1000;
  }
  createBuffer(channels, length, rate) {
    const data = new Float32Array(length);
    return { duration: length / rate, data, getChannelData: () => ({ set: (floats) => data.set(floats) }) };
  }
  createBufferSource() {
    return {
      connect: () => {},
      start(at) {
        scheduled.push({ at, duration: this.buffer.duration, data: this.buffer.data });
      },
    };
  }
}
const console = { log: (line) => started.push(line) };
process.env.ORGO_API_KEY = key;

// From here on, the example.
const computerId = computer;
const apiKey = process.env.ORGO_API_KEY;

// Step 1: Get the computer password
const res = await fetch(
  `${base}/api/computers/${computerId}/vnc-password`,
  { headers: { 'Authorization': `Bearer ${apiKey}` } }
);
const { password } = await res.json();

// Step 2: Connect to audio stream
const ws = new WebSocket(
  `${base.replace('http', 'ws')}/audio?token=${password}`
);
ws.binaryType = 'arraybuffer';

// Step 3: Set up Web Audio API playback
const ctx = new AudioContext({ sampleRate: 24000 });
let nextPlayTime = 0;

ws.onmessage = (event) => {
  // Text frames are JSON control messages
  if (typeof event.data === 'string') {
    const msg = JSON.parse(event.data);
    if (msg.type === 'started') {
      console.log(`Audio stream: ${msg.sample_rate}Hz, ${msg.channels}ch`);
    }
    return;
  }

  // Binary frames are raw PCM audio
  const pcm = new Int16Array(event.data);
  const floats = new Float32Array(pcm.length);
  for (let i = 0; i < pcm.length; i++) {
    floats[i] = pcm[i] / 32768;
  }

  const buffer = ctx.createBuffer(1, floats.length, 24000);
  buffer.getChannelData(0).set(floats);

  const source = ctx.createBufferSource();
  source.buffer = buffer;
  source.connect(ctx.destination);

  // Schedule with drift correction
  const now = ctx.currentTime;
  if (nextPlayTime < now || nextPlayTime > now + 0.15) {
    nextPlayTime = now + 0.02;
  }
  source.start(nextPlayTime);
  nextPlayTime += buffer.duration;
};
// To here. Then the messages that the page describes without an example.

ws.onopen = () => setTimeout(() => ws.send(JSON.stringify({ type: "ping" })), 500);
const answers = [];
ws.addEventListener("message", ({ data }) => typeof data === "string" && answers.push(JSON.parse(data).type));
setTimeout(() => ws.send(JSON.stringify({ type: "stop" })), seconds * 1000);
ws.onclose = ({ code }) => {
  const pcm = Int16Array.from(scheduled.flatMap(({ data }) => Array.from(data, (value) => value * 32768)));
  const restarts = scheduled.filter(({ at }, i) => i && Math.abs(at - scheduled[i - 1].at - scheduled[i - 1].duration) > 1e-6);
  process.stdout.write(
    JSON.stringify({
      type: "listened", code, answers, started,
      frames: [...new Set(scheduled.map(({ data }) => data.length))],
      seconds: scheduled.reduce((sum, { duration }) => sum + duration, 0),
      restarts: restarts.length,
      pcm: Buffer.from(pcm.buffer).toString("base64"),
    }) + "\n",
  );
};

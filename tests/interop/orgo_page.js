// Orgo docs, "Audio Streaming", Examples: run against the mock with host and key changed, and nothing else.
"use strict";

const { options, console, WebSocket, AudioContext, listen } = require("./browser.js");

async function main() {
  const computerId = options.computerId;
  const apiKey = options.apiKey;

  // Step 1: Get the computer password
  const res = await fetch(`${options.base}/api/computers/${computerId}/vnc-password`, {
    headers: { Authorization: `Bearer ${apiKey}` },
  });
  const { password } = await res.json();

  // Step 2: Connect to audio stream
  const ws = new WebSocket(`${options.base.replace("http", "ws")}/audio?token=${password}`);
  ws.binaryType = "arraybuffer";

  // Step 3: Set up Web Audio API playback
  const ctx = new AudioContext({ sampleRate: 24000 });
  let nextPlayTime = 0;

  ws.onmessage = (event) => {
    // Text frames are JSON control messages
    if (typeof event.data === "string") {
      const msg = JSON.parse(event.data);
      if (msg.type === "started") {
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

  // The page's own words: "Stop audio capture and close the connection."
  listen(() => ws.send(JSON.stringify({ type: "stop" })));
}

main();

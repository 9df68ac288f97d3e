// Orbitali Docs, "Browser Voice Sessions", Code Example: backend route and frontend controller, run against the mock with
// host and key changed, the TypeScript's types left out, and the body of startMicrophoneCapture, which is the reader's.
"use strict";

const { options, console, window, WebSocket, AudioContext, Microphone, listen } = require("./browser.js");

// What Next.js supplies: the response, and the route under its own origin.

const NextResponse = { json: (content, init) => Response.json(content, init) };
const fetchAbroad = globalThis.fetch;
const fetch = (url, init) => (url === "/api/voice-token" ? POST() : fetchAbroad(url, init));

process.env.ORBITALI_AGENT_ID = options.agentId;
process.env.ORBITALI_API_KEY = options.apiKey;

// app/api/voice-token/route.ts

async function POST() {
  const agentId = process.env.ORBITALI_AGENT_ID;
  const apiKey = process.env.ORBITALI_API_KEY;

  if (!agentId || !apiKey) {
    return NextResponse.json({ error: "Configuration missing" }, { status: 500 });
  }

  try {
    const res = await fetch(`${options.base}/public/v1/agents/${agentId}/realtime-sessions`, {
      method: "POST",
      headers: {
        Authorization: `Bearer ${apiKey}`,
        "Content-Type": "application/json",
      },
    });

    if (!res.ok) {
      const errText = await res.text();
      return NextResponse.json({ error: `Orbitali error: ${errText}` }, { status: res.status });
    }

    const data = await res.json();
    return NextResponse.json(data);
  } catch (err) {
    return NextResponse.json({ error: err.message }, { status: 500 });
  }
}

// The frontend controller

class OrbitaliVoiceConnection {
  ws = null;
  audioQueue = [];
  isPlaying = false;
  audioContext = null;

  async startSession() {
    // 1. Get ephemeral token
    const res = await fetch("/api/voice-token", { method: "POST" });
    const { websocketUrl } = await res.json();

    // 2. Connect WebSocket
    this.ws = new WebSocket(websocketUrl);
    this.audioContext = new (window.AudioContext || window.webkitAudioContext)();

    this.ws.onmessage = async (event) => {
      const msg = JSON.parse(event.data);

      switch (msg.type) {
        case "session.started":
          console.log(`Voice session started: ${msg.callId}`);
          this.startMicrophoneCapture();
          break;

        case "output_audio":
          this.queueAudio(msg.audio);
          break;

        case "clear":
          console.log("User interrupted the agent. Clearing audio buffer.");
          this.clearAudioBuffer();
          break;

        case "transcript":
          console.log(`[${msg.role}]: ${msg.text}`);
          break;
      }
    };
  }

  queueAudio(base64Pcm16) {
    this.audioQueue.push(base64Pcm16);
    if (!this.isPlaying) {
      this.playNextChunk();
    }
  }

  clearAudioBuffer() {
    this.audioQueue = [];
    this.isPlaying = false;
    // Implementation note: Stop current audio source node playback here
  }

  async playNextChunk() {
    if (this.audioQueue.length === 0) {
      this.isPlaying = false;
      return;
    }

    this.isPlaying = true;
    const base64Data = this.audioQueue.shift();
    const pcmData = this.base64ToPCM16(base64Data);

    // Convert PCM16 mono 24kHz buffer to Float32 for Web Audio API playback
    const audioBuffer = this.audioContext.createBuffer(1, pcmData.length, 24000);
    const channelData = audioBuffer.getChannelData(0);
    for (let i = 0; i < pcmData.length; i++) {
      channelData[i] = pcmData[i] / 32768.0;
    }

    const source = this.audioContext.createBufferSource();
    source.buffer = audioBuffer;
    source.connect(this.audioContext.destination);
    source.onended = () => this.playNextChunk();
    source.start();
  }

  base64ToPCM16(base64) {
    const raw = window.atob(base64);
    const buffer = new ArrayBuffer(raw.length);
    const view = new DataView(buffer);
    for (let i = 0; i < raw.length; i++) {
      view.setUint8(i, raw.charCodeAt(i));
    }
    return new Int16Array(buffer);
  }

  startMicrophoneCapture() {
    // Record user microphone at 16kHz mono and send PCM16 base64 chunks
    this.microphone = new Microphone(16_000, options.speech, (pcm) => {
      if (this.ws.readyState === WebSocket.OPEN) {
        this.ws.send(JSON.stringify({ type: "input_audio", audio: pcm.toString("base64") }));
      }
    });
  }

  stopSession() {
    if (this.ws) {
      this.ws.send(JSON.stringify({ type: "stop" }));
      this.ws.close();
    }
    if (this.audioContext) {
      this.audioContext.close();
    }
  }
}

const connection = new OrbitaliVoiceConnection();
connection.startSession();
listen(() => {
  connection.microphone.stop();
  connection.stopSession();
});

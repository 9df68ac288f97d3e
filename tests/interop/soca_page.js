// Soca docs, "Voice WebSocket", Complete Example and Barge-in Control: run against the mock with host and token changed,
// the microphone, and the body of handleAudioChunk, which the example leaves out. A sentence's pieces are each decoded
// from base64 and joined then, since each may end in padding; it is reported once its last chunk is there.
"use strict";

const { options, tell, console, WebSocket, Microphone, listen } = require("./browser.js");

const audioPlayers = new Map();
let currentSeq = 0;
let microphone;

function stopAllAudio(beforeSeq) {
  audioPlayers.forEach((player, key) => {
    const [seq] = key.split("_");
    if (parseInt(seq) < beforeSeq) {
      player.audio.pause();
      player.audio.currentTime = 0;
      audioPlayers.delete(key);
    }
  });
}

function handleBarge(seq) {
  stopAllAudio(seq);
  console.log("Barge:", seq);
}

function handleAudioChunk(msg) {
  const key = `${msg.seq}_${msg.sentenceId}`;
  if (msg.seq < currentSeq) return;
  if (!audioPlayers.has(key)) {
    const audio = { currentTime: 0, pause: () => tell("paused", { key }) };
    audioPlayers.set(key, { audio, pieces: [], words: msg.contentStep });
  }
  const player = audioPlayers.get(key);
  if (msg.audioBase64) player.pieces.push(Buffer.from(msg.audioBase64, "base64"));
  if (msg.isLastChunk) {
    tell("sentence", { seq: msg.seq, words: player.words, mime: "audio/mp3", mp3: Buffer.concat(player.pieces).toString("base64") });
  }
}

const ws = new WebSocket(`${options.base.replace("http", "ws")}/chat/agent/voice-ws`);
ws.binaryType = "arraybuffer";

ws.onopen = () => {
  // Send start message
  ws.send(
    JSON.stringify({
      type: "start",
      token: options.token,
      session_id: `sess_${Date.now()}`,
      agent_id: null,
      lang: "id",
      sr: 16000,
    }),
  );
};

ws.onmessage = (e) => {
  const msg = JSON.parse(e.data);

  // When receiving any message
  if (msg.seq && msg.seq > currentSeq) {
    // Stop all old audio
    stopAllAudio(currentSeq);
    currentSeq = msg.seq;
  }

  // Handle different message types
  switch (msg.type) {
    case "stt.partial":
      console.log("Partial:", msg.text);
      break;

    case "stt.final":
      console.log("Final:", msg.text);
      break;

    case "barge":
      handleBarge(msg.seq);
      break;

    // Quick Start: 3. Ready Signal, 4. Stream Audio
    case "stt.ready":
      microphone = new Microphone(16_000, options.speech, (pcm) => {
        if (ws.readyState === WebSocket.OPEN) ws.send(pcm);
      });
      break;

    case "error":
      console.log("Error:", msg.message);
      break;
  }

  // Handle audio chunks
  if (msg.stepType === "sentence") {
    handleAudioChunk(msg);
  }
};

listen(() => {
  microphone?.stop();
  ws.close(1000);
});

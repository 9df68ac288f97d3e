// A browser's side of an Orga call, written from the vendor's public documentation and Apache-2.0 SDK
// (github.com/OrgaAI/orga-ai-sdk-monorepo): the same operations in the same order, without the SDK.
"use strict";

const CHANNEL = "orga-realtime-client-events";
const GATHERING_CAP = 5_000; // ms; the SDK posts whatever it has by then
const REQUEST_TIMEOUT = 10_000; // ms; the SDK's own for the calls route
const FFT_SIZE = 16_384; // 2.9 Hz a line at 48 kHz
const FULL_SCALE = 13.5; // dB that Web Audio's Blackman window and one-sided spectrum take off a sine

class OrgaCall {
  /**
   * @param {{base: string, sessionConfig?: string, apiKey?: string, params?: object}} options
   *   sessionConfig is the URL of a backend that answers {ephemeralToken, iceServers}; without it the page plays the
   *   backend too, with the API key (never do that outside a test).
   */
  constructor({ base, sessionConfig, apiKey, params = {} }) {
    this.base = base;
    this.sessionConfig = sessionConfig;
    this.apiKey = apiKey;
    this.params = {
      voice: "alloy",
      model: "orga-1-beta",
      temperature: 0.5,
      return_transcription: false,
      instructions: null,
      modalities: ["audio", "video"],
      history: true,
      ...params,
    };
    this.modalities = [];
    this.events = []; // every message of the channel, parsed
    this.states = []; // every connectionState
    this.problems = [];
  }

  async fetchSessionConfig() {
    if (this.sessionConfig) {
      return okJson(await fetch(this.sessionConfig, { signal: AbortSignal.timeout(REQUEST_TIMEOUT) }));
    }
    const secrets = await this.request("POST", "client-secrets", this.apiKey);
    const ice = await this.request("GET", "ice-config", secrets.ephemeral_token);
    return { ephemeralToken: secrets.ephemeral_token, iceServers: ice.iceServers };
  }

  async request(method, route, credential, body) {
    return okJson(
      await fetch(`${this.base}/v1/realtime/${route}`, {
        method,
        headers: { Authorization: `Bearer ${credential}`, "Content-Type": "application/json" },
        body: body && JSON.stringify(body),
        signal: AbortSignal.timeout(REQUEST_TIMEOUT),
      }),
    );
  }

  async start() {
    const { ephemeralToken, iceServers } = await this.fetchSessionConfig();
    if (!ephemeralToken || !iceServers) throw new Error("Invalid response from session config endpoint");

    this.pc = new RTCPeerConnection({ iceServers, iceTransportPolicy: "all", iceCandidatePoolSize: 0 });
    this.pc.onconnectionstatechange = () => this.states.push(this.pc.connectionState);
    this.pc.ontrack = ({ track }) => track.kind === "audio" && this.listen(track);
    this.audio = this.pc.addTransceiver("audio", { direction: "sendrecv" });
    this.video = this.pc.addTransceiver("video", { direction: "sendonly" });
    await this.audio.sender.replaceTrack(null);
    await this.video.sender.replaceTrack(null);

    this.channel = this.pc.createDataChannel(CHANNEL);
    this.opened = new Promise((resolve) => (this.channel.onopen = resolve));
    this.channel.onmessage = ({ data }) => {
      try {
        this.events.push(JSON.parse(data));
      } catch (error) {
        this.problems.push(`not JSON: ${error}`);
      }
    };

    const candidates = [];
    const gathered = this.gather(candidates);
    await this.pc.setLocalDescription(
      await this.pc.createOffer({ offerToReceiveAudio: true, offerToReceiveVideo: false }),
    );
    await gathered;

    const { sdp, type } = this.pc.localDescription;
    const reply = await this.request("POST", "calls", ephemeralToken, {
      offer: { sdp, type, candidates },
      params: this.params,
    });
    if (!reply.answer || !reply.conversation_id) throw new Error("neither answer nor conversation_id");
    this.conversationId = reply.conversation_id;
    await this.pc.setRemoteDescription(reply.answer);
    return this.conversationId;
  }

  /** All candidates, or those of the first five seconds: Orga has no trickle. */
  gather(candidates) {
    return new Promise((resolve) => {
      const cap = setTimeout(resolve, GATHERING_CAP);
      let last = false;
      const check = () => {
        if (last && this.pc.iceGatheringState === "complete") {
          clearTimeout(cap);
          resolve();
        }
      };
      this.pc.onicegatheringstatechange = check;
      this.pc.onicecandidate = ({ candidate }) => {
        if (candidate) {
          const { candidate: line, sdpMid, sdpMLineIndex } = candidate;
          const entry = { candidate: line };
          if (sdpMid !== null) entry.sdpMid = sdpMid;
          if (sdpMLineIndex !== null) entry.sdpMLineIndex = sdpMLineIndex;
          candidates.push(entry);
        } else {
          last = true;
        }
        check();
      };
    });
  }

  async enableMic() {
    // A tone is what echo cancellation and noise suppression are made to take out.
    const processing = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio: processing, video: false });
    await this.audio.sender.replaceTrack(stream.getAudioTracks()[0]);
    this.updateModality("audio");
  }

  async enableCamera() {
    const stream = await navigator.mediaDevices.getUserMedia({
      video: { width: 640, height: 480, frameRate: 24 },
      audio: false,
    });
    await this.video.sender.replaceTrack(stream.getVideoTracks()[0]);
    this.updateModality("video");
  }

  /** As the SDK for React Native does; the one for React stops the microphone and keeps the track. */
  async disableMic() {
    this.audio.sender.track.stop();
    await this.audio.sender.replaceTrack(null);
    this.modalities = this.modalities.filter((modality) => modality !== "audio");
    this.update({});
  }

  updateModality(modality) {
    this.modalities = [...this.modalities, modality];
    this.update({});
  }

  /** The only message that Orga's clients send; `modalities` is always in it. */
  update(settings) {
    if (this.channel.readyState !== "open") throw new Error(`the channel is ${this.channel.readyState}`);
    this.channel.send(
      JSON.stringify({ event: "session.update", data: { ...settings, modalities: this.modalities } }),
    );
  }

  listen(track) {
    const stream = new MediaStream([track]);
    // Chromium feeds Web Audio from a remote track only while a media element plays it, too.
    this.element = new Audio();
    this.element.srcObject = stream;
    this.element.muted = true;
    this.element.play().catch((error) => this.problems.push(`play: ${error}`));
    this.context = new AudioContext({ sampleRate: 48_000 });
    this.analyser = this.context.createAnalyser();
    this.analyser.fftSize = FFT_SIZE;
    this.analyser.smoothingTimeConstant = 0;
    this.context.createMediaStreamSource(stream).connect(this.analyser);
  }

  /** What is heard now: the strongest line over 50 Hz, and the level (dBFS) within 20 Hz of each frequency given. */
  spectrum(frequencies = []) {
    if (!this.analyser) return null;
    const lines = new Float32Array(this.analyser.frequencyBinCount);
    this.analyser.getFloatFrequencyData(lines);
    const width = this.context.sampleRate / FFT_SIZE;
    let peak = Math.ceil(50 / width);
    for (let line = peak; line < lines.length; line++) if (lines[line] > lines[peak]) peak = line;
    const decibels = (line) => Math.max(line + FULL_SCALE, -120); // -Infinity is not JSON
    const around = (frequency) =>
      Math.max(...lines.slice(Math.floor((frequency - 20) / width), Math.ceil((frequency + 20) / width)));
    return {
      dominant: peak * width,
      level: decibels(lines[peak]),
      levels: frequencies.map((frequency) => decibels(around(frequency))),
    };
  }

  async statistics() {
    const found = {};
    for (const entry of (await this.pc.getStats()).values()) {
      if (["inbound-rtp", "outbound-rtp"].includes(entry.type)) found[`${entry.type}.${entry.kind}`] = entry;
      if (entry.type === "codec") (found.codecs ??= []).push(`${entry.mimeType} ${entry.sdpFmtpLine ?? ""}`);
    }
    return found;
  }

  /** Orga has no hang-up request: closing is the goodbye. */
  stop() {
    for (const transceiver of [this.audio, this.video]) transceiver?.sender.track?.stop();
    this.channel?.close();
    this.pc?.close();
    this.element?.pause();
    this.context?.close();
  }
}

async function okJson(response) {
  if (!response.ok) throw new Error(`${response.url}: ${response.status} ${await response.text()}`);
  return response.json();
}

window.orga = { OrgaCall };

const form = document.querySelector("form");
const say = (text) => (document.querySelector("pre").textContent += `${text}\n`);
form.onsubmit = async (submission) => {
  submission.preventDefault();
  window.call?.stop();
  const call = (window.call = new OrgaCall(Object.fromEntries(new FormData(form))));
  try {
    say(`conversation ${await call.start()}`);
    await call.opened;
    await call.enableMic();
    call.element.muted = false;
    const timer = setInterval(() => {
      for (const event of call.events.splice(0)) say(JSON.stringify(event));
      if (call.pc.connectionState === "closed") clearInterval(timer);
    }, 200);
  } catch (error) {
    say(error);
  }
};
form.elements.stop.onclick = () => {
  window.call?.stop();
  say("hung up");
};

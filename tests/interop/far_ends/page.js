// A call in Chromium or Firefox: obeys the lines of JSON that in_browser.py passes on from its stdin over a WebSocket,
// and what it says goes to stdout. Beside the options of every far end (role, tone, candidates, ice_servers) it has
//   obfuscate: true      as a page has it that may not use the microphone: host candidates are names of mDNS
//   obfuscate: false     the page captures sound, and its candidates have addresses
//   bundle_policy        the RTCConfiguration's; without it the browser's own, "balanced"
//   direction            of the audio line of an offer; without it "sendrecv"
//   video                in an offer: the direction of a video line, and without it none;
//                        in an answer: "stopped" rejects a line that the browser would take
"use strict";

const CHANNEL = "orga-realtime-client-events";
const LEVEL = -12; // dBFS of our tone
const WINDOW = 0.5; // seconds of audio that a measurement looks at
const EVERY = 400; // ms from one measurement to the next
const GATHERING_CAP = 15_000; // ms; Firefox gathers for ever where the line that carries the transport is rejected
const options = { obfuscate: true, ...JSON.parse(decodeURIComponent(location.hash.slice(1))) };

const driver = new WebSocket(`ws://${location.host}/orders`);
const say = (type, content = {}) => driver.send(JSON.stringify({ type, ...content }));
const fail = (error) => say("failed", { error: String(error) });
window.onerror = (message, source, line) => fail(`${message} (${source}:${line})`);
window.onunhandledrejection = ({ reason }) => fail(reason);

class Call {
  constructor() {
    this.pc = null;
    this.channel = null;
    this.hearing = null; // timer
    this.over = false;
  }

  /** What must be there before anybody calls: a clock that runs, a tone, and perhaps a microphone. */
  async prepare() {
    this.audio = new AudioContext({ sampleRate: 48_000 });
    await this.audio.resume();
    const oscillator = new OscillatorNode(this.audio, { frequency: options.tone });
    const gain = new GainNode(this.audio, { gain: 10 ** (LEVEL / 20) });
    const output = this.audio.createMediaStreamDestination();
    oscillator.connect(gain).connect(output);
    oscillator.start();
    this.tone = output.stream;
    // A page that captures may know the addresses of its host; any other gets names of mDNS.
    if (!options.obfuscate) this.microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
  }

  open() {
    const configuration = { iceServers: options.ice_servers ?? [] };
    if (options.bundle_policy) configuration.bundlePolicy = options.bundle_policy;
    const pc = (this.pc = new RTCPeerConnection(configuration));
    pc.onconnectionstatechange = () => {
      say("state", { state: pc.connectionState });
      if (["closed", "failed"].includes(pc.connectionState)) this.ended("connection");
    };
    pc.ontrack = ({ track }) => track.kind === "audio" && this.hear(track);
    pc.ondatachannel = ({ channel }) => this.listen(channel);
  }

  async offer() {
    this.open();
    const [track] = this.tone.getAudioTracks();
    const direction = options.direction ?? "sendrecv";
    const sends = direction === "sendrecv" || direction === "sendonly";
    this.pc.addTransceiver(sends ? track : "audio", { direction, streams: sends ? [this.tone] : [] });
    if (options.video) this.pc.addTransceiver("video", { direction: options.video });
    this.listen(this.pc.createDataChannel(CHANNEL));
    const sdp = await this.describe();
    say("offer", { sdp: options.candidates === false ? withoutCandidates(sdp) : sdp });
  }

  async answer(sdp) {
    this.open();
    await this.pc.setRemoteDescription({ type: "offer", sdp });
    this.pc.addTrack(this.tone.getAudioTracks()[0], this.tone);
    for (const transceiver of this.pc.getTransceivers()) {
      if (transceiver.receiver.track.kind === "video" && options.video === "stopped") transceiver.stop();
    }
    say("answer", { sdp: await this.describe() });
  }

  /** Our description, with everything gathered. */
  async describe() {
    const { pc } = this;
    const gathered = new Promise((resolve) => {
      setTimeout(resolve, GATHERING_CAP);
      pc.onicegatheringstatechange = () => pc.iceGatheringState === "complete" && resolve();
    });
    await pc.setLocalDescription();
    if (pc.iceGatheringState !== "complete") await gathered;
    return pc.localDescription.sdp;
  }

  accept(sdp) {
    return this.pc.setRemoteDescription({ type: "answer", sdp });
  }

  listen(channel) {
    this.channel = channel;
    channel.onmessage = ({ data }) => say("message", { text: data });
    channel.onclose = () => this.ended("channel");
    const opened = () => say("open", { label: channel.label });
    if (channel.readyState === "open") opened();
    else channel.onopen = opened;
  }

  /** Measure a remote track, from now on until the call is over. */
  hear(track) {
    const stream = new MediaStream([track]);
    // Chromium feeds Web Audio from a remote track only while a media element plays it, too.
    this.element = new Audio();
    this.element.srcObject = stream;
    this.element.muted = true;
    this.element.play().catch(fail);
    const analyser = new AnalyserNode(this.audio, { fftSize: 32_768 });
    this.audio.createMediaStreamSource(stream).connect(analyser);
    const latest = new Float32Array(analyser.fftSize);
    clearInterval(this.hearing);
    this.hearing = setInterval(() => {
      analyser.getFloatTimeDomainData(latest);
      const { sampleRate } = this.audio;
      say("heard", measure(latest.subarray(latest.length - WINDOW * sampleRate), sampleRate));
    }, EVERY);
  }

  send(text) {
    this.channel.send(text);
  }

  /** The other side is gone, which the channel or the connection notices first. */
  ended(by) {
    if (this.over) return;
    this.over = true;
    clearInterval(this.hearing);
    say("closed", { by });
  }

  close() {
    this.over = true;
    clearInterval(this.hearing);
    this.pc?.close();
  }
}

const withoutCandidates = (sdp) =>
  sdp
    .split("\r\n")
    .filter((line) => !line.startsWith("a=candidate:") && line !== "a=end-of-candidates")
    .join("\r\n");

const call = new Call();
const prepared = new Promise((resolve) => (driver.onopen = () => resolve(call.prepare())));
// One after the other: an answer is not applied while the offer is being made.
let last = prepared.then(() => say("ready"));

driver.onmessage = ({ data }) => {
  last = last.then(async () => {
    const { do: order, sdp, text } = JSON.parse(data);
    try {
      if (order === "offer") await call.offer();
      else if (order === "answer") await call.answer(sdp);
      else if (order === "accept") await call.accept(sdp);
      else if (order === "send") call.send(text);
      else if (order === "close") call.close();
      else throw new Error("no such order");
    } catch (error) {
      fail(`${order}: ${error}`);
    }
  });
};

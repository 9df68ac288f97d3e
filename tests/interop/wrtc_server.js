// The Orga service played by libwebrtc, written from the vendor's public documentation: node wrtc_server.js '{…}'
// Options: apiKey, frequency (Hz of the tone it sends), iceServers (what it tells callers to use).
// stdout: one JSON object a line: listening, secret, ice, call (the body that was posted), state, open, message (of the
//   channel), heard, seen (one for each frame of video), failed.
// stdin: {"do": "send", "message": …} on the channel, {"do": "mute"} and {"do": "unmute"} take the track away and give it
//   back, {"do": "goodbye"} closes the call; end of file ends the process.
"use strict";

const { randomUUID } = require("node:crypto");
const http = require("node:http");
const { RTCPeerConnection } = require("@roamhq/wrtc");
const { Ear, Eye, Tone, gathered, listenToParent, tell } = require("./wrtc_audio.js");

const { apiKey, frequency, iceServers = [] } = JSON.parse(process.argv[2]);
const tokens = new Set();
let call; // the one that stdin speaks of

class Refused extends Error {
  constructor(status, message, type = "invalid_request_error") {
    super(message);
    this.status = status;
    this.body = { error: { message, type, param: null, code: null } };
  }
}

function ephemeralToken(request) {
  const [scheme, credential] = (request.headers.authorization ?? "").split(" ");
  if (scheme !== "Bearer") throw new Refused(403, "Not authenticated");
  if (!tokens.has(credential)) throw new Refused(401, "Invalid ephemeral token");
  return credential;
}

const routes = {
  "POST /v1/realtime/client-secrets": (request) => {
    if (request.headers.authorization !== `Bearer ${apiKey}`) {
      // The vendor wraps this one twice.
      const inner = { message: "Incorrect or inactive API key provided.", type: "invalid_request_error" };
      throw new Refused(401, { error: { ...inner, param: null, code: null } });
    }
    const token = `ek_${randomUUID()}`;
    tokens.add(token);
    const expires = new Date(Date.now() + 900_000).toISOString().replace(/Z$/, "000"); // microseconds, no zone
    tell("secret");
    return { ephemeral_token: token, token_type: "bearer", expires_at: expires };
  },

  "GET /v1/realtime/ice-config": (request) => {
    ephemeralToken(request);
    tell("ice");
    return { iceServers };
  },

  "POST /v1/realtime/calls": async (request, body) => {
    const token = ephemeralToken(request);
    const missing = ["offer", "params"].filter((field) => !(field in body));
    if (missing.length) {
      const refused = new Refused(422, "missing");
      refused.body = { detail: missing.map((field) => ({ loc: ["body", field], msg: "Field required", type: "missing" })) };
      throw refused;
    }
    tokens.delete(token); // one session a token
    tell("call", { body });
    call?.close();
    call = new Call();
    return call.answer(body.offer);
  },
};

class Call {
  constructor() {
    this.id = `conv_${randomUUID()}`;
    this.pc = new RTCPeerConnection({ iceServers: [] });
    this.tone = new Tone(frequency);
    this.pc.onconnectionstatechange = () => tell("state", { state: this.pc.connectionState });
    this.pc.ontrack = ({ track }) => {
      if (track.kind === "audio") this.ear = new Ear(track, (heard) => tell("heard", heard));
      if (track.kind === "video") this.eye = new Eye(track, (seen) => tell("seen", seen));
    };
    this.pc.ondatachannel = ({ channel }) => {
      this.channel = channel;
      channel.onmessage = ({ data }) => tell("message", { text: data });
      channel.onclose = () => tell("channel-closed");
      const open = () => tell("open", { label: channel.label, ordered: channel.ordered, conversation: this.id });
      if (channel.readyState === "open") open();
      else channel.onopen = open;
    };
  }

  async answer({ sdp, type, candidates }) {
    await this.pc.setRemoteDescription({ sdp, type });
    this.audio = this.pc.getTransceivers().find(({ receiver }) => receiver.track.kind === "audio");
    this.audio.direction = "sendrecv";
    await this.audio.sender.replaceTrack(this.tone.track);
    for (const candidate of candidates) await this.pc.addIceCandidate(candidate);
    await this.pc.setLocalDescription(await this.pc.createAnswer());
    await gathered(this.pc);
    return { conversation_id: this.id, answer: { sdp: this.pc.localDescription.sdp, type: "answer" } };
  }

  close() {
    this.ear?.stop();
    this.eye?.stop();
    this.tone.stop();
    this.pc.close();
  }
}

const server = http.createServer(async (request, response) => {
  let [status, body] = [200, undefined];
  try {
    const { pathname } = new URL(request.url, "http://localhost");
    const route = routes[`${request.method} ${pathname}`];
    if (!route) throw new Refused(404, `no such path: ${pathname}`, "not_found_error");
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    body = await route(request, text ? JSON.parse(text) : {});
  } catch (error) {
    if (!(error instanceof Refused)) tell("failed", { error: String(error?.stack ?? error) });
    [status, body] = [error.status ?? 500, error.body ?? { error: String(error) }];
  }
  response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
});
server.listen(0, "127.0.0.1", () => tell("listening", { port: server.address().port }));

listenToParent((order) => {
  if (order.do === "send") call.channel.send(JSON.stringify(order.message));
  if (order.do === "mute") call.audio.sender.replaceTrack(null);
  if (order.do === "unmute") call.audio.sender.replaceTrack(call.tone.track);
  if (order.do === "goodbye") call.close();
});

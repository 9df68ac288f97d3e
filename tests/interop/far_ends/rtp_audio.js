// Sound for implementations that give and take RTP packets: a tone and an ear, with libopus (npm opusscript) between.
"use strict";

const OpusScript = require("opusscript");
const { measure } = require("../measure.js");

const SAMPLE_RATE = 48_000;
const FRAME = SAMPLE_RATE / 50; // samples in a packet
const HEADER = 12; // bytes: neither contributing sources nor extensions in what we send (RFC 3550, 5.1)

/** Sends a sine as Opus over RTP, from its making until `stop`. */
class RtpTone {
  /**
   * @param {number} frequency Hz
   * @param {(packet: Buffer) => void} send
   * @param {number} level dBFS
   */
  constructor(frequency, payloadType, ssrc, send, level = -12) {
    const opus = new OpusScript(SAMPLE_RATE, 1, OpusScript.Application.AUDIO);
    const amplitude = 32767 * 10 ** (level / 20);
    const started = process.hrtime.bigint();
    let sent = 0; // packets
    // Timers are late; what is due is counted from the start, so that the tone has no holes.
    this.timer = setInterval(() => {
      const due = Number((process.hrtime.bigint() - started) / 20_000_000n);
      for (; sent < due; sent++) {
        const samples = Buffer.alloc(2 * FRAME);
        for (let i = 0; i < FRAME; i++) {
          const phase = (2 * Math.PI * frequency * (sent * FRAME + i)) / SAMPLE_RATE;
          samples.writeInt16LE(Math.round(amplitude * Math.sin(phase)), 2 * i);
        }
        const header = Buffer.alloc(HEADER);
        header[0] = 0x80; // version 2
        header[1] = payloadType | (sent === 0 ? 0x80 : 0); // the marker: a talkspurt begins (RFC 3551, 4.1)
        header.writeUInt16BE(sent & 0xffff, 2);
        header.writeUInt32BE((sent * FRAME) >>> 0, 4);
        header.writeUInt32BE(ssrc, 8);
        send(Buffer.concat([header, opus.encode(samples, FRAME)]));
      }
    }, 20);
  }

  stop() {
    clearInterval(this.timer);
  }
}

/** Decodes the Opus in RTP packets and reports its spectrum, half a second at a time. */
class RtpEar {
  constructor(payloadType, onHeard) {
    this.payloadType = payloadType;
    this.onHeard = onHeard;
    this.opus = new OpusScript(SAMPLE_RATE, 1, OpusScript.Application.AUDIO);
    this.window = [];
  }

  /** Take a packet as it came: RTCP and other payload types are passed over. */
  take(packet) {
    if (packet.length < HEADER || (packet[1] & 0x7f) !== this.payloadType) return;
    let start = HEADER + 4 * (packet[0] & 0x0f);
    if (packet[0] & 0x10) start += 4 + 4 * packet.readUInt16BE(start + 2); // the header extension
    const end = packet.length - (packet[0] & 0x20 ? packet[packet.length - 1] : 0); // padding
    if (end > start) this.decode(packet.subarray(start, end));
  }

  /** Take the payload of one packet. */
  decode(payload) {
    const pcm = this.opus.decode(payload);
    for (let i = 0; i < pcm.length; i += 2) this.window.push(pcm.readInt16LE(i) / 32768);
    if (this.window.length >= SAMPLE_RATE / 2) {
      this.onHeard(measure(this.window, SAMPLE_RATE));
      this.window = [];
    }
  }
}

/** The number that an SDP gives Opus. */
function opusNumber(sdp) {
  const found = sdp.match(/^a=rtpmap:(\d+) opus\/48000/im);
  if (!found) throw new Error("there is no Opus in the description");
  return Number(found[1]);
}

module.exports = { RtpEar, RtpTone, opusNumber };

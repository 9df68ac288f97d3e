// What half a second of audio holds, for pages (a script of its own) and for Node (require).
"use strict";

const DECIMATION = 4; // what is looked for lies below 2 kHz, and a measurement must not hold up our own tone

/**
 * The strongest frequency from 100 to 2000 Hz and its level: Goertzel's filter every 5 Hz, Hann window.
 * @param {ArrayLike<number>} samples full scale is ±1
 * @returns {{frequency: number, level: number, rms: number}} Hz, dBFS, dBFS
 */
function measure(samples, sampleRate) {
  const n = Math.floor(samples.length / DECIMATION);
  const windowed = new Float64Array(n);
  let square = 0;
  for (let i = 0; i < n; i++) {
    let sum = 0;
    for (let k = i * DECIMATION; k < (i + 1) * DECIMATION; k++) {
      sum += samples[k];
      square += samples[k] ** 2;
    }
    windowed[i] = (sum / DECIMATION) * (0.5 - 0.5 * Math.cos((2 * Math.PI * i) / (n - 1)));
  }
  let best = { frequency: 0, amplitude: 0 };
  for (let frequency = 100; frequency <= 2000; frequency += 5) {
    const coefficient = 2 * Math.cos((2 * Math.PI * frequency * DECIMATION) / sampleRate);
    let last = 0;
    let before = 0;
    for (let i = 0; i < n; i++) {
      const next = windowed[i] + coefficient * last - before;
      before = last;
      last = next;
    }
    const power = last * last + before * before - coefficient * last * before;
    // A sine of amplitude 1 under a Hann window gives n/4.
    const amplitude = Math.sqrt(Math.max(power, 0)) / (n / 4);
    if (amplitude > best.amplitude) best = { frequency, amplitude };
  }
  const decibels = (amplitude) => Math.round(200 * Math.log10(Math.max(amplitude, 1e-6))) / 10;
  return {
    frequency: best.frequency,
    level: decibels(best.amplitude),
    rms: decibels(Math.sqrt((2 * square) / (n * DECIMATION))), // as a sine of the same power would read
  };
}

if (typeof module !== "undefined") module.exports = { measure };

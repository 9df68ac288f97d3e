// The lines of JSON between a far end in Node and the test that started it.
"use strict";

const tell = (type, rest = {}) => process.stdout.write(`${JSON.stringify({ type, ...rest })}\n`);

const options = JSON.parse(process.argv[2]);

/** Obeys one order after the other: `orders` has a function for each. The end of stdin means that the test is gone. */
function obey(orders) {
  const lines = require("node:readline").createInterface({ input: process.stdin });
  let last = Promise.resolve();
  lines.on("line", (line) => {
    const { do: order, ...rest } = JSON.parse(line);
    last = last
      .then(() => orders[order](rest))
      .catch((error) => tell("failed", { error: `${order}: ${error?.stack ?? error}` }));
  });
  lines.on("close", () => process.exit(0));
  tell("ready");
}

/** The offer without a candidate, where that is wanted. */
const shown = (sdp) =>
  options.candidates !== false
    ? sdp
    : sdp
        .split("\r\n")
        .filter((line) => !line.startsWith("a=candidate:") && !line.startsWith("a=end-of-candidates"))
        .join("\r\n");

/** Returns a function that says once that the other side ended the call. */
function ending() {
  let said = false;
  return {
    closed(by) {
      if (!said) tell("closed", { by });
      said = true;
    },
    ours: () => (said = true),
  };
}

module.exports = { CHANNEL: "orga-realtime-client-events", ending, obey, options, shown, tell };

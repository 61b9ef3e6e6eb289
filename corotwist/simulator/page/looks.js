"use strict";

/*
 * What things look like, and labels that leave each other room.
 */

// Light colours of rings, cold and warm in turn, and darker ones of their names.  With
// full sight and with each kind of colour blindness one differs from the next by at
// least 20 (CIE 1976); names tell the rest.
const TINTS = ["#cfe3f5", "#f2c9b4", "#bcd8f2", "#f7d9c9", "#c9c6ea", "#fbe6b8", "#d3f0f5", "#fff2b0"];
const INKS = ["#1f5f99", "#97431a", "#17507f", "#8a4a2a", "#55489f", "#8a6100", "#0f6f7d", "#6f6200"];
const STATES = { gather: "#e69f00", commit: "#cc79a7", recovery: "#56b4e9", mute: "#777", idle: "#bbb" };
const LAYERS = [
  { name: "token", kinds: ["token"], color: "#222", width: 1.8, text: "token" },
  { name: "data", kinds: ["data"], color: "#0072b2", width: 1, text: "frame" },
  { name: "again", kinds: [], color: "#d55e00", width: 1.4, text: "sent again", dash: [5, 3] },
  { name: "join", kinds: ["join"], color: "#a66f00", width: 1, text: "join" },
  { name: "commit", kinds: ["commit"], color: "#a8447c", width: 1.8, text: "commit token" },
  { name: "merge", kinds: ["merge", "cancel", "other"], color: "#00855f", width: 1, dash: [2, 3], text: "others" },
  { name: "lost", color: "#c8102e", text: "lost", glyph: "cross" },
  { name: "seen", color: "#0072b2", text: "delivered", glyph: "dot" },
  { name: "messages", color: "#444", text: "message", glyph: "triangle" },
];
const FAULTS = {
  boot: ["#00734f", "starts"], fail: ["#c8102e", "killed"], stop: ["#555", "leaves"],
  pause: ["#555", "paused"], slow: ["#555", "slow"], refused: ["#c8102e", "disk refuses"],
  store: ["#777", ""], partition: ["#c8102e", ""], cut: ["#c8102e", ""],
  heal: ["#00734f", "links whole"], faults: ["#b07800", ""], bridge: ["#c8102e", ""],
  clog: ["#b07800", ""], clock: ["#555", "clock"], attack: ["#c8102e", "attack"],
  interface: ["#c8102e", "interface"], refuse: ["#c8102e", "sending"], files: ["#c8102e", "files"], replace: ["#555", "replaced"],
};
const UNKNOWN = "#5b3a8e";
const GUTTER = 62, AXIS = 20, BAR = 16;
const LEAST_LANE = 18, MOST_LANE = 260;
const FONT = "11px system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif";
// Arrows closer than so many pixels to another between the same nodes are left
// out; when the typical one is narrower, and there are many, traffic becomes bars.
const CROWD = 2.5, NARROW = 2, MANY = 300;
const BIN = 3;
const MOST_PICKS = 30000;

// So far apart, as red, green and blue, is enough.
const APART = 35, RECENT = 3;

function apart(one, other) {
  const part = (tint, at) => Number.parseInt(TINTS[tint].slice(at, at + 2), 16);
  return Math.hypot(...[1, 3, 5].map((at) => part(one, at) - part(other, at)));
}

/* A tint for each ring: unlike those of the rings around it, and the less used. */
function tintsOf(run) {
  const tints = run.rings.map((_, i) => i % TINTS.length), chosen = new Set();
  const present = new Map(), used = TINTS.map(() => 0);
  for (const [node, from, to, ring] of run.installed) {
    if (!chosen.has(ring)) {
      // Those that end here, are there at other nodes, and were made just before.
      const around = [...present.values()].filter((one) => one.to >= from).map((one) => one.ring);
      around.push(...[...chosen].slice(-RECENT));
      const worth = used.map((count, tint) => (
        Math.min(APART, ...around.map((one) => apart(tint, tints[one]))) - 6 * count
      ));
      tints[ring] = worth.indexOf(Math.max(...worth));
      chosen.add(ring);
      used[tints[ring]]++;
    }
    present.set(node, { ring, to });
  }
  return tints;
}

/* Labels that must not cover each other: the first come. */
class Labels {
  constructor(context) {
    this.context = context;
    this.taken = [];
    this.placed = [];
  }

  place(text, x, y, color, { need = Infinity, halo = true } = {}) {
    const { context } = this, width = context.measureText(text).width;
    if (width > need || this.covers(x - 2, y - 10, x + width + 2, y + 3)) return false;
    this.reserve(x - 2, y - 10, x + width + 2, y + 3);
    this.placed.push({ text, x, y, color, halo });
    return true;
  }

  /* Over everything else. */
  draw() {
    const { context } = this;
    context.setLineDash([]);
    context.lineWidth = 3;
    context.strokeStyle = "rgba(255,255,255,0.8)";
    for (const { text, x, y, color, halo } of this.placed) {
      if (halo) context.strokeText(text, x, y);
      context.fillStyle = color;
      context.fillText(text, x, y);
    }
  }

  reserve(...box) {
    this.taken.push(box);
  }

  covers(x1, y1, x2, y2) {
    return this.taken.some(([a, b, c, d]) => x1 < c && a < x2 && y1 < d && b < y2);
  }
}

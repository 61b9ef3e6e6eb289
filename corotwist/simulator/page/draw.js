"use strict";

/*
 * The picture: lanes, arrows, dots and marks of the part of the run in view.
 */

// Light colours of rings, and darker ones of their names.  Neighbours differ for
// every kind of colour blindness; names tell the rest.
const TINTS = ["#cfe3f5", "#fbe6b8", "#cdeede", "#f3d3e5", "#e3e0f7", "#e9edbd", "#d3f0f5", "#f7d9c9"];
const INKS = ["#1f5f99", "#8a6100", "#0b6e4f", "#96386f", "#55489f", "#66700c", "#0f6f7d", "#97431a"];
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
  heal: ["#00734f", "links whole"], faults: ["#b07800", ""],
};
const UNKNOWN = "#5b3a8e";
const GUTTER = 62, AXIS = 20, BAR = 16;
const LEAST_LANE = 26, MOST_LANE = 260;
const FONT = "11px system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif";
// Arrows closer than so many pixels to another between the same nodes are left
// out; when the typical one is narrower, and there are many, traffic becomes bars.
const CROWD = 2.5, NARROW = 2, MANY = 300;
const BIN = 3;
const MOST_PICKS = 30000;

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

class Picture {
  constructor(run, canvas, overlay, map) {
    this.run = run;
    this.canvas = canvas;
    this.overlay = overlay;
    this.map = map;
    this.view = { from: 0, to: Math.max(run.end, 1), top: 0 };
    this.hidden = new Set();
    this.selected = null;
    this.layerOf = run.kinds.map((kind) => LAYERS.findIndex((l) => (l.kinds || []).includes(kind)));
    this.again = LAYERS.findIndex((layer) => layer.name === "again");
    this.hatch = this.hatching("rgba(60,60,60,0.35)");
    this.resize();
  }

  hatching(color) {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 8;
    const context = tile.getContext("2d");
    context.strokeStyle = color;
    context.lineWidth = 1.5;
    context.beginPath();
    for (const shift of [-8, 0, 8]) {
      context.moveTo(shift, 8);
      context.lineTo(shift + 8, 0);
    }
    context.stroke();
    return context.createPattern(tile, "repeat");
  }

  resize() {
    const { run } = this, ratio = window.devicePixelRatio || 1;
    const fit = (canvas, height) => {
      const box = canvas.getBoundingClientRect();
      canvas.width = Math.max(1, Math.round(box.width * ratio));
      canvas.height = Math.max(1, Math.round((height || box.height) * ratio));
      const context = canvas.getContext("2d");
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      return [context, box.width, height || box.height];
    };
    const mapHeight = Math.min(110, Math.max(34, run.nodes.length * 7 + 12));
    this.map.style.height = `${mapHeight}px`;
    [this.mapContext, this.mapWidth, this.mapHeight] = fit(this.map, mapHeight);
    [this.context, this.width, this.height] = fit(this.canvas);
    [this.overlayContext] = fit(this.overlay);
    this.top = AXIS + (run.network.length ? BAR : 0) + (run.weather.length ? BAR : 0) + 4;
    const space = (this.height - this.top - 6) / run.nodes.length;
    this.laneHeight = Math.min(MOST_LANE, Math.max(LEAST_LANE, space));
    this.paintMap();
  }

  /* Where things are. */

  get scale() {
    return (this.width - GUTTER) / (this.view.to - this.view.from);
  }

  x(time) {
    return GUTTER + (time - this.view.from) * this.scale;
  }

  timeAt(x) {
    return this.view.from + (x - GUTTER) / this.scale;
  }

  laneTop(node) {
    return this.top + this.run.lane.get(node) * this.laneHeight - this.view.top;
  }

  get bandHeight() {
    return this.laneHeight >= 56 ? 13 : this.laneHeight >= 34 ? 6 : 3;
  }

  y(node) {
    return this.laneTop(node) + this.bandHeight + (this.laneHeight - this.bandHeight) * 0.52;
  }

  /* Where the lanes end. */
  get bottom() {
    const lanes = this.top + this.laneHeight * this.run.nodes.length - this.view.top;
    return Math.min(this.height, lanes);
  }

  get mostTop() {
    const whole = this.top + this.laneHeight * this.run.nodes.length + 6;
    return Math.max(0, whole - this.height);
  }

  shows(name) {
    return !this.hidden.has(name);
  }

  /* The whole picture. */

  draw() {
    const { context, width, height, run, view } = this;
    view.top = Math.min(Math.max(0, view.top), this.mostTop);
    this.picks = [];
    this.labels = new Labels(context);
    context.clearRect(0, 0, width, height);
    context.font = FONT;
    context.textBaseline = "alphabetic";
    context.save();
    context.beginPath();
    context.rect(GUTTER, this.top - 2, width - GUTTER, height);
    context.clip();
    this.drawLanes();
    const far = this.far();
    if (far) this.drawBars(); else this.drawLines();
    this.drawWays(far);
    this.drawSelected();
    if (!far || this.selected) this.drawDots();
    this.visible(run.states, (span, x1, x2) => this.drawState(span, x1, x2));
    this.drawMarks();
    this.drawForgotten();
    this.labels.draw();
    context.restore();
    this.drawAxis();
    this.drawConditions();
    this.drawNames();
    this.drawMap();
    this.drawHover(null);
  }

  /* Are arrows too narrow, and too many, to be told apart? */
  far() {
    const [first, last] = this.run.sentBetween(this.view.from, this.view.to);
    return this.run.typical * this.scale < NARROW && last - first > MANY;
  }

  visible(spans, visit) {
    const { view, width } = this;
    for (const span of spans) {
      const [, from, to] = span;
      if (from > view.to) break;
      if (to < view.from) continue;
      visit(span, Math.max(GUTTER, this.x(from)), Math.min(width, this.x(to)));
    }
  }

  pick(kind, what, x1, y1, x2, y2) {
    if (this.picks.length < MOST_PICKS) this.picks.push({ kind, what, x1, y1, x2, y2 });
  }

  /* Lanes: who is alive, in which ring and state, and paused. */

  drawLanes() {
    const { context, run, laneHeight, bandHeight } = this;
    for (const node of run.nodes) {
      context.fillStyle = "#ececec";
      const start = Math.max(GUTTER, this.x(0)), end = Math.min(this.width, this.x(run.end));
      context.fillRect(start, this.laneTop(node) + 1, end - start, laneHeight - 3);
    }
    this.visible(run.lives, (span, x1, x2) => {
      context.fillStyle = "#fff";
      context.fillRect(x1, this.laneTop(span[0]) + 1, x2 - x1, laneHeight - 3);
      this.area("lives", span, x1, x2, 1, laneHeight - 2);
    });
    this.visible(run.installed, (span, x1, x2) => this.drawRing(span, x1, x2));
    this.visible(run.passages, (span) => this.drawPassage(span));
    this.visible(run.pauses, (span, x1, x2) => {
      context.fillStyle = this.hatch;
      context.fillRect(x1, this.laneTop(span[0]) + 1, x2 - x1, laneHeight - 3);
      this.area("pauses", span, x1, x2, bandHeight, laneHeight - 2);
    });
    this.visible(run.states, (span, x1, x2) => this.drawUnrest(span, x1, x2));
  }

  /* Without a ring that works, the lane is paler. */
  drawUnrest([node, , , state], x1, x2) {
    if (!STATES[state]) return;
    this.context.fillStyle = "rgba(255,255,255,0.55)";
    this.context.fillRect(x1, this.laneTop(node) + 1, x2 - x1, this.laneHeight - 3);
  }

  area(lane, span, x1, x2, top, bottom) {
    const y = this.laneTop(span[0]);
    this.pick("area", { lane, span }, x1, y + top, x2, y + bottom);
  }

  drawRing(span, x1, x2) {
    const { context, run, laneHeight, bandHeight } = this, [node, , , ring] = span;
    const y = this.laneTop(node), [name, , members] = run.rings[ring];
    context.fillStyle = TINTS[ring % TINTS.length];
    context.fillRect(x1, y + 1, x2 - x1, laneHeight - 3);
    this.area("installed", span, x1, x2, bandHeight, laneHeight - 2);
    if (laneHeight < LEAST_LANE + 4) return;
    const at = y + Math.max(bandHeight, 6) + 11, need = x2 - x1 - 8;
    const ink = INKS[ring % INKS.length], options = { need };
    if (laneHeight > 44 && this.labels.place(`ring ${name}: ${members}`, x1 + 5, at, ink, options)) return;
    this.labels.place(name, x1 + 5, at, ink, options);
  }

  drawPassage(span) {
    const { context, laneHeight, bandHeight } = this, [node, time] = span;
    const x = this.x(time), y = this.laneTop(node) + 1;
    context.fillStyle = "#fff";
    context.fillRect(x - 6, y, 6, laneHeight - 3);
    context.fillStyle = this.hatch;
    context.fillRect(x - 6, y, 6, laneHeight - 3);
    this.area("passages", span, x - 7, x + 1, bandHeight, laneHeight - 2);
  }

  drawState(span, x1, x2) {
    const [node, , , state] = span, { context, bandHeight } = this;
    const color = STATES[state];
    this.area("states", span, x1, x2, 0, bandHeight + 1);
    if (!color) return;
    const y = this.laneTop(node) + 1;
    context.fillStyle = color;
    context.fillRect(x1, y, Math.max(1, x2 - x1), bandHeight - 1);
    if (bandHeight > 10) {
      this.labels.place(state, x1 + 4, y + 9.5, "#000", { need: x2 - x1 - 6, halo: false });
    }
  }

  /* A line along each lane while a process lives there. */
  drawLines() {
    const { context, run } = this;
    context.strokeStyle = "#999";
    context.lineWidth = 1;
    context.setLineDash([]);
    context.beginPath();
    this.visible(run.lives, ([node], x1, x2) => {
      context.moveTo(x1, this.y(node));
      context.lineTo(x2, this.y(node));
    });
    context.stroke();
  }

  /* From afar: frames sent as bars up, deliveries down, tokens as the line. */
  drawBars() {
    const { run, view } = this, bins = Math.ceil((this.width - GUTTER) / BIN) + 1;
    // Bins are multiples of a length in time, so that moving does not reshuffle.
    const length = BIN / this.scale, start = Math.floor(view.from / length) * length;
    const empty = () => run.nodes.map(() => new Uint32Array(bins + 1));
    const tokens = empty(), frames = empty(), seen = empty(), { sent } = run;
    const count = (rows, node, time) => {
      const bin = Math.floor((time - start) / length);
      if (bin >= 0 && bin <= bins) rows[run.lane.get(node)][bin]++;
    };
    const [first, last] = run.sentBetween(start, view.to);
    for (let i = first; i < last; i++) {
      if (sent.kind[i] === run.kind.token) count(tokens, sent.node[i], sent.t[i]);
      if (sent.kind[i] === run.kind.data) count(frames, sent.node[i], sent.t[i]);
    }
    const [begin, end] = run.seenBetween(start, view.to);
    for (let i = begin; i < end; i++) {
      if (run.seen.what[i] === 1) count(seen, run.seen.node[i], run.seen.t[i]);
    }
    const at = (bin) => this.x(start + bin * length);
    if (this.shows("token")) this.drawTokenLine(tokens, at);
    const most = Math.log1p(Math.max(1, ...frames.map((row) => Math.max(...row)),
      ...seen.map((row) => Math.max(...row))));
    if (this.shows("data")) this.drawHistogram(frames, at, "#0072b2", -1, most);
    if (this.shows("seen")) this.drawHistogram(seen, at, "#7aa9c8", 1, most);
  }

  drawTokenLine(rows, at) {
    const { context, run } = this;
    for (const node of run.nodes) {
      const row = rows[run.lane.get(node)], y = this.y(node);
      for (let bin = 0; bin < row.length; bin++) {
        if (!row[bin]) continue;
        context.fillStyle = "#222";
        context.fillRect(at(bin), y - 1, BIN, 2);
      }
    }
  }

  drawHistogram(rows, at, color, direction, most) {
    const { context, run, laneHeight } = this, room = Math.min(30, laneHeight * 0.28);
    context.fillStyle = color;
    for (const node of run.nodes) {
      const row = rows[run.lane.get(node)], y = this.y(node) + direction * 2;
      for (let bin = 0; bin < row.length; bin++) {
        if (!row[bin]) continue;
        const height = Math.max(2, room * Math.log1p(row[bin]) / most);
        context.fillRect(at(bin), direction < 0 ? y - height : y, BIN - 1, height);
      }
    }
  }

  /* Arrows. */

  layer(i) {
    const { sent } = this.run;
    return sent.again[i] && sent.kind[i] === this.run.kind.data ? this.again : this.layerOf[sent.kind[i]];
  }

  drawWays(far) {
    const { run, view } = this, { sent, ways } = run, nodes = run.nodes.length;
    const batches = LAYERS.map(() => []), losses = [];
    const length = (far ? BIN : CROWD) / this.scale;
    const taken = new Float64Array(2 * LAYERS.length * nodes * nodes).fill(NaN);
    const hidden = LAYERS.map(({ name }) => !this.shows(name) || (far && (name === "token" || name === "data")));
    const [first, last] = run.sentBetween(view.from, view.to);
    for (let i = first; i < last; i++) {
      const layer = this.layer(i);
      if (hidden[layer] && !run.losing[i]) continue;
      const links = (layer * nodes + run.lane.get(sent.node[i])) * nodes;
      const slot = Math.floor(sent.t[i] / length);
      for (let way = run.waysFrom[i]; way < ways.count && ways.of[way] === i; way++) {
        if (run.endOf(way) < view.from) continue;
        // One arrow for each slot of time between the same two nodes.
        const lost = run.lost(way);
        const link = 2 * (links + run.lane.get(ways.target[way])) + (lost ? 1 : 0);
        if (taken[link] === slot) continue;
        taken[link] = slot;
        if (lost && this.shows("lost") && !(far && this.expected(way))) losses.push(way);
        if (!hidden[layer]) batches[layer].push(way);
      }
    }
    const alpha = this.selected ? 0.12 : far ? 0.3 : 1;
    // What is most of all comes first, and the token on top.
    for (const name of ["data", "merge", "join", "commit", "again", "token"]) {
      const layer = LAYERS.findIndex((one) => one.name === name);
      this.stroke(batches[layer], LAYERS[layer], far && name === "merge" ? alpha * 0.4 : alpha, far);
    }
    this.drawLosses(losses, far, this.selected ? 0.12 : 1);
    if (!far && !this.selected) this.labelTokens(batches[LAYERS.findIndex((l) => l.name === "token")]);
  }

  /* From afar: cut links and dead nodes are to be seen, so losses there are no news. */
  expected(way) {
    const fate = this.run.fates[this.run.fateOf[way]];
    return fate === "the link is cut" || fate === "nobody listens";
  }

  /* From where to where an arrow goes; lost ones end on the way. */
  ends(way) {
    const { run } = this, { sent, ways } = run, of = ways.of[way];
    const x1 = this.x(sent.t[of]), x2 = this.x(run.endOf(way));
    const y1 = this.y(sent.node[of]), target = this.y(ways.target[way]);
    const y2 = ways.takes[way] < 0 ? y1 + (target - y1) * 0.6 : target;
    return [x1, y1, x2, y2];
  }

  stroke(batch, { color, width, dash }, alpha, far = false) {
    const { context, run } = this;
    if (!batch.length) return;
    context.globalAlpha = alpha;
    context.strokeStyle = context.fillStyle = color;
    context.lineWidth = far ? 1 : width;
    context.setLineDash(far ? [] : dash || []);
    const heads = new Path2D(), size = 4 + width * 1.6;
    context.beginPath();
    for (const way of batch) {
      const [x1, y1, x2, y2] = this.ends(way);
      context.moveTo(x1, y1);
      context.lineTo(x2, y2);
      this.pick("way", way, x1, y1, x2, y2);
      if (far || run.lost(way)) continue;
      this.head(heads, x1, y1, x2, y2, size);
    }
    context.stroke();
    context.setLineDash([]);
    context.fill(heads);
    context.globalAlpha = 1;
  }

  head(path, x1, y1, x2, y2, size) {
    const length = Math.hypot(x2 - x1, y2 - y1) || 1;
    const dx = (x2 - x1) / length * size, dy = (y2 - y1) / length * size;
    path.moveTo(x2, y2);
    path.lineTo(x2 - dx - dy * 0.4, y2 - dy + dx * 0.4);
    path.lineTo(x2 - dx + dy * 0.4, y2 - dy - dx * 0.4);
    path.closePath();
  }

  drawLosses(losses, far, alpha) {
    const { context } = this, size = far ? 3 : 4;
    context.globalAlpha = alpha;
    context.strokeStyle = "#c8102e";
    context.lineWidth = far ? 1.4 : 2;
    context.beginPath();
    for (const way of losses) {
      const [x1, y1, x, y] = this.ends(way);
      context.moveTo(x - size, y - size);
      context.lineTo(x + size, y + size);
      context.moveTo(x - size, y + size);
      context.lineTo(x + size, y - size);
      this.pick("way", way, x1, y1, x, y);
    }
    context.stroke();
    context.globalAlpha = 1;
  }

  /* Numbers along tokens, and what they ask for, where there is room. */
  labelTokens(batch) {
    const { run } = this, { sent, ways } = run;
    if (run.typical * this.scale < 26) return;
    for (const way of batch) {
      const of = ways.of[way], [x1, y1, x2, y2] = this.ends(way);
      const note = run.notes[sent.note[of]];
      const text = note ? `${sent.a[of]} ${note}` : `${sent.a[of]}`;
      const part = note ? 0.5 : 0.3;
      this.labels.place(text, x1 + (x2 - x1) * part + 6, y1 + (y2 - y1) * part + 4, note ? "#c8102e" : "#222");
    }
  }

  /* Deliveries and messages. */

  drawDots() {
    const { run, view, context, selected } = this, { seen } = run;
    const [first, last] = run.seenBetween(view.from, view.to);
    const heights = new Map(), chosen = new Set(selected ? selected.dots : []);
    for (let i = first; i < last; i++) {
      const what = seen.what[i];
      if (!this.shows(what < 2 ? "seen" : "messages") && !chosen.has(i)) continue;
      const x = this.x(seen.t[i]), node = seen.node[i];
      // What happens at once is put side by side, downwards.
      const key = `${node} ${what === 2} ${Math.round(x / 4)}`;
      const rank = heights.get(key) || 0;
      heights.set(key, rank + 1);
      const y = this.dotY(node, what, rank);
      if (y === null) continue;
      context.globalAlpha = selected && !chosen.has(i) ? 0.2 : 1;
      this.drawDot(i, x, y, chosen.has(i));
      this.pick("dot", i, x - 3, y, x + 3, y);
    }
    context.globalAlpha = 1;
  }

  dotY(node, what, rank) {
    const y = this.y(node), step = 8;
    if (what === 2) return y - 9;
    const below = y + 8 + rank * step;
    return below < this.laneTop(node) + this.laneHeight - 4 ? below : null;
  }

  drawDot(i, x, y, bold = false) {
    const { context, run } = this, what = run.seen.what[i], size = bold ? 4.5 : 3;
    context.beginPath();
    context.lineWidth = bold ? 2 : 1.2;
    context.strokeStyle = context.fillStyle = what < 2 ? "#0072b2" : "#444";
    if (what === 0) context.rect(x - size, y - size, 2 * size, 2 * size);
    if (what === 1) context.arc(x, y, size, 0, 7);
    if (what >= 2) {
      const up = what === 2 ? 1 : -1;
      context.moveTo(x - size, y + up * size);
      context.lineTo(x + size, y + up * size);
      context.lineTo(x, y - up * size);
      context.closePath();
    }
    if (what === 1 || what === 2) context.fill(); else context.stroke();
    if (run.typical * this.scale > 14 && (bold || !this.selected)) {
      const number = what < 2 ? run.seen.seq[i] : run.seen.number[i];
      this.labels.place(`${number}`, x + size + 2, y + 4, what < 2 ? "#00558a" : "#444");
    }
  }

  /* Faults. */

  drawMarks() {
    const { run, view, context } = this;
    context.setLineDash([]);
    for (const mark of run.marks) {
      const [time, node, event, text] = mark;
      if (time < view.from - 20 / this.scale || time > view.to) continue;
      const [color, label] = FAULTS[event] || [UNKNOWN, text];
      if (!label && event === "store" && run.typical * this.scale < NARROW) continue;
      const x = this.x(time);
      if (node) this.drawMark(mark, x, color, label);
      else this.drawMoment(mark, x, color, label);
    }
    if (run.at >= 0) this.drawViolation();
  }

  drawMark(mark, x, color, label) {
    const { context } = this, [, node, event] = mark, y = this.y(node), size = 6;
    context.strokeStyle = context.fillStyle = color;
    context.lineWidth = 3;
    context.beginPath();
    if (event === "fail") {
      context.moveTo(x - size, y - size);
      context.lineTo(x + size, y + size);
      context.moveTo(x - size, y + size);
      context.lineTo(x + size, y - size);
      context.stroke();
    } else if (event === "boot") {
      context.moveTo(x, y - size);
      context.lineTo(x + size, y);
      context.lineTo(x, y + size);
      context.fill();
    } else if (event === "store") {
      context.fillRect(x - 2, y - 2, 4, 4);
    } else {
      context.fillRect(x - 4, y - 4, 8, 8);
    }
    this.pick("mark", mark, x - size, y, x + size, y);
    this.labels.reserve(x - size, y - size, x + size, y + size);
    if (label) this.labels.place(label, x + size + 3, y + 4, color);
  }

  /* Something that happens to the whole cluster. */
  drawMoment(mark, x, color, label) {
    const { context } = this;
    context.strokeStyle = color;
    context.lineWidth = 1.2;
    context.setLineDash([4, 3]);
    context.beginPath();
    context.moveTo(x, this.top);
    context.lineTo(x, this.bottom);
    context.stroke();
    context.setLineDash([]);
    this.pick("mark", mark, x, this.top, x, this.bottom);
    if (label) this.labels.place(label, x + 4, this.top + 8, color);
  }

  drawViolation() {
    const { context, run, bottom } = this, x = this.x(run.at);
    context.strokeStyle = "#b00020";
    context.lineWidth = 2.5;
    context.beginPath();
    context.moveTo(x, this.top);
    context.lineTo(x, bottom);
    context.stroke();
    const label = run.promise, { width } = context.measureText(label);
    this.labels.place(label, Math.min(x + 4, this.width - width - 6), bottom - 6, "#b00020");
  }

  /* What the selection is about, over everything else. */
  drawSelected() {
    const { selected, run, view } = this, { ways } = run;
    if (!selected) return;
    const batches = LAYERS.map(() => []), losses = [];
    for (const i of selected.datagrams) {
      for (let way = run.waysFrom[i]; way < ways.count && ways.of[way] === i; way++) {
        if (run.endOf(way) < view.from || run.sent.t[i] > view.to) continue;
        batches[this.layer(i)].push(way);
        if (run.lost(way)) losses.push(way);
      }
    }
    batches.forEach((batch, i) => {
      this.stroke(batch, { ...LAYERS[i], width: LAYERS[i].width + 1.2 }, 1);
    });
    this.drawLosses(losses, false, 1);
  }

  /* The time whose datagrams were not kept. */
  drawForgotten() {
    const { run, context } = this;
    if (!run.forgotten || !run.sent.count) return;
    const x = Math.min(this.x(run.sent.t[0]), this.width);
    if (x <= GUTTER) return;
    context.fillStyle = "rgba(255,255,255,0.5)";
    context.fillRect(GUTTER, this.top, x - GUTTER, this.height);
    this.labels.place(`${run.forgotten} older datagrams were left out`, GUTTER + 8, this.height - 10, "#555", { need: x - GUTTER });
  }

  /* Around the lanes. */

  step() {
    const rough = 90 / this.scale, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
    return Math.max(1, step);
  }

  drawAxis() {
    const { context, view, width, bottom } = this, step = this.step();
    context.fillStyle = "#fff";
    context.fillRect(0, 0, width, this.top - 2);
    context.strokeStyle = "rgba(0,0,0,0.12)";
    context.fillStyle = "#444";
    context.lineWidth = 1;
    context.beginPath();
    for (let time = Math.ceil(view.from / step) * step; time <= view.to; time += step) {
      const x = Math.round(this.x(time)) + 0.5;
      context.moveTo(x, AXIS - 5);
      context.lineTo(x, bottom);
      const text = `${clockTime(time, step)} s`;
      if (x + context.measureText(text).width + 3 < width) context.fillText(text, x + 3, AXIS - 8);
    }
    context.stroke();
  }

  /* What is wrong with the network, as bars above the lanes. */
  drawConditions() {
    const { context, run } = this;
    let y = AXIS - 1;
    for (const [spans, color, lane, name] of [
      [run.network, "#f4b9b0", "network", "links"], [run.weather, "#f5dfa0", "weather", "faults"],
    ]) {
      if (!spans.length) continue;
      this.visible(spans, (span, x1, x2) => {
        context.fillStyle = color;
        context.fillRect(x1, y, Math.max(1, x2 - x1 - 1), BAR - 2);
        this.pick("area", { lane, span }, x1, y, x2, y + BAR - 2);
        this.fitted(span[4], x1 + 4, y + 11, x2 - x1 - 8);
      });
      context.fillStyle = "#fff";
      context.fillRect(0, y, GUTTER, BAR);
      context.fillStyle = "#777";
      context.fillText(name, 8, y + 11);
      y += BAR;
    }
  }

  /* As much of a text as there is room for. */
  fitted(text, x, y, room) {
    const { context } = this;
    if (room < 24) return;
    let shown = text;
    while (shown && context.measureText(shown + (shown === text ? "" : "…")).width > room) {
      shown = shown.slice(0, Math.min(shown.length - 1, Math.floor(shown.length * 0.9)));
    }
    context.fillStyle = "#333";
    if (shown) context.fillText(shown === text ? text : `${shown}…`, x, y);
  }

  drawNames() {
    const { context, run, laneHeight } = this;
    context.fillStyle = "#fff";
    context.fillRect(0, this.top - 2, GUTTER, this.height);
    context.save();
    context.beginPath();
    context.rect(0, this.top - 2, GUTTER, this.height);
    context.clip();
    context.font = `bold ${laneHeight > 20 ? 12 : 9}px system-ui, 'DejaVu Sans', sans-serif`;
    context.fillStyle = "#222";
    for (const node of run.nodes) context.fillText(`node ${node}`, 8, this.y(node) + 4);
    context.restore();
  }

  /* The whole run, small. */

  paintMap() {
    const { run, map } = this, painted = document.createElement("canvas");
    painted.width = map.width;
    painted.height = map.height;
    const context = painted.getContext("2d"), ratio = map.width / this.mapWidth;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const width = this.mapWidth - GUTTER, row = (this.mapHeight - 10) / run.nodes.length;
    const x = (time) => GUTTER + time / Math.max(1, run.end) * width;
    const fill = (spans, color) => {
      for (const span of spans) {
        context.fillStyle = color(span);
        const y = 4 + run.lane.get(span[0]) * row;
        context.fillRect(x(span[1]), y, Math.max(0.6, x(span[2]) - x(span[1])), Math.max(1, row - 1));
      }
    };
    context.fillStyle = "#ececec";
    context.fillRect(GUTTER, 4, width, this.mapHeight - 10);
    fill(run.lives, () => "#fff");
    fill(run.installed, ([, , , ring]) => TINTS[ring % TINTS.length]);
    fill(run.states.filter(([, , , state]) => STATES[state]), ([, , , state]) => STATES[state]);
    for (const [time, node, event] of run.marks) {
      if (event === "store") continue;
      context.fillStyle = (FAULTS[event] || [UNKNOWN])[0];
      const y = node ? 4 + run.lane.get(node) * row : 0;
      context.fillRect(x(time) - 1, y, 2, node ? row : this.mapHeight - 6);
    }
    context.fillStyle = "#b00020";
    if (run.at >= 0) context.fillRect(x(run.at) - 1.5, 0, 3, this.mapHeight);
    context.fillStyle = "#777";
    context.font = FONT;
    context.fillText("whole run", 6, this.mapHeight / 2 + 3);
    this.painted = painted;
  }

  drawMap() {
    const { mapContext: context, mapWidth, mapHeight, run, view } = this;
    const width = mapWidth - GUTTER, x = (time) => GUTTER + time / Math.max(1, run.end) * width;
    context.clearRect(0, 0, mapWidth, mapHeight);
    context.drawImage(this.painted, 0, 0, mapWidth, mapHeight);
    const from = Math.max(GUTTER, x(view.from)), to = Math.min(mapWidth, Math.max(x(view.to), from + 3));
    context.fillStyle = "rgba(255,255,255,0.55)";
    context.fillRect(GUTTER, 0, from - GUTTER, mapHeight);
    context.fillRect(to, 0, mapWidth - to, mapHeight);
    context.strokeStyle = "#111";
    context.lineWidth = 1.5;
    context.strokeRect(from, 1, to - from, mapHeight - 3);
  }

  /* What the pointer is at. */

  hit(x, y) {
    let best = null, least = 7;
    for (let i = this.picks.length - 1; i >= 0; i--) {
      const pick = this.picks[i], { kind, x1, y1, x2, y2 } = pick;
      if (kind === "area") {
        if (!best && x >= x1 && x <= x2 && y >= y1 && y < y2) best = pick;
        continue;
      }
      // Dots and marks are smaller than arrows: they win near by.
      const bonus = kind === "way" ? 0 : 2.5;
      const distance = Math.max(0, toSegment(x, y, x1, y1, x2, y2) - bonus);
      if (distance < least) [best, least] = [pick, distance];
    }
    return best;
  }

  drawHover(pick) {
    const { overlayContext: context, width, height } = this;
    context.clearRect(0, 0, width, height);
    if (!pick || pick.kind === "area") return;
    context.save();
    context.beginPath();
    context.rect(GUTTER, this.top - 2, width, height);
    context.clip();
    context.strokeStyle = "rgba(255,196,0,0.65)";
    context.lineWidth = 7;
    context.lineCap = "round";
    context.beginPath();
    context.moveTo(pick.x1, pick.y1);
    context.lineTo(pick.x2 + 0.01, pick.y2);
    context.stroke();
    context.restore();
  }
}

function toSegment(x, y, x1, y1, x2, y2) {
  const dx = x2 - x1, dy = y2 - y1, square = dx * dx + dy * dy;
  const part = square ? Math.min(1, Math.max(0, ((x - x1) * dx + (y - y1) * dy) / square)) : 0;
  return Math.hypot(x - x1 - part * dx, y - y1 - part * dy);
}

"use strict";

/*
 * Where things are: lanes downwards, time to the right.
 */

class Space {
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
    this.tints = tintsOf(run);
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

  area(lane, span, x1, x2, top, bottom) {
    const y = this.laneTop(span[0]);
    this.pick("area", { lane, span }, x1, y + top, x2, y + bottom);
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
}

function toSegment(x, y, x1, y1, x2, y2) {
  const dx = x2 - x1, dy = y2 - y1, square = dx * dx + dy * dy;
  const part = square ? Math.min(1, Math.max(0, ((x - x1) * dx + (y - y1) * dy) / square)) : 0;
  return Math.hypot(x - x1 - part * dx, y - y1 - part * dy);
}

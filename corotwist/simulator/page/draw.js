"use strict";

/*
 * The picture of the part of the run in view, and what is around it.
 */

class Picture extends Traffic {
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
    if (run.at >= 0) this.drawViolation();
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
    context.globalAlpha = 0.5;
    context.setLineDash([4, 3]);
    context.beginPath();
    context.moveTo(x, this.top);
    context.lineTo(x, this.bottom);
    context.stroke();
    context.setLineDash([]);
    context.globalAlpha = 1;
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
    for (const node of run.nodes) {
      // Whom the verdict is about.
      context.fillStyle = run.blamed.includes(node) ? "#b00020" : "#222";
      context.fillText(`node ${node}`, 8, this.y(node) + 4);
    }
    context.restore();
    this.drawScroll();
  }

  /* That there are more lanes than can be seen. */
  drawScroll() {
    const { context, mostTop, view, width, height, top } = this;
    if (!mostTop) return;
    const room = height - top, whole = room + mostTop;
    context.fillStyle = "rgba(0,0,0,0.35)";
    context.fillRect(width - 6, top + view.top / whole * room, 4, room * room / whole);
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
    fill(run.installed, ([, , , ring]) => TINTS[this.tints[ring]]);
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

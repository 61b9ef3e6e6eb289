"use strict";

/*
 * Datagrams, deliveries and messages: arrows and dots, or bars from afar.
 */

class Traffic extends Lanes {
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
        if (far && lost && this.expected(way)) continue;
        if (lost && this.shows("lost")) losses.push(way);
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
}

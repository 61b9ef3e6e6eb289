"use strict";

/*
 * Lanes: who lives, in which ring and state.
 */

class Lanes extends Space {
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

  drawRing(span, x1, x2) {
    const { context, run, laneHeight, bandHeight } = this, [node, , , ring] = span;
    const y = this.laneTop(node), [name, , members] = run.rings[ring];
    context.fillStyle = TINTS[this.tints[ring]];
    context.fillRect(x1, y + 1, x2 - x1, laneHeight - 3);
    this.area("installed", span, x1, x2, bandHeight, laneHeight - 2);
    if (laneHeight < 30) return;
    const at = y + Math.max(bandHeight, 6) + 11, need = x2 - x1 - 8;
    const ink = INKS[this.tints[ring]], options = { need };
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
}

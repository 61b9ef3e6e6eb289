"use strict";

/*
 * What the reader does: moving, zooming, pointing, choosing.
 */

const LEAST_VIEW = 20;

class Hands {
  constructor(run) {
    this.run = run;
    this.words = new Words(run);
    const element = (id) => document.getElementById(id);
    [this.canvas, this.map, this.tip, this.found] = ["diagram", "map", "tip", "found"].map(element);
    this.tellFacts(element("facts"), element("verdict"));
    this.makeLegend(element("legend"));
    this.story = element("story");
    this.tellStory(this.story.querySelector("ol"));
    this.picture = new Picture(run, this.canvas, element("overlay"), this.map);
    this.pointers = new Map();
    this.readAddress();
    this.listen();
  }

  /* The page around the picture. */

  tellFacts(facts, verdict) {
    const { run } = this;
    const add = (text, kind = "span") => {
      const part = document.createElement(kind);
      part.textContent = text;
      facts.append(part, " ");
    };
    add(`${run.nodes.length} nodes · seed ${run.seed} · ${clockTime(run.end, 1000)} s · ${run.sent.count} datagrams`);
    if (run.forgotten) add(`(the newest; ${run.forgotten} journeys before were left out)`);
    if (run.unseen) add(`(${run.unseen} older deliveries were left out)`);
    if (run.replay) {
      add("· replay:");
      add(run.replay, "code");
    }
    if (run.at < 0) return;
    verdict.hidden = false;
    verdict.textContent = run.verdict;
    const button = document.createElement("button");
    button.textContent = "show";
    button.addEventListener("click", () => this.showViolation());
    verdict.append(button);
    if (!run.evidence) return;
    const [ring, sequence] = run.evidence, evidence = document.createElement("button");
    evidence.textContent = `follow frame ${sequence} of ring ${run.ringName(ring)}`;
    evidence.addEventListener("click", () => {
      this.follow("frame", [ring, sequence]);
      this.showSelected();
    });
    verdict.append(evidence);
  }

  makeLegend(legend) {
    for (const layer of LAYERS) {
      const button = document.createElement("button");
      button.append(sample(layer), layer.text);
      button.setAttribute("aria-pressed", "true");
      button.dataset.layer = layer.name;
      button.addEventListener("click", () => this.toggle(layer.name));
      legend.append(button);
    }
    for (const [state, color] of Object.entries(STATES).slice(0, 3)) {
      const key = document.createElement("span");
      key.className = "key";
      key.append(sample({ color, glyph: "bar" }), state);
      legend.append(key);
    }
    for (const [glyph, text] of [["hatch", "transitional, paused"], ["down", "down"]]) {
      const key = document.createElement("span");
      key.className = "key";
      key.append(sample({ color: "#777", glyph }), text);
      legend.append(key);
    }
    this.legend = legend;
  }

  toggle(name) {
    const { hidden } = this.picture;
    if (!hidden.delete(name)) hidden.add(name);
    this.changed();
  }

  tellStory(list) {
    const { run } = this;
    const lines = run.story.map(([time, until, plot, text]) => ({ time, until, plot, text }));
    if (run.at >= 0) lines.push({ time: run.at, until: run.at, plot: "end", text: run.promise });
    this.lines = lines.map((line, i) => {
      const item = this.line(line, () => this.showLine(this.shown = i), 100);
      item.classList.add(line.plot);
      list.append(item);
      return { ...line, item };
    });
  }

  line({ time, text }, act, step = 1) {
    const item = document.createElement("li"), stamp = document.createElement("time");
    stamp.textContent = clockTime(time, step);
    const words = document.createElement("span");
    words.textContent = text;
    item.append(stamp, words);
    item.addEventListener("click", act);
    return item;
  }

  /* A new ring with how it came about, everything else with what followed. */
  showLine(i) {
    const { time, until, plot } = this.lines[i];
    const before = i ? this.lines[i - 1].time : 0;
    const after = i + 1 < this.lines.length ? this.lines[i + 1].time : this.run.end;
    let from = time, to = until;
    if (plot === "ring") from = Math.max(before, time - 0.06 * SECOND);
    else to = Math.max(until, Math.min(after, time + 1.5 * SECOND));
    const around = Math.max(4000, (to - from) * 0.08);
    this.show(from - around, to + around);
  }

  showViolation() {
    const { run } = this, { sent } = run;
    const before = firstFrom(sent.t, run.at);
    const start = before ? sent.t[Math.max(0, before - 60)] : run.at;
    const length = Math.min(2 * SECOND, Math.max(5000, (run.at - start) * 1.15));
    this.show(run.at - length, run.at + length * 0.15);
  }

  /* The view. */

  show(from, to) {
    const { view } = this.picture, end = Math.max(this.run.end, 1);
    const length = Math.min(Math.max(to - from, LEAST_VIEW), end * 1.04);
    const middle = (from + to) / 2;
    // A little beyond both ends, so that what is there can be seen.
    const least = -0.02 * length, most = end + 0.02 * length - length;
    view.from = Math.max(least, Math.min(middle - length / 2, Math.max(least, most)));
    view.to = view.from + length;
    this.changed();
  }

  zoom(factor, x = (this.picture.width + GUTTER) / 2) {
    const { picture } = this, { view } = picture, time = picture.timeAt(Math.max(x, GUTTER));
    this.show(time - (time - view.from) * factor, time + (view.to - time) * factor);
  }

  move(pixels) {
    const { picture } = this, { view } = picture, time = pixels / picture.scale;
    this.show(view.from + time, view.to + time);
  }

  whole() {
    this.show(0, this.run.end);
  }

  changed() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.refresh();
    });
  }

  refresh() {
    const { picture } = this, { view, hidden } = picture;
    this.tip.hidden = true;
    picture.draw();
    for (const button of this.legend.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(!hidden.has(button.dataset.layer)));
    }
    for (const { item, time, until } of this.lines) {
      item.classList.toggle("seen", until >= view.from && time <= view.to);
    }
    this.scrollStory();
    clearTimeout(this.writing);
    this.writing = setTimeout(() => this.writeAddress(), 300);
  }

  /* The story goes along with the view. */
  scrollStory() {
    const { view } = this.picture, { lines, story } = this;
    const last = lines.findLast(({ time }) => time <= view.to);
    const first = lines.find(({ until }) => until >= view.from) || last;
    for (const line of [last, first]) {
      if (!line) continue;
      const top = line.item.offsetTop - story.offsetTop, bottom = top + line.item.offsetHeight;
      if (top < story.scrollTop) story.scrollTop = top - 4;
      if (bottom > story.scrollTop + story.clientHeight) story.scrollTop = bottom - story.clientHeight + 4;
    }
  }

  /* The address tells what is shown: #from=1.2&to=1.3&hide=token&follow=frame,0,17 */

  readAddress() {
    const address = new URLSearchParams(location.hash.slice(1)), { picture, run } = this;
    if (address.get("hide")) picture.hidden = new Set(address.get("hide").split(","));
    const [what, ...numbers] = (address.get("follow") || "").split(",");
    if (["frame", "token", "message"].includes(what)) this.follow(what, numbers.map(Number));
    const from = Number.parseFloat(address.get("from")), to = Number.parseFloat(address.get("to"));
    if (to > from) this.show(from * SECOND, to * SECOND);
    else if (picture.selected) this.showSelected();
    else if (run.at >= 0) this.showViolation();
    else this.whole();
  }

  writeAddress() {
    const { view, hidden, selected } = this.picture;
    const parts = [`from=${(view.from / SECOND).toFixed(6)}`, `to=${(view.to / SECOND).toFixed(6)}`];
    if (hidden.size) parts.push(`hide=${[...hidden].join(",")}`);
    if (selected) parts.push(`follow=${selected.key}`);
    this.written = `#${parts.join("&")}`;
    history.replaceState(null, "", this.written);
  }

  /* Following something. */

  follow(what, numbers) {
    const { run, picture } = this;
    const selected = run[what](...numbers);
    selected.key = [what, ...numbers].join(",");
    picture.selected = selected;
    this.tellFound(selected);
    this.changed();
  }

  showSelected() {
    const { run } = this, { datagrams, dots } = this.picture.selected;
    const times = [...datagrams.map((i) => run.sent.t[i]), ...dots.map((i) => run.seen.t[i])];
    if (!times.length) return this.whole();
    const from = Math.min(...times), to = Math.max(...times);
    const around = Math.max(2000, (to - from) * 0.1);
    return this.show(from - around, to + around);
  }

  letGo() {
    this.picture.selected = null;
    this.found.hidden = true;
    this.changed();
  }

  tellFound(selected) {
    const { found } = this, title = document.createElement("h2"), list = document.createElement("ol");
    const close = document.createElement("button");
    close.textContent = "×";
    close.className = "close";
    close.title = "let go";
    close.addEventListener("click", () => this.letGo());
    title.textContent = selected.title;
    for (const line of this.words.journey(selected)) {
      list.append(this.line(line, () => this.center(line.time)));
    }
    found.replaceChildren(close, title, list);
    found.hidden = false;
  }

  center(time) {
    const { view } = this.picture, half = (view.to - view.from) / 2;
    this.show(time - half, time + half);
  }

  choose(pick) {
    const { run } = this, { sent, ways, seen } = run;
    if (!pick || pick.kind === "area" || pick.kind === "mark") return this.letGo();
    const i = pick.what;
    if (pick.kind === "dot") {
      if (seen.what[i] < 2) return this.follow("frame", [seen.ring[i], seen.seq[i]]);
      return this.follow("message", [seen.sender[i], seen.life[i], seen.number[i]]);
    }
    const of = ways.of[i], kind = run.kinds[sent.kind[of]];
    if (kind === "data") {
      const [ring, sequence] = run.inner[of] || [sent.ring[of], sent.a[of]];
      return this.follow("frame", [ring, sequence]);
    }
    if (kind === "token" || kind === "commit") {
      return this.follow("token", [sent.ring[of], sent.a[of], sent.kind[of]]);
    }
    return this.letGo();
  }

  /* Pointers, wheels and keys. */

  listen() {
    const { canvas, map } = this;
    canvas.addEventListener("pointerdown", (event) => this.pressed(event));
    canvas.addEventListener("pointermove", (event) => this.moved(event));
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, (event) => this.released(event));
    }
    canvas.addEventListener("pointerleave", () => this.pointAt(null));
    canvas.addEventListener("wheel", (event) => this.wheeled(event), { passive: false });
    canvas.addEventListener("dblclick", (event) => this.zoom(0.3, event.offsetX));
    for (const kind of ["pointerdown", "pointermove"]) {
      map.addEventListener(kind, (event) => {
        if (!event.buttons) return;
        const width = this.picture.mapWidth - GUTTER;
        this.center((event.offsetX - GUTTER) / width * this.run.end);
      });
    }
    map.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(event.deltaY * 0.002));
    }, { passive: false });
    window.addEventListener("keydown", (event) => this.typed(event));
    window.addEventListener("resize", () => {
      this.picture.resize();
      this.changed();
    });
    window.addEventListener("hashchange", () => {
      if (location.hash !== this.written) this.readAddress();
    });
  }

  pressed(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    this.dragged = 0;
  }

  moved(event) {
    const before = this.pointers.get(event.pointerId), { picture } = this;
    if (!before) return this.pointAt(picture.hit(event.offsetX, event.offsetY), event);
    const now = { x: event.offsetX, y: event.offsetY };
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId);
    this.pointers.set(event.pointerId, now);
    this.dragged += Math.abs(now.x - before.x) + Math.abs(now.y - before.y);
    if (others.length) return this.pinched(before, now, others[0][1]);
    picture.view.top -= now.y - before.y;
    return this.move(before.x - now.x);
  }

  pinched(before, now, fixed) {
    const was = Math.abs(before.x - fixed.x), is = Math.abs(now.x - fixed.x);
    if (was > 5 && is > 5) this.zoom(was / is, (now.x + fixed.x) / 2);
  }

  released(event) {
    const clicked = this.pointers.delete(event.pointerId) && this.dragged < 5;
    if (clicked && event.type === "pointerup") {
      this.choose(this.picture.hit(event.offsetX, event.offsetY));
    }
  }

  wheeled(event) {
    event.preventDefault();
    const sideways = event.shiftKey ? event.deltaY : event.deltaX;
    if (event.altKey) {
      this.picture.view.top += event.deltaY;
      this.changed();
    } else if (Math.abs(sideways) > Math.abs(event.shiftKey ? 0 : event.deltaY)) this.move(sideways);
    else this.zoom(Math.exp(event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)), event.offsetX);
  }

  typed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = this.picture.width / 4;
    const deeds = {
      ArrowLeft: () => this.move(-step), ArrowRight: () => this.move(step),
      ArrowUp: () => this.zoom(1 / 1.5), ArrowDown: () => this.zoom(1.5),
      "+": () => this.zoom(1 / 1.5), "=": () => this.zoom(1 / 1.5), "-": () => this.zoom(1.5),
      f: () => this.whole(), v: () => this.run.at >= 0 && this.showViolation(),
      n: () => this.nextLine(1), p: () => this.nextLine(-1), Escape: () => this.letGo(),
    };
    const deed = deeds[event.key];
    if (!deed) return;
    event.preventDefault();
    deed();
  }

  nextLine(direction) {
    const { lines, picture } = this, { view } = picture;
    const middle = (view.from + view.to) / 2;
    const at = this.shown === undefined
      ? lines.findIndex(({ time }) => time > middle) - (direction > 0 ? 1 : 0) : this.shown;
    this.shown = Math.min(lines.length - 1, Math.max(0, at + direction));
    if (lines.length) this.showLine(this.shown);
  }

  pointAt(pick, event) {
    const { tip, picture } = this;
    picture.drawHover(pick);
    tip.hidden = !pick;
    if (!pick) return;
    tip.textContent = this.wordsFor(pick);
    const { clientX, clientY } = event, box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(clientX + 14, innerWidth - box.width - 8))}px`;
    tip.style.top = `${clientY + 18 + box.height > innerHeight ? clientY - box.height - 10 : clientY + 18}px`;
  }

  wordsFor({ kind, what }) {
    switch (kind) {
      case "way": return this.words.way(what);
      case "dot": return `${this.words.dot(what)}\n${clockTime(this.run.seen.t[what])} s`;
      case "mark": return this.words.mark(what);
      default: return this.words.span(what.lane, what.span);
    }
  }
}

/* A little picture for the legend. */
function sample({ color, width = 1, dash, glyph }) {
  const canvas = document.createElement("canvas"), ratio = window.devicePixelRatio || 1;
  canvas.width = 26 * ratio;
  canvas.height = 12 * ratio;
  canvas.style.cssText = "width:26px;height:12px";
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.strokeStyle = context.fillStyle = color;
  context.lineWidth = glyph ? 2 : width;
  context.setLineDash(dash || []);
  context.beginPath();
  if (glyph === "dot") context.arc(13, 6, 3.5, 0, 7);
  else if (glyph === "triangle") ["moveTo", "lineTo", "lineTo"].forEach((to, i) => context[to]([8, 18, 13][i], [10, 10, 2][i]));
  else if (glyph === "cross") [[9, 2, 17, 10], [9, 10, 17, 2]].forEach(([a, b, c, d]) => (context.moveTo(a, b), context.lineTo(c, d)));
  else if (glyph) context.rect(2, 1, 22, 10);
  else (context.moveTo(1, 6), context.lineTo(20, 6));
  if (glyph === "hatch") context.fillStyle = hatchOf(context);
  if (glyph === "down") context.fillStyle = "#ddd";
  if (glyph && glyph !== "cross") context.fill(); else context.stroke();
  if (!glyph) {
    context.setLineDash([]);
    context.beginPath();
    context.moveTo(25, 6);
    context.lineTo(18, 2.5);
    context.lineTo(18, 9.5);
    context.fill();
  }
  return canvas;
}

function hatchOf(context) {
  return Picture.prototype.hatching.call(null, "#555") || context.fillStyle;
}

new Hands(new Run(JSON.parse(document.getElementById("run").textContent))).changed();

"use strict";

/*
 * Everything that can be pointed at, in words.
 */

const DOES = [
  (frame) => `gives frame ${frame} its place`,
  (frame, sender) => `delivers frame ${frame}, from node ${sender}`,
  (message) => `submits message ${message}`,
  (message) => `hands up message ${message}`,
];
// Shorter, where the title says what it is about.
const DOES_IT = ["gives the frame its place", "delivers the frame", "submits a message", "hands up message"];

/* Seconds, with as many decimals as tell steps of so many microseconds apart. */
function clockTime(time, step = 1) {
  const decimals = Math.min(6, Math.max(0, Math.ceil(-Math.log10(step / SECOND))));
  const [whole, rest = ""] = (time / SECOND).toFixed(decimals).split(".");
  return rest ? `${whole}.${rest.replace(/(\d{3})(?=\d)/g, "$1\u2009")}` : whole;
}

function duration(time) {
  if (time >= SECOND) return `${(time / SECOND).toFixed(2)} s`;
  return time >= 100 ? `${(time / 1000).toFixed(2)} ms` : `${time} µs`;
}

/* Three and more in a row as a range. */
function nodesOf(nodes) {
  const rows = [];
  for (const node of [...nodes].sort((a, b) => a - b)) {
    const row = rows[rows.length - 1];
    if (row && node === row[row.length - 1] + 1) row.push(node); else rows.push([node]);
  }
  return rows.map((row) => (row.length > 2 ? `${row[0]}-${row[row.length - 1]}` : row.join(" "))).join(" ");
}

class Words {
  constructor(run) {
    this.run = run;
  }

  datagram(i) {
    const { run } = this, { sent } = run;
    const ring = run.ringName(sent.ring[i]);
    const note = run.notes[sent.note[i]];
    const again = sent.again[i] ? ", again" : "";
    switch (run.kinds[sent.kind[i]]) {
      case "token":
        return `token ${sent.a[i]} of ring ${ring}${again}: sequence ${sent.b[i]}, ` +
          `all received up to ${sent.c[i]}${note ? `; ${note}` : ""}`;
      case "data": return this.frame(i, ring, again);
      case "join": return `join: ${note}`;
      case "commit":
        return `commit token ${sent.a[i]} of ring ${ring}${again}: ` +
          `${sent.b[i]} of ${sent.c[i]} filled in; ${note}`;
      case "merge": return `ring ${ring} makes itself heard`;
      case "cancel": return `there is work: ring ${ring} must not hold the token`;
      default: return `a datagram that cannot be read: ${note}`;
    }
  }

  frame(i, ring, again) {
    const { run } = this, { sent } = run, old = run.inner[i];
    const inside = old ? `, with frame ${old[1]} of ring ${run.ringName(old[0])} inside` : "";
    return `frame ${sent.a[i]} of ring ${ring}, from node ${sent.b[i]}${again}: ` +
      `${sent.c[i]} bytes${inside}`;
  }

  way(i) {
    const { run } = this, { ways, sent } = run, of = ways.of[i];
    const fate = run.fates[run.fateOf[i]];
    const takes = ways.takes[i];
    const came = takes < 0 ? "" : `arrives ${clockTime(sent.t[of] + takes)} s, after ${duration(takes)}`;
    const end = [came, fate].filter(Boolean).join("; ");
    return `${sent.node[of]} → ${ways.target[i]}: ${this.datagram(of)}\n` +
      `sent ${clockTime(sent.t[of])} s; ${end}`;
  }

  dot(i) {
    const { run } = this, { seen } = run, what = seen.what[i];
    const ring = `${seen.seq[i]} of ring ${run.ringName(seen.ring[i])}`;
    const message = `${seen.number[i]} of node ${seen.sender[i]}`;
    return `node ${seen.node[i]} ${DOES[what](what < 2 ? ring : message, seen.sender[i])}`;
  }

  span(lane, [node, from, to, what, text]) {
    const { run } = this;
    const when = `${clockTime(from)} s to ${clockTime(to)} s (${duration(to - from)})`;
    switch (lane) {
      case "installed": return `node ${node} ${text}\n${when}\nring ${run.rings[what][1]}`;
      case "passages": return `node ${node} ${text}\n${clockTime(from)} s`;
      case "states": return `node ${node}: ${what}, because ${text}\n${when}`;
      case "lives": return `node ${node}, process ${what}\n${when}`;
      case "pauses": return `node ${node} ${text}\n${when}`;
      case "network": return `links: ${text}\n${when}`;
      default: return `the network: ${text}\n${when}`;
    }
  }

  mark([time, node, , text]) {
    return `${node ? `node ${node} ` : ""}${text}\n${clockTime(time)} s`;
  }

  dotShortly(i) {
    const { seen } = this.run, what = seen.what[i];
    return `node ${seen.node[i]} ${DOES_IT[what]}` + (what === 3 ? ` ${seen.number[i]}` : "");
  }

  /* The journey of a selection, line by line. */
  journey({ datagrams, dots }) {
    const { run } = this, { sent, ways, seen, waysFrom } = run;
    const lines = dots.map((i) => ({ time: seen.t[i], order: 2, text: this.dotShortly(i) }));
    for (const i of datagrams) {
      const to = new Map();
      for (let way = waysFrom[i]; way < ways.count && ways.of[way] === i; way++) {
        const fate = run.fates[run.fateOf[way]];
        to.set(fate, [...(to.get(fate) || []), ways.target[way]]);
      }
      const targets = [...to].map(([fate, nodes]) => nodesOf(nodes) + (fate ? ` (${fate})` : ""));
      const text = `${sent.node[i]} → ${targets.join(", ")}: ${this.datagram(i)}`;
      lines.push({ time: sent.t[i], order: 1, text });
    }
    return lines.sort((a, b) => a.time - b.time || a.order - b.order);
  }
}

"use strict";

/*
 * The run as numbers.
 * Times are microseconds of the run.
 */

const SECOND = 1e6;

/* Columns come as differences; [n] stands for n times 0. */
function unpackedColumn(packed, kinds) {
  const count = packed.reduce((sum, entry) => sum + (Array.isArray(entry) ? entry[0] : 1), 0);
  const column = new Float64Array(count), last = new Map();
  let i = 0;
  for (const entry of packed) {
    for (let times = Array.isArray(entry) ? entry[0] : 1; times > 0; times--, i++) {
      const kind = kinds ? kinds[i] : 0;
      column[i] = (last.get(kind) || 0) + (Array.isArray(entry) ? 0 : entry);
      last.set(kind, column[i]);
    }
  }
  return column;
}

/* Numbers in columns after the one of kinds have nothing to do with other kinds. */
function unpacked(columns, kind) {
  const result = {};
  for (const name of Object.keys(columns)) result[name] = unpackedColumn(columns[name], result[kind]);
  result.count = Object.values(result)[0].length;
  return result;
}

/* The first index whose number is not below. */
function firstFrom(column, number) {
  let low = 0, high = column.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (column[middle] < number) low = middle + 1; else high = middle;
  }
  return low;
}

function median(numbers) {
  const sorted = Float64Array.from(numbers).sort();
  return sorted.length ? sorted[sorted.length >> 1] : 0;
}

class Run {
  constructor(packed) {
    Object.assign(this, packed);
    this.sent = unpacked(packed.sent, "kind");
    this.ways = unpacked(packed.ways);
    this.seen = unpacked(packed.seen, "what");
    this.fateOf = new Uint8Array(this.ways.count).fill(this.losses);
    for (const i of Object.keys(packed.unusual)) this.fateOf[i] = packed.unusual[i];
    this.lane = new Map(this.nodes.map((node, i) => [node, i]));
    this.kind = Object.fromEntries(this.kinds.map((name, i) => [name, i]));
    this.measure();
  }

  /* How long journeys take, and where those of each datagram begin. */
  measure() {
    const { ways, sent } = this;
    const taken = [];
    let longest = 0;
    this.waysFrom = new Int32Array(sent.count + 1).fill(ways.count);
    this.losing = new Uint8Array(sent.count);
    for (let i = ways.count - 1; i >= 0; i--) {
      this.waysFrom[ways.of[i]] = i;
      if (this.lost(i)) this.losing[ways.of[i]] = 1;
      if (ways.takes[i] >= 0) {
        longest = Math.max(longest, ways.takes[i]);
        if (taken.length < 5000) taken.push(ways.takes[i]);
      }
    }
    this.longest = longest;
    this.typical = median(taken) || 200;
  }

  lost(way) {
    return this.fateOf[way] < this.losses;
  }

  /* When a journey ends; one that was lost at once, a little later. */
  endOf(way) {
    const { ways, sent } = this;
    const takes = ways.takes[way];
    return sent.t[ways.of[way]] + (takes < 0 ? this.typical * 0.6 : takes);
  }

  /* Datagrams, from the first that could still be on its way. */
  sentBetween(from, to) {
    const first = firstFrom(this.sent.t, from - this.longest);
    return [first, firstFrom(this.sent.t, to)];
  }

  seenBetween(from, to) {
    return [firstFrom(this.seen.t, from), firstFrom(this.seen.t, to)];
  }

  ringName(ring) {
    return ring < 0 ? "" : this.rings[ring][0];
  }

  /* What belongs together with a datagram or a dot: indices of both. */

  frame(ring, sequence) {
    const { sent, seen, kind, inner } = this;
    const datagrams = [], dots = [], name = `${this.ringName(ring)}/${sequence}`;
    const asking = this.notes.map((note) => note.startsWith("asks for ") && note.split(" ").includes(name));
    for (let i = 0; i < sent.count; i++) {
      if (asking[sent.note[i]]) datagrams.push(i);
      if (sent.kind[i] !== kind.data) continue;
      const old = inner[i];
      if ((sent.ring[i] === ring && sent.a[i] === sequence) ||
          (old && old[0] === ring && old[1] === sequence)) datagrams.push(i);
    }
    for (let i = 0; i < seen.count; i++) {
      if (seen.what[i] !== 2 && seen.ring[i] === ring && seen.seq[i] === sequence) {
        dots.push(i);
      }
    }
    return { title: `Frame ${sequence} of ring ${this.ringName(ring)}`, datagrams, dots };
  }

  /* One rotation before and after. */
  token(ring, number, kind) {
    const { sent, nodes } = this;
    const datagrams = [];
    for (let i = 0; i < sent.count; i++) {
      if (sent.kind[i] === kind && sent.ring[i] === ring &&
          Math.abs(sent.a[i] - number) <= nodes.length) datagrams.push(i);
    }
    const what = this.kinds[kind] === "token" ? "Token" : "Commit token";
    return { title: `${what} of ring ${this.ringName(ring)} around ${number}`, datagrams, dots: [] };
  }

  message(sender, life, number) {
    const { seen } = this;
    const datagrams = new Set(), dots = new Set();
    for (let i = 0; i < seen.count; i++) {
      if (seen.what[i] < 2 || seen.sender[i] !== sender) continue;
      if (seen.life[i] !== life || seen.number[i] !== number) continue;
      dots.add(i);
    }
    const frames = new Set([...dots].filter((i) => seen.what[i] === 3)
      .map((i) => `${seen.ring[i]} ${seen.seq[i]}`));
    for (const frame of frames) {
      const [ring, sequence] = frame.split(" ").map(Number);
      const more = this.frame(ring, sequence);
      more.datagrams.forEach((i) => datagrams.add(i));
      more.dots.forEach((i) => seen.what[i] < 2 && dots.add(i));
    }
    const order = (set) => [...set].sort((a, b) => a - b);
    return { title: `Message ${number} of node ${sender}`, datagrams: order(datagrams), dots: order(dots) };
  }
}

// A client of a corotwist node, written from docs/ipc.md alone, without any
// package.  It joins a group, sends what it is told, and prints each event as
// one line of JSON.
//
//   node client.js SOCKET GROUP
//
// Commands come on standard input, one per line:
//   send TEXT...     the words, as one batch of that many messages
//   large SIZE CHAR  one message of that size
//   sure LEVEL TEXT  one message, and where it is when it is so far
//   follow           be told of views of the nodes, too
//   members          ask who is a member
//   groups           ask which groups there are
//   wrong            ask for what there is not, and for what is wrong
//   leave            leave the group, and end
"use strict";

const net = require("net");
const crypto = require("crypto");
const readline = require("readline");

const [path, groupName] = process.argv.slice(2);
const group = Buffer.from(groupName);

function print(event) {
  process.stdout.write(JSON.stringify(event) + "\n");
}

// Boxes.

function encode(fields) {
  const pieces = [];
  for (const [name, value] of Object.entries(fields)) {
    const key = Buffer.from(name);
    const bytes = Buffer.isBuffer(value) ? value : Buffer.from(String(value));
    const lengths = [Buffer.alloc(2), Buffer.alloc(2)];
    lengths[0].writeUInt16BE(key.length);
    lengths[1].writeUInt16BE(bytes.length);
    pieces.push(lengths[0], key, lengths[1], bytes);
  }
  pieces.push(Buffer.from([0, 0]));
  return Buffer.concat(pieces);
}

class Connection {
  constructor(onEvent) {
    this.pending = Buffer.alloc(0);
    this.waiting = new Map();
    this.lastTag = 0;
    this.onEvent = onEvent;
  }

  open() {
    return new Promise((resolve, reject) => {
      this.socket = net.connect(path, resolve);
      this.socket.on("error", reject);
      this.socket.on("data", (data) => this.received(data));
    });
  }

  received(data) {
    this.pending = Buffer.concat([this.pending, data]);
    for (;;) {
      const box = this.nextBox();
      if (box === null) return;
      if (box._answer !== undefined) this.answered(box._answer, (p) => p.resolve(box));
      else if (box._error !== undefined) this.answered(box._error, (p) => p.reject(box));
      else this.onEvent(box);
    }
  }

  nextBox() {
    const box = {};
    const data = this.pending;
    let offset = 0;
    for (;;) {
      if (offset + 2 > data.length) return null;
      const keyLength = data.readUInt16BE(offset);
      offset += 2;
      if (keyLength === 0) {
        this.pending = data.subarray(offset);
        return box;
      }
      if (offset + keyLength + 2 > data.length) return null;
      const key = data.toString("latin1", offset, offset + keyLength);
      offset += keyLength;
      const valueLength = data.readUInt16BE(offset);
      offset += 2;
      if (offset + valueLength > data.length) return null;
      box[key] = data.subarray(offset, offset + valueLength);
      offset += valueLength;
    }
  }

  answered(tag, settle) {
    const promise = this.waiting.get(tag.toString());
    this.waiting.delete(tag.toString());
    settle(promise);
  }

  tell(command, fields) {
    this.socket.write(encode({ _command: command, ...fields }));
  }

  ask(command, fields) {
    const tag = String(++this.lastTag);
    return new Promise((resolve, reject) => {
      this.waiting.set(tag, { resolve, reject });
      this.tell(command, { _ask: tag, ...fields });
    });
  }
}

// Batches and views.

function pack(messages) {
  const pieces = [];
  for (const message of messages) {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(message.length);
    pieces.push(length, message);
  }
  return Buffer.concat(pieces);
}

function unpack(batch) {
  const messages = [];
  for (let offset = 0; offset < batch.length; ) {
    const size = batch.readUInt32LE(offset);
    offset += 4;
    messages.push(batch.subarray(offset, offset + size));
    offset += size;
  }
  return messages;
}

function numbers(data) {
  const found = [];
  for (let offset = 0; offset < data.length; offset += 4) found.push(data.readUInt32LE(offset));
  return found;
}

function triples(list) {
  const found = [];
  for (let n = 0; n < list.length; n += 3) found.push(list.slice(n, n + 3));
  return found;
}

function pairs(list) {
  const found = [];
  for (let n = 0; n < list.length; n += 2) found.push(list.slice(n, n + 2));
  return found;
}

function viewId(data) {
  return {
    sequence: Number(data.readBigUInt64LE(0)),
    representative: data.readUInt32LE(8),
    number: data.readUInt32LE(12),
  };
}

function describe(message) {
  if (message.length <= 100) return { text: message.toString() };
  const digest = crypto.createHash("sha256").update(message).digest("hex");
  return { size: message.length, sha256: digest };
}

// Events.

let limits;
let consumed = 0;
let parts = [];
let places;
let finished = () => {};

function credit(bytes) {
  consumed += bytes;
  if (consumed >= limits.window / 4) {
    dispatch.tell("credit", { bytes: consumed });
    consumed = 0;
  }
}

const VALUES = {
  "cpg.deliver": "batch",
  "cpg.view": "view",
  "view.transition": "json",
  "view.installed": "json",
};

function eventReceived(box) {
  const command = box._command.toString();
  const value = VALUES[command];
  let whole = null;
  if (value !== undefined) {
    if (parts.length === 0) places = box.places;
    parts.push(Buffer.from(box[value]));
    if (box.more === undefined || box.more.toString() === "False") {
      whole = Buffer.concat(parts);
      parts = [];
    }
  }
  if (command === "cpg.deliver") {
    if (whole !== null) delivered(box, whole);
    credit(box.batch.length);
  } else {
    if (command === "cpg.view" && whole !== null) viewChanged(whole, box);
    if (command.startsWith("view.") && whole !== null) nodesChanged(command, whole);
    credit(256);
  }
}

function delivered(box, batch) {
  const messages = unpack(batch);
  if (messages.length !== Number(box.count)) throw new Error("the count is wrong");
  const where = sequences(places);
  if (where.length !== messages.length) throw new Error("the places are wrong");
  for (const [number, message] of messages.entries()) {
    print({
      event: "message",
      nodeid: Number(box.nodeid),
      pid: Number(box.pid),
      sequence: where[number],
      ...describe(message),
    });
  }
}

// Numbers of 64 bits are more than a number of JavaScript holds: text.
function sequences(data) {
  const found = [];
  for (let offset = 0; offset < data.length; offset += 12) {
    const first = data.readBigUInt64LE(offset);
    const count = data.readUInt32LE(offset + 8);
    for (let n = 0; n < count; n++) found.push(String(first + BigInt(n)));
  }
  return found;
}

function nodesChanged(command, json) {
  print({ event: command, ...JSON.parse(json.toString()) });
}

function viewChanged(view, box) {
  const all = numbers(view);
  const [memberCount, leftCount] = all;
  const changes = triples(all.slice(3 + 2 * memberCount));
  const left = changes.slice(0, leftCount);
  print({
    event: "view",
    members: pairs(all.slice(3, 3 + 2 * memberCount)),
    left,
    joined: changes.slice(leftCount),
    nodes: viewId(box.viewid),
    quorate: String(box.quorate) === "True",
  });
  if (left.some(([nodeid, pid]) => nodeid === limits.nodeid && pid === limits.pid)) finished();
}

// Requests.

let streams = 0;

function send(messages) {
  const batch = pack(messages);
  const common = { group, count: messages.length };
  if (batch.length <= limits.part) return requests.ask("cpg.send", { ...common, batch });
  common.stream = ++streams;
  let part = 0;
  let offset = 0;
  for (; offset + limits.part < batch.length; offset += limits.part) {
    const piece = batch.subarray(offset, offset + limits.part);
    requests.tell("cpg.send", { ...common, part: part++, more: "True", batch: piece });
  }
  return requests.ask("cpg.send", { ...common, part, more: "False", batch: batch.subarray(offset) });
}

async function refused(command, fields) {
  try {
    await requests.ask(command, fields);
    print({ event: "accepted", command });
  } catch (error) {
    print({ event: "refused", command, code: String(error._error_code) });
  }
}

const run = {
  async send(words) {
    await send(words.map((word) => Buffer.from(word)));
  },
  async large([size, character]) {
    await send([Buffer.alloc(Number(size), character)]);
  },
  async sure([level, word]) {
    const fields = { group, count: 1, level, batch: pack([Buffer.from(word)]) };
    const answer = await requests.ask("cpg.send", fields);
    print({
      event: "receipt",
      sequence: String(answer.sequence),
      view: viewId(answer.view),
      members: numbers(answer.members),
    });
  },
  async follow() {
    await requests.ask("view.follow", {});
  },
  async members() {
    const answer = await requests.ask("cpg.members", { group });
    print({ event: "members", members: pairs(numbers(answer.members)) });
  },
  async groups() {
    const answer = await requests.ask("cpg.groups", {});
    print({ event: "groups", groups: unpack(answer.groups).map(String) });
  },
  async wrong() {
    await refused("cpg.join", { group });
    await refused("cpg.join", { group: Buffer.alloc(129) });
    await refused("cpg.leave", { group: "another" });
    await refused("cpg.send", { group, count: 1 });
    await refused("cpg.send", { group, count: 1, batch: pack([]), guarantee: 4 });
    await refused("cpg.nonsense", {});
  },
  async leave() {
    await new Promise((resolve) => {
      finished = resolve;
      requests.ask("cpg.leave", { group });
    });
    requests.socket.destroy();
    dispatch.socket.destroy();
  },
};

const requests = new Connection((box) => {
  print({ event: "closing", reason: String(box.reason) });
  process.exit(3);
});
const dispatch = new Connection(eventReceived);

async function main() {
  await requests.open();
  const answer = await requests.ask("hello", { version: 1, role: "request" });
  limits = {};
  for (const name of ["nodeid", "pid", "window", "part", "largest"]) {
    limits[name] = Number(answer[name]);
  }
  const secret = Buffer.from(answer.secret);
  await dispatch.open();
  await dispatch.ask("hello", { version: 1, role: "dispatch", secret });
  if (limits.pid !== process.pid) throw new Error("that is not me");
  await requests.ask("cpg.join", { group });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [command, ...words] = line.split(" ");
    await run[command](words);
    if (command === "leave") process.exit(0);
  }
}

main().catch((error) => {
  process.stderr.write(String(error && error._error_code ? error._error_description : error.stack) + "\n");
  process.exit(1);
});

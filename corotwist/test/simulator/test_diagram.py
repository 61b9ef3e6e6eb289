"""
The page that shows a run.
"""

import json
import re
import subprocess
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from shutil import which
from typing import Any, Final
from unittest.mock import patch

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from corotwist.simulator import Cluster, Faults, Violation, chronicle
from corotwist.simulator import diagram as module
from corotwist.simulator.diagram import SCRIPTS, page
from corotwist.simulator.journeys import DROPPED, LOSSES, ON_TIME, UNHEARD, Journeys
from corotwist.simulator.judges.judge import Life

# Elements that have no end.
VOID: Final = {"meta", "br", "link", "img", "input", "hr"}
# 10 s of 8 nodes under load are to stay below this.
MODEST: Final = 3_000_000


class Outline(HTMLParser):
    """
    Elements must be closed in order; notes what is in them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.links += [str(v) for k, v in attrs if k in {"src", "href", "data"}]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"{tag} closes something else"

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)


def outline(text: str) -> Outline:
    """
    The elements of a page.
    """
    found = Outline()
    found.feed(text)
    found.close()
    return found


def runOf(text: str) -> dict[str, Any]:
    """
    What a page's script is told.
    """
    scripts = outline(text).texts["script"]
    run: dict[str, Any] = json.loads(scripts[0])
    return run


def unpacked(packed: dict[str, list[Any]], kind: str = "") -> dict[str, list[int]]:
    """
    Columns of numbers, as the script reads them.
    """
    columns: dict[str, list[int]] = {}
    for name, entries in packed.items():
        flat = [
            number
            for entry in entries
            for number in ([0] * entry[0] if isinstance(entry, list) else [entry])
        ]
        kinds = columns.get(kind, [0] * len(flat))
        last: dict[int, int] = {}
        column = []
        for number, of in zip(flat, kinds, strict=True):
            last[of] = last.get(of, 0) + number
            column.append(last[of])
        columns[name] = column
    return columns


def lossy() -> Cluster:
    """
    Three nodes, a frame and a token that are lost, a crash and a partition.
    """
    cluster = Cluster(size=3, seed=5, keepTrace=True, replay="again <5>")
    cluster.run(1.0)
    cluster.drop("data", 1, 3)
    cluster.multicast(1, b"lost once")
    cluster.run(0.5)
    cluster.drop("token", 2, 3)
    cluster.multicast(2, b"token lost")
    cluster.run(0.5)
    cluster.kill(3)
    cluster.run(3.0)
    cluster.partition({1}, {2, 3})
    cluster.run(3.0)
    return cluster


class PageTests(SynchronousTestCase):
    """
    The page as text.
    """

    def setUp(self) -> None:
        self.cluster = lossy()
        self.text = page(self.cluster)

    def test_parses(self) -> None:
        """
        Every element is closed where it should be.
        """
        found = outline(self.text)
        self.assertEqual(found.open, [])
        self.assertEqual(found.texts["title"], ["3 nodes, seed 5"])

    def test_alone(self) -> None:
        """
        The page needs nothing but itself.
        """
        self.assertEqual(outline(self.text).links, [])
        for word in ("http:", "https:", "@import", "url(", "import(", "fetch("):
            self.assertNotIn(word, self.text)

    def test_filled(self) -> None:
        """
        No place of the template is left.
        """
        self.assertEqual(re.findall(r"<!--\w+-->|/\*[A-Z]+\*/", self.text), [])

    def test_same(self) -> None:
        """
        The same seed gives the same page, and another seed another.
        """
        self.assertEqual(page(lossy()), self.text)
        other = Cluster(size=3, seed=6, keepTrace=True)
        other.run(0.1)
        self.assertNotEqual(page(other), self.text)

    def test_escaped(self) -> None:
        """
        Texts stay texts, whatever is in them.
        """
        evil = "</title></script><script>alert('&')</script><!--RUN-->/*RUN*/"
        violation = Violation("P4", evil, ())
        text = page(self.cluster, evil, violation)
        found = outline(text)
        self.assertEqual(len(found.texts["script"]), 2)
        self.assertEqual(found.texts["title"], [evil])
        run = runOf(text)
        self.assertEqual(run["title"], evil)
        self.assertIn(evil, run["verdict"])

    def test_command(self) -> None:
        """
        Seed and replay command are there.
        """
        run = runOf(self.text)
        self.assertEqual((run["seed"], run["replay"]), (5, "again <5>"))

    def test_noViolation(self) -> None:
        """
        A run without a violation has no verdict.
        """
        run = runOf(self.text)
        self.assertEqual((run["verdict"], run["at"]), ("", -1))

    def test_violation(self) -> None:
        """
        What the judges saw is told, and is where the run ended.
        """
        last = self.cluster.nodes[2].configurations[-1].ringId
        lives = (Life(2), Life(3))
        details = {"ring": last, "sequence": 1}
        violation = Violation("P1.4", "seen twice", lives, details)
        self.cluster.jury.violated(violation)
        run = runOf(page(self.cluster))
        self.assertIn("P1.4: seen twice", run["verdict"])
        self.assertEqual(run["blamed"], [2, 3])
        ring, sequence = run["evidence"]
        name, ringId, members = run["rings"][ring]
        self.assertEqual((ringId, members, sequence), (str(last), "2", 1))
        self.assertIn(f"ring {name} ({last})", run["verdict"])
        self.assertEqual(run["promise"], "P1.4 broken")
        self.assertEqual(run["at"], run["end"])

    def test_unrecorded(self) -> None:
        """
        A cluster that kept nothing cannot be shown.
        """
        self.assertRaises(AssertionError, page, Cluster(size=1))

    def test_everyKind(self) -> None:
        """
        The script has looks for every kind of fault, datagram and end.
        """
        script = "".join(module._part(name) for name in SCRIPTS)
        run = runOf(self.text)
        marks = {event for _, _, event, _ in run["marks"]}
        self.assertLessEqual({"boot", "fail", "partition", "store"}, marks)
        told = set(chronicle._WORDS) - {"conf", "state", *chronicle.PLENTIFUL}
        for event in marks | told | {"refused"}:
            self.assertRegex(script, rf"\b{event}: \[\"#")
        layers = re.search(r"const LAYERS = \[.*?\n\];", script, re.DOTALL)
        assert layers is not None
        for kind in run["kinds"]:
            self.assertIn(f'"{kind}"', layers[0])

    def test_expectedLosses(self) -> None:
        """
        The script knows by name which losses are no news.
        """
        traffic = module._part("traffic.js")
        for fate in re.findall(r'fate === "([^"]+)"', traffic):
            self.assertIn(fate, LOSSES)


class DatagramsTests(SynchronousTestCase):
    """
    What is drawn of datagrams and deliveries.
    """

    def setUp(self) -> None:
        self.run_ = runOf(page(lossy()))
        self.sent = unpacked(self.run_["sent"], "kind")
        self.ways = unpacked(self.run_["ways"])

    def ended(self, fate: str) -> list[tuple[int, int]]:
        """
        Datagram and target of the journeys with a fate.
        """
        run = self.run_
        code = run["fates"].index(fate)
        of, target = self.ways["of"], self.ways["target"]
        chosen = [int(i) for i, f in run["unusual"].items() if f == code]
        return [(of[i], target[i]) for i in chosen]

    def test_dropped(self) -> None:
        """
        The frame and the token that were lost are drawn as lost, with the link.
        """
        lost = self.ended(DROPPED)
        kinds = [self.run_["kinds"][self.sent["kind"][i]] for i, _ in lost]
        self.assertEqual(kinds, ["data", "token"])
        self.assertEqual([target for _, target in lost], [3, 3])
        self.assertEqual([self.sent["node"][i] for i, _ in lost], [1, 2])

    def test_retransmission(self) -> None:
        """
        The lost frame is asked for, and sent again.
        """
        asked = [note for note in self.run_["notes"] if note.startswith("asks for")]
        self.assertEqual(len(asked), 1)
        again, kinds = self.sent["again"], self.sent["kind"]
        repeated = [
            self.run_["kinds"][kind]
            for kind, repeat in zip(kinds, again, strict=True)
            if repeat
        ]
        self.assertIn("data", repeated)
        self.assertIn("token", repeated)

    def test_unheard(self) -> None:
        """
        What goes to a dead node is not heard there.
        """
        self.assertEqual({target for _, target in self.ended(UNHEARD)}, {3})

    def test_journeys(self) -> None:
        """
        Every datagram has its journeys, each to another node than its sender,
        and the others arrive later than they left.
        """
        run, node = self.run_, self.sent["node"]
        of, target, takes = (self.ways[name] for name in ("of", "target", "takes"))
        self.assertEqual(sorted(set(of)), [*range(len(node))])
        self.assertTrue(all(node[i] != t for i, t in zip(of, target, strict=True)))
        self.assertTrue(all(time == -1 or time > 0 for time in takes))
        self.assertEqual(run["fates"][run["losses"]], ON_TIME)

    def test_tokens(self) -> None:
        """
        The numbers of tokens are those of the wire: one more at each hop, but
        for the one that was lost and the first of a ring.
        """
        token = self.run_["kinds"].index("token")
        column = zip(self.sent["a"], self.sent["kind"], strict=True)
        numbers = [number for number, kind in column if kind == token]
        steps = [b - a for a, b in pairwise(numbers)]
        self.assertGreater(steps.count(1), 0.9 * len(steps))

    def test_kinds(self) -> None:
        """
        Joins and commit tokens say who takes part.
        """
        notes = self.run_["notes"]
        self.assertIn("hears 1-3", notes)
        self.assertIn("members 1-3", notes)
        self.assertTrue(any("given up: 3" in note for note in notes))

    def test_messages(self) -> None:
        """
        A message that was handed up comes with the frame that brought it.
        """
        run = self.run_
        seen = unpacked(run["seen"], "what")
        rows = [*zip(*seen.values(), strict=True)]
        at = [*seen].index
        sent = [row for row in rows if row[at("what")] == 2]
        self.assertEqual([row[at("node")] for row in sent], [1, 2])
        handed = [row for row in rows if row[at("what")] == 3]
        self.assertEqual(len(handed), 6)
        for row in handed[:3]:
            self.assertEqual(row[at("sender")], 1)
            frame = (row[at("ring")], row[at("seq")])
            self.assertEqual(frame, (handed[0][at("ring")], handed[0][at("seq")]))
            self.assertEqual(run["rings"][frame[0]][2], "1-3")

    def test_recovery(self) -> None:
        """
        A frame that carries one of an old ring tells which.
        """
        cluster = Cluster(size=3, seed=5, keepTrace=True)
        cluster.run(1.0)
        cluster.drop("data", target=3, count=1000)
        cluster.multicast(1, b"for 2 only")
        self.assertTrue(cluster.runUntil(lambda: bool(cluster.nodes[2].log), 1.0))
        cluster.forget()
        cluster.kill(1)
        cluster.run(4.0)
        run = runOf(page(cluster))
        rings = [run["rings"][ring][2] for ring, _ in run["inner"].values()]
        self.assertIn("1-3", rings)

    def test_sealed(self) -> None:
        """
        With a key, datagrams are opened before they are shown.
        """
        cluster = Cluster(size=2, seed=5, keepTrace=True, key=bytes(range(32)))
        cluster.run(0.5)
        run = runOf(page(cluster))
        kinds = {run["kinds"][kind] for kind in unpacked(run["sent"])["kind"]}
        self.assertLessEqual({"token", "data", "join", "commit"}, kinds)
        self.assertNotIn("other", kinds)

    def test_unreadable(self) -> None:
        """
        What cannot be read is shown too, and why.
        """
        cluster = Cluster(size=2, seed=5, keepTrace=True)
        cluster.run(0.1)
        cluster.inject(1, 2, b"not a message")
        run = runOf(page(cluster))
        sent = unpacked(run["sent"], "kind")
        self.assertEqual(run["kinds"][sent["kind"][-1]], "other")
        self.assertTrue(run["notes"][sent["note"][-1]])

    def test_services(self) -> None:
        """
        Whole nodes are shown like others.
        """
        cluster = Cluster(size=3, seed=5, keepTrace=True, services=True)
        cluster.run(1.0)
        cluster.client(1).join(b"group")
        cluster.run(0.5)
        run = runOf(page(cluster))
        self.assertEqual(run["rings"][-1][2], "1-3")

    def test_modest(self) -> None:
        """
        Ten seconds of eight busy nodes are a page of a few megabytes.
        """
        cluster = Cluster(size=8, seed=5, keepTrace=True, faults=Faults(loss=0.001))
        cluster.load(25.0, 10.0)
        cluster.run(10.0)
        self.assertLess(len(page(cluster)), MODEST)

    def test_bounded(self) -> None:
        """
        The newest datagrams and deliveries are kept, and the page tells how
        many were left out.
        """
        cluster = Cluster(size=3, seed=5, keepTrace=True)
        cluster.network.journeys = Journeys(keep=50)
        cluster.run(1.0)
        cluster.load(100.0, 1.0)
        cluster.run(1.0)
        with patch.object(module, "MOST_SEEN", 20):
            run = runOf(page(cluster))
        self.assertEqual(len(unpacked(run["ways"])["of"]), 50)
        self.assertEqual(run["forgotten"], cluster.network.journeys.count - 50)
        self.assertEqual(len(unpacked(run["seen"])["t"]), 20)
        self.assertGreater(run["unseen"], 100)


# Reads a run as the page does, and asks it a few things.
ASK: Final = """
const fs = require("fs");
const [runFile, scripts] = process.argv.slice(1);
const source = scripts.split(",").map((name) => fs.readFileSync(name, "utf8")).join("");
const { Run, Words } = new Function(source + "; return { Run, Words };")();
const run = new Run(JSON.parse(fs.readFileSync(runFile, "utf8")));
const words = new Words(run), lost = [];
for (let i = 0; i < run.ways.count; i++) if (run.lost(i)) lost.push(i);
const all = [];
for (let i = 0; i < run.ways.count; i++) all.push(words.way(i));
for (let i = 0; i < run.seen.count; i++) all.push(words.dot(i));
for (const mark of run.marks) all.push(words.mark(mark));
for (const lane of ["installed", "passages", "states", "lives", "network", "weather"]) {
  for (const span of run[lane]) all.push(words.span(lane, span));
}
const of = run.ways.of[lost[0]];
const journey = run.frame(run.sent.ring[of], run.sent.a[of]);
process.stdout.write(JSON.stringify({
  all, first: words.way(lost[0]), title: journey.title,
  journey: words.journey(journey).map(({ text }) => text),
  message: run.message(1, 1, 1).dots.length,
  token: run.token(run.sent.ring[of], 5, 0).datagrams.length,
}));
"""


class ScriptTests(SynchronousTestCase):
    """
    The page's script, where there is a C{node} to run it.
    """

    def setUp(self) -> None:
        self.node = which("node")
        if self.node is None:
            raise SkipTest("there is no node here")

    def call(self, *arguments: str) -> str:
        assert self.node is not None
        result = subprocess.run(
            [self.node, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60.0,
            check=False,
        )
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def test_syntax(self) -> None:
        """
        The script as the page has it is valid.
        """
        script = outline(page(lossy())).texts["script"][1]
        path = Path(self.mktemp() + ".js")
        path.write_text(script, "utf-8")
        self.call("--check", str(path))

    def test_words(self) -> None:
        """
        The script reads its columns as they were written, has words for
        everything, and finds the whole journey of a frame that was lost.
        """
        path = Path(self.mktemp() + ".json")
        path.write_text(json.dumps(runOf(page(lossy()))), "utf-8")
        part = files("corotwist.simulator").joinpath(module.PARTS)
        scripts = ",".join(str(part.joinpath(n)) for n in ("run.js", "words.js"))
        told = json.loads(self.call("-e", ASK, str(path), scripts))
        for text in told["all"]:
            self.assertNotRegex(text, "undefined|NaN|null")
        self.assertRegex(told["first"], "^1 → 3: frame .* from node 1")
        self.assertIn(DROPPED, told["first"])
        self.assertRegex(told["title"], r"^Frame \d+ of ring [A-Z]+$")
        journey = "\n".join(told["journey"])
        self.assertIn("1 → 2, 3 (dropped by the story): frame", journey)
        self.assertRegex(journey, r"again")
        self.assertRegex(journey, r"token .* asks for [A-Z]+/\d+")
        for node in (1, 2, 3):
            self.assertIn(f"node {node} delivers the frame", journey)
        # Submitted once, handed up by three, in a frame with its own dots.
        self.assertEqual(told["message"], 1 + 3 + 4)
        self.assertGreater(told["token"], 3)

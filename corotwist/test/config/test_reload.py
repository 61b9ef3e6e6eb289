"""
L{corotwist.config.reload} and L{corotwist.config.inforce}.
"""

from collections.abc import Mapping
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from corotwist.config.build import Built, fromReading
from corotwist.config.formats.corosyncconf import parse
from corotwist.config.inforce import builtFrom
from corotwist.config.keypaths import documentOf, isOfFiles, pathOf
from corotwist.config.keys import keysOf
from corotwist.config.reload import Plan, Verdict, merged, planChange, planReload
from corotwist.config.settings import NodeSettings
from corotwist.config.values import string, u8, u32, u64
from corotwist.test.config.factories import FILE, FakeHost, conf, environment
from corotwist.test.strategies import thorough

PROVIDER = "  provider: corosync_votequorum\n"


def read(text: str) -> Built:
    """
    A file.
    """
    return fromReading(parse(text, FILE), environment(), (FILE,))


def running(text: str) -> NodeSettings:
    """
    What runs that was started from it.
    """
    return read(text).usable()


def lines(options: Mapping[str, Any]) -> str:
    """
    Options of a section.
    """
    return "".join(f"  {name}: {value}\n" for name, value in options.items())


def file(drawn: Mapping[str, Mapping[str, Any]]) -> str:
    """
    A whole file with these options, by section.
    """
    rest = "".join(
        f"{section} {{\n{lines(options)}}}\n"
        for section, options in drawn.items()
        if section not in {"totem", "quorum"}
    )
    return conf(
        lines(drawn.get("totem", {})),
        quorum=PROVIDER + lines(drawn.get("quorum", {})),
        rest=rest,
    )


def some(**options: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """
    Any of these options.
    """
    return st.fixed_dictionaries({}, optional=options)


# What can change while a node runs.
FILES = some(
    totem=some(
        token=st.integers(1000, 60_000),
        token_coefficient=st.integers(0, 1000),
        join=st.integers(30, 1000),
        merge=st.integers(30, 1000),
        window_size=st.integers(1, 300),
        max_messages=st.integers(1, 100),
        cancel_token_hold_on_retransmit=st.sampled_from(["yes", "no"]),
        config_version=st.just(7),
    ),
    quorum=some(expected_votes=st.integers(1, 9)),
    logging=some(
        debug=st.sampled_from(["on", "off"]),
        to_logfile=st.just("yes"),
        logfile=st.just("/var/log/corotwist.log"),
    ).filter(lambda options: "logfile" in options or "to_logfile" not in options),
    uidgid=some(uid=st.sampled_from(["0", "hacluster"]), gid=st.just("haclient")),
)


class KeysTests(SynchronousTestCase):
    """
    From keys back to settings.
    """

    def test_paths(self) -> None:
        """
        A key says which option it is, and of which entry.
        """
        for key, row in (
            ("totem.token", "totem.token"),
            ("nodelist.node.12.ring0_addr", "nodelist.node.ring0_addr"),
            ("totem.interface.0.mcastport", "totem.interface.mcastport"),
            ("uidgid.config.uid.111", "uidgid.uid"),
            ("uidgid.gid.5", "uidgid.gid"),
            ("logging.logger_subsys.CPG.debug", "logging.logger_subsys.debug"),
            ("logging.logging_daemon.a.b.debug", "logging.logging_daemon.debug"),
            ("logging.logging_daemon.a.debug", "logging.logging_daemon.debug"),
            ("resources.system.load_15min.max", "resources.system.load_15min.max"),
        ):
            self.assertEqual(pathOf(key).row, row)

    def test_notOfFiles(self) -> None:
        """
        What clients and the node itself have written is no file's.
        """
        self.assertTrue(isOfFiles("uidgid.config.uid.0"))
        for key in ("uidgid.uid.0", "runtime.config.totem.token", "my.own"):
            self.assertFalse(isOfFiles(key))
        self.assertFalse(isOfFiles("nodelist.local_node_pos"))

    def test_document(self) -> None:
        """
        Keys make the document that they came from.
        """
        text = (
            "totem {\n version: 2\n interface {\n linknumber: 0\n mcastport: 7000\n }"
            "\n}\nlogging {\n logger_subsys {\n subsys: CPG\n debug: on\n }\n"
            " logging_daemon {\n name: pacemaker\n subsys: crm\n debug: on\n }\n}\n"
            "nodelist {\n node {\n nodeid: 3\n name: c\n }\n node {\n nodeid: 4\n }\n"
            "}\nuidgid {\n uid: 5\n}\nuidgid {\n gid: 6\n}\n"
        )
        keys = keysOf(parse(text, FILE).document)
        self.assertEqual(keysOf(documentOf(keys)), keys)
        self.assertGreater(len(keys), 8)

    @thorough
    @given(FILES)
    def test_same(self, drawn: Mapping[str, Any]) -> None:
        """
        The keys of a file say all that can change while a node runs.
        """
        first = running(file(drawn))
        again = builtFrom(dict(first.keys), first).usable()
        self.assertEqual(again.totem.timing, first.totem.timing)
        self.assertEqual(again.quorum, first.quorum)
        self.assertEqual(again.log, first.log)
        self.assertEqual(again.ipc.uids, first.ipc.uids)
        self.assertEqual(again.ipc.gids, first.ipc.gids)
        self.assertEqual(again.configVersion, first.configVersion)

    def test_settled(self) -> None:
        """
        Who we are, what names mean and the key are those of the node that
        runs; the machine is not asked again.
        """
        text = conf("  keyfile: /key\n", cipher="", nodes=1).replace("10.0.0.1", "me")
        around = environment(FakeHost(table={"me": ["10.0.0.1"]}))
        first = fromReading(parse(text, FILE), around, (FILE,)).usable()
        again = builtFrom(dict(first.keys), first).usable()
        self.assertEqual(again.totem.nodes, first.totem.nodes)
        self.assertEqual(again.totem.key, first.totem.key)
        self.assertEqual(again.totem.nodeid, 1)


class ReloadTests(SynchronousTestCase):
    """
    Files that were read again.
    """

    def plan(self, before: str, after: str, **how: Any) -> Plan:
        now = running(before)
        return planReload(now, dict(now.keys), read(after), **how)

    def verdicts(self, plan: Plan) -> dict[str, Verdict]:
        return {one.key: one.verdict for one in plan.outcomes}

    @thorough
    @given(FILES, FILES)
    def test_asAfterAStart(
        self, before: Mapping[str, Any], after: Mapping[str, Any]
    ) -> None:
        """
        Where nothing needs a restart, a reload leaves a node as a start with
        the same file would: its settings, and its keys. (A44, H15)
        """
        now, then = running(file(before)), running(file(after))
        plan = planReload(now, dict(now.keys), read(file(after)), force=True)
        self.assertEqual(plan.problems, ())
        self.assertFalse(plan.needsRestart())
        self.assertEqual(merged(dict(now.keys), plan.changes()), dict(then.keys))
        self.assertEqual(evolve(plan.settings, keys=()), evolve(then, keys=()))
        kept = {k: v for k, v in then.keys if isOfFiles(k)}
        self.assertEqual(dict(plan.settings.keys), kept)

    @given(FILES, FILES)
    def test_twice(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """
        A second reload finds nothing to do.
        """
        now = running(file(before))
        plan = planReload(now, dict(now.keys), read(file(after)), force=True)
        keys = merged(dict(now.keys), plan.changes())
        again = planReload(plan.settings, keys, read(file(after)))
        self.assertEqual((again.outcomes, again.problems), ((), ()))
        self.assertEqual(again.settings, plan.settings)

    def test_unchanged(self) -> None:
        """
        Nothing changed, nothing is done: what a node was given in another way
        than by its file stays, too.
        """
        now = running(conf())
        odd = evolve(
            now, totem=evolve(now.totem, timing=evolve(now.totem.timing, merge=9.0))
        )
        plan = planReload(odd, dict(now.keys), read(conf()))
        self.assertEqual(plan.outcomes, ())
        self.assertEqual(plan.settings, evolve(odd, keys=plan.settings.keys))

    def test_needsRestart(self) -> None:
        """
        What needs a restart is told, and stays as it is, in the database too;
        the rest is applied. (A44, H15)
        """
        plan = self.plan(conf(), conf("  token: 5000\n  cluster_name: other\n"))
        self.assertEqual(
            self.verdicts(plan),
            {
                "totem.token": Verdict.APPLIED,
                "totem.cluster_name": Verdict.RESTART,
            },
        )
        self.assertEqual(plan.changes(), {"totem.token": u32(5000)})
        self.assertEqual(plan.settings.totem.clusterName, "")
        self.assertEqual(plan.settings.totem.timing.token, 5.65)
        self.assertTrue(plan.needsRestart())

    def test_removed(self) -> None:
        """
        A value that the file does not give any more is the default's again.
        """
        plan = self.plan(conf("  token: 5000\n"), conf())
        self.assertEqual(plan.changes(), {"totem.token": None})
        self.assertEqual(plan.settings.totem.timing.token, 3.65)

    def test_clientsKeys(self) -> None:
        """
        What a client wrote over the file's value is the file's again; keys
        that no file can have stay, and with them who they let in. (H15)
        """
        now = running(conf(rest="uidgid {\n  uid: 7\n}\n"))
        present = {
            **dict(now.keys),
            "totem.join": u32(60),
            "uidgid.uid.9": u8(1),
            "mine.key": string("x"),
        }
        plan = planReload(
            now, present, read(conf(rest="uidgid {\n  uid: 8\n}\n")), force=True
        )
        self.assertEqual(
            plan.changes(),
            {
                "totem.join": None,
                "uidgid.config.uid.7": None,
                "uidgid.config.uid.8": u8(1),
            },
        )
        self.assertEqual(plan.settings.ipc.uids, frozenset({8, 9}))

    def test_otherNodes(self) -> None:
        """
        When nodes come or go, all that is said of nodes waits for a restart:
        the second entry is about somebody else. The token time goes on
        counting those that are there.
        """
        plan = self.plan(
            conf(nodes=4), conf("  token: 4000\n", nodes=3, node="quorum_votes: 2")
        )
        restart = {k for k, v in self.verdicts(plan).items() if v is Verdict.RESTART}
        self.assertEqual(
            restart,
            {
                "nodelist.node.0.quorum_votes",
                "nodelist.node.3.nodeid",
                "nodelist.node.3.ring0_addr",
            },
        )
        self.assertEqual(plan.changes(), {"totem.token": u32(4000)})
        self.assertEqual(plan.settings.totem.timing.token, 5.3)
        self.assertEqual(plan.settings.quorum.votes, 1)

    def test_votes(self) -> None:
        """
        Votes of nodes that stay are applied. (C4)
        """
        plan = self.plan(conf(), conf(node="quorum_votes: 3"))
        self.assertEqual(
            self.verdicts(plan), {"nodelist.node.0.quorum_votes": Verdict.APPLIED}
        )
        self.assertEqual(plan.settings.quorum.votes, 3)
        self.assertEqual(plan.settings.quorum.expectedVotes, 5)

    def test_identity(self) -> None:
        """
        Another nodeid would be another node.
        """
        plan = self.plan(conf(nodes=1), conf(nodes=1).replace("nodeid: 1", "nodeid: 9"))
        (outcome,) = plan.outcomes
        self.assertIs(outcome.verdict, Verdict.RESTART)
        self.assertIn("another node", outcome.reason)
        self.assertEqual(plan.settings.totem.nodeid, 1)

    def test_noEffect(self) -> None:
        """
        What has no effect is stored, and called what it is.
        """
        plan = self.plan(conf(), conf("  threads: 4\n"))
        self.assertEqual(self.verdicts(plan), {"totem.threads": Verdict.IGNORED})
        self.assertEqual(plan.changes(), {"totem.threads": u32(4)})
        self.assertFalse(plan.needsRestart())

    def test_problems(self) -> None:
        """
        A file with problems changes nothing; all of them are told at once, as
        at the start. (A44, H20)
        """
        plan = self.plan(conf(), conf("  token: soon\n  tokn: 1\n  join: 900\n"))
        self.assertEqual(
            [problem.key for problem in plan.problems], ["totem.token", "totem.tokn"]
        )
        self.assertEqual((plan.outcomes, plan.changes()), ((), {}))
        self.assertEqual(plan.settings, running(conf()))

    def test_withWhatWaits(self) -> None:
        """
        Values that are right in the file, but not together with what waits for
        a restart, are refused.
        """
        before = conf("  token_coefficient: 650\n", nodes=4)
        after = conf("  token_coefficient: 0\n  consensus: 4500\n", nodes=4)
        self.assertEqual(self.plan(before, after).problems, ())
        before = conf(quorum=PROVIDER, nodes=3)
        after = conf(quorum=f"{PROVIDER}  two_node: 1\n", nodes=2)
        (problem,) = self.plan(before, after).problems
        self.assertEqual(problem.key, "quorum.two_node")

    def test_older(self) -> None:
        """
        An older configuration is refused, unless it is meant.
        """
        before, after = conf("  config_version: 8\n"), conf("  config_version: 7\n")
        (problem,) = self.plan(before, after).problems
        self.assertEqual(problem.key, "totem.config_version")
        self.assertIn("7 is older than 8", problem.text)
        plan = self.plan(before, after, force=True)
        self.assertEqual(plan.changes(), {"totem.config_version": u64(7)})
        self.assertEqual(plan.settings.configVersion, 7)

    def test_hidden(self) -> None:
        """
        Another content of the key file and another meaning of a name are
        found although the configuration says the same.
        """
        now = running(conf("  keyfile: /key\n", cipher=""))
        entry = evolve(now.totem.nodes[1], addresses=now.totem.nodes[2].addresses)
        nodes = (now.totem.nodes[0], entry, now.totem.nodes[2])
        before = evolve(now, totem=evolve(now.totem, key=b"other", nodes=nodes))
        built = read(conf("  keyfile: /key\n", cipher=""))
        plan = planReload(before, dict(now.keys), built)
        self.assertEqual(
            [(one.key, one.reason) for one in plan.outcomes],
            [
                ("totem.keyfile", "its content changed"),
                ("nodelist.node.1.ring0_addr", "it means 10.0.0.2 now"),
            ],
        )
        (applied, restart) = (one.verdict for one in plan.outcomes)
        self.assertEqual((applied, restart), (Verdict.APPLIED, Verdict.RESTART))
        self.assertEqual(plan.changes(), {})

    def test_rekeyed(self) -> None:
        """
        Another content of the key file is in force at once, and is no key of
        the map. (F8)
        """
        now = running(conf("  keyfile: /key\n", cipher=""))
        before = evolve(now, totem=evolve(now.totem, key=b"other"))
        built = read(conf("  keyfile: /key\n", cipher=""))
        plan = planReload(before, dict(now.keys), built)
        self.assertEqual((plan.problems, plan.changes()), ((), {}))
        self.assertEqual(plan.settings.totem.key, now.totem.key)

    def test_sealing(self) -> None:
        """
        One key instead of another is in force at once (F8); to begin or to end
        to seal needs a restart.
        """
        plain, sealed = conf(), conf("  keyfile: /key\n", cipher="")
        for before, after in ((plain, sealed), (sealed, plain)):
            now = running(before)
            plan = planReload(now, dict(now.keys), read(after))
            self.assertTrue(plan.needsRestart())
            self.assertEqual(plan.settings.totem.key, now.totem.key)

    def test_secret(self) -> None:
        """
        A key is not shown to anybody.
        """
        material = "k" * 128
        plan = self.plan(
            conf(f"  key: {material}\n", cipher=""),
            conf(f"  key: {material}2\n", cipher=""),
        )
        (outcome,) = plan.outcomes
        self.assertEqual(outcome.report()["new"], "(secret)")
        self.assertEqual(outcome.report()["old"], "(secret)")

    def test_strange(self) -> None:
        """
        With C{strict: no} there may be options that nobody knows.
        """
        lenient = "corotwist {\n  strict: no\n}\n"
        plan = self.plan(conf(rest=lenient), conf("  tokn: 1\n", rest=lenient))
        self.assertEqual(self.verdicts(plan), {"totem.tokn": Verdict.IGNORED})
        self.assertEqual(plan.problems, ())


class ChangeTests(SynchronousTestCase):
    """
    Keys that somebody writes.
    """

    def plan(self, changes: Mapping[str, Any], text: str = "") -> Plan:
        now = running(text or conf())
        return planChange(now, dict(now.keys), changes)

    def test_applied(self) -> None:
        """
        Writing a key is as good as reloading a file that has it. (A28)
        """
        plan = self.plan({"totem.token": u32(5000)})
        after = running(conf("  token: 5000\n"))
        self.assertEqual(plan.settings.totem, after.totem)
        plan = self.plan({"totem.token": None}, conf("  token: 5000\n"))
        self.assertEqual(plan.settings.totem, running(conf()).totem)

    def test_restart(self) -> None:
        """
        What needs a restart is refused, and the file named: nobody would
        remember it.
        """
        plan = self.plan({"quorum.provider": string("corosync_votequorum")})
        (problem,) = plan.problems
        self.assertIn("restart", problem.text)
        self.assertEqual(problem.key, "quorum.provider")

    def test_relativePath(self) -> None:
        """
        A relative path counts from the directory of the file that the node was
        started from, whatever its format.
        """
        now = evolve(running(conf()), sources=("toml:/etc/there/node.toml",))
        keys = {
            "logging.to_logfile": string("yes"),
            "logging.logfile": string("log"),
        }
        plan = planChange(now, dict(now.keys), keys)
        self.assertEqual(plan.settings.log.rest.file, "/etc/there/log")

    def test_wrong(self) -> None:
        """
        Values out of range, of another kind, or at odds with others, are
        refused; so is what this release cannot do safely.
        """
        for changes in (
            {"totem.token": u32(5)},
            {"totem.token": string("soon")},
            {"totem.join": u32(50_000)},
            {"quorum.two_node": u8(1)},
            {"quorum.last_man_standing": u8(1)},
        ):
            self.assertEqual(
                {problem.key for problem in self.plan(changes).problems},
                {"totem.consensus"} if "totem.join" in changes else set(changes),
            )

    def test_together(self) -> None:
        """
        Several keys are judged together: a long join needs a long consensus.
        """
        changes = {"totem.join": u32(50_000), "totem.consensus": u32(60_000)}
        self.assertEqual(self.plan(changes).problems, ())

    def test_users(self) -> None:
        """
        A client can let a user in, and take that back. (A53)
        """
        plan = self.plan({"uidgid.uid.1000": u8(1), "uidgid.gid.50": u8(1)})
        self.assertEqual(plan.settings.ipc.uids, frozenset({1000}))
        self.assertEqual(plan.settings.ipc.gids, frozenset({50}))
        self.assertEqual(
            self.plan({"uidgid.uid.1000": u8(0)}).settings.ipc.uids, frozenset()
        )

    def test_gone(self) -> None:
        """
        Keys that are gone from the database already are missed all the same:
        those of the file, and those with which a client let somebody in.
        """
        now = running(conf("  token: 5000\n"))
        first = planChange(now, dict(now.keys), {"uidgid.uid.1000": u8(1)})
        present = merged(dict(now.keys), first.changes())
        del present["totem.token"], present["uidgid.uid.1000"]
        changes = {"totem.token": None, "uidgid.uid.1000": None}
        plan = planChange(first.settings, present, changes)
        self.assertEqual(plan.settings.totem, running(conf()).totem)
        self.assertEqual(plan.settings.ipc.uids, frozenset())
        self.assertEqual(set(plan.changes()), set(changes))

    def test_unknown(self) -> None:
        """
        Keys that no option is, and that a file may not have, are just stored.
        """
        plan = self.plan({"totem.of_a_tool": string("x"), "quorum.mine": u8(3)})
        self.assertEqual(plan.problems, ())
        self.assertEqual(len(plan.changes()), 2)

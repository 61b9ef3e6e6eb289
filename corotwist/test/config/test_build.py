"""
A whole file to settings, and everything about it that does not fit together.
"""

from ipaddress import ip_address

from twisted.trial.unittest import SynchronousTestCase

from corotwist.config.build import LINES_TOLD, fromReading
from corotwist.config.formats.corosyncconf import parse
from corotwist.config.settings import (
    ComponentSettings,
    EngineSettings,
    IpcSettings,
    LogPart,
    LogSettings,
    MemoryPolicy,
    NodeEntry,
    QuorumSettings,
    Timing,
)
from corotwist.errors import ConfigurationError
from corotwist.test.config.factories import (
    KEY,
    FakeHost,
    built,
    conf,
    environment,
    settings,
    told,
    warned,
)

SEALED = "keyfile: key"
PROVIDER = "provider: corosync_votequorum"


class SettingsTests(SynchronousTestCase):
    def test_threeNodes(self) -> None:
        """
        A plain file of three nodes, with corosync's derived times in seconds.
        """
        found = settings(conf())
        totem = found.totem
        self.assertEqual((totem.nodeid, totem.transport, totem.port), (1, "udpu", 5405))
        self.assertEqual(totem.bindAddress, ip_address("10.0.0.1"))
        self.assertEqual(
            totem.nodes,
            tuple(NodeEntry(n, "", (ip_address(f"10.0.0.{n}"),)) for n in (1, 2, 3)),
        )
        self.assertEqual(
            totem.timing,
            Timing(token=3.65, tokenRetransmit=0.869, hold=0.685, consensus=4.38),
        )
        self.assertEqual(totem.netmtu, 1500)
        self.assertIsNone(totem.key)
        self.assertIsNone(totem.multicastAddress)
        self.assertEqual(found.log, LogSettings(LogPart(toSyslog=True)))
        self.assertEqual(found.configVersion, 0)

    def test_oneNode(self) -> None:
        """
        The defaults of settings and schema are the same: a node alone has
        L{Timing} as it comes.
        """
        self.assertEqual(settings(conf(nodes=1)).totem.timing, Timing())

    def test_options(self) -> None:
        """
        What the file says arrives.
        """
        text = conf(
            "cluster_name: hall\nconfig_version: 7\nnetmtu: 9000\ntoken: 1000\n"
            "token_coefficient: 0\ntoken_warning: 50\nsend_join: 80\n"
            "window_size: 100\nmax_messages: 40\nblock_unlisted_ips: no\n"
            "cancel_token_hold_on_retransmit: yes\ntoken_retransmit: 200\n"
            "interface {\nmcastport: 5555\n}",
        )
        found = settings(text)
        totem = found.totem
        self.assertEqual(found.configVersion, 7)
        self.assertEqual((totem.clusterName, totem.netmtu), ("hall", 9000))
        self.assertEqual((totem.port, totem.blockUnlistedIps), (5555, False))
        self.assertEqual(
            totem.timing,
            Timing(
                token=1.0,
                tokenWarning=0.5,
                tokenRetransmit=0.2,
                hold=0.15,
                sendJoin=0.08,
                consensus=1.2,
                windowSize=100,
                maxMessages=40,
                cancelTokenHoldOnRetransmit=True,
            ),
        )

    def test_multicast(self) -> None:
        """
        Transport C{udp} has its own options, and IPv4 names first.
        """
        text = conf("interface {\nmcastaddr: 239.1.2.3\nttl: 4\n}").replace(
            "udpu", "udp"
        )
        text = text.replace("10.0.0.1", "one")
        host = FakeHost(table={"one": ["fd00::1", "10.0.0.1"]})
        totem = settings(text, environment(host)).totem
        self.assertEqual(totem.multicastAddress, ip_address("239.1.2.3"))
        self.assertEqual((totem.ttl, totem.broadcast), (4, False))
        self.assertEqual(totem.bindAddress, ip_address("10.0.0.1"))

    def test_slowReaders(self) -> None:
        """
        What happens with slow readers, and what may wait, is configured; times
        come in milliseconds.  (A52, A109)
        """
        text = conf(
            cipher=SEALED,
            rest="corotwist {\nipc_socket: /s\nslow_reader: spill\n"
            "pause_limit: 2500\nclient_queue: 4194304\nspill_limit: 0\n"
            "memory_limit: 33554432\n}",
        )
        self.assertEqual(
            built(text).usable().ipc,
            IpcSettings(
                "/s",
                slowReader="spill",
                pauseSeconds=2.5,
                clientBytes=4 << 20,
                spillBytes=0,
                memoryBytes=32 << 20,
            ),
        )

    def test_components(self) -> None:
        """
        Directories of components, and the engines to load, in which versions;
        what cannot be understood is told with its place.  (A9, A43, A75)
        """
        text = conf(
            cipher=SEALED,
            rest="corotwist {\nplugin_dir: /one:/two\nengines: cpg/2 quorum\n"
            "engine_restarts: 3\n}",
        )
        self.assertEqual(
            built(text).usable().components,
            ComponentSettings(("/one", "/two"), (("cpg", 2), ("quorum", None)), 3),
        )
        for wrong, sentence in (
            ("plugin_dir: one", "'one' is not an absolute path"),
            ("engines: cpg/x", "'cpg/x' is not NAME or NAME/VERSION"),
            ("engines: cpg cpg/2", "names 'cpg' twice"),
        ):
            text = conf(cipher=SEALED, rest=f"corotwist {{\n{wrong}\n}}")
            (problem,) = built(text).problems
            self.assertIn(sentence, str(problem))

    def test_engines(self) -> None:
        """
        What happens without memory, and how long a shutdown may be held.
        (A63, A104)
        """
        text = conf(
            cipher=SEALED,
            rest="corotwist {\nmemory_failure: stop\nshutdown_timeout: 1500\n}",
        )
        self.assertEqual(
            built(text).usable().engines, EngineSettings(MemoryPolicy.STOP, 1.5)
        )

    def test_paths(self) -> None:
        """
        Relative paths count from the file that names them.
        """
        text = conf(
            cipher=SEALED,
            rest="system {\nstate_dir: state\n}\ncorotwist {\nipc_socket: s\n}\n"
            "logging {\nto_logfile: yes\nlogfile: log\ndebug: trace\nto_stderr: no\n}",
        )
        outcome = built(text, file="/etc/cluster/node.conf")
        found = outcome.usable()
        self.assertEqual(found.totem.stateDirectory, "/etc/cluster/state")
        self.assertEqual(found.ipc, IpcSettings("/etc/cluster/s"))
        self.assertEqual(found.log.rest.file, "/etc/cluster/log")

    def test_socketPathTooLong(self) -> None:
        """
        A socket's path that the kernel would refuse is refused here.
        """
        text = conf(rest=f"corotwist {{\nipc_socket: /{'x' * 107}\n}}")
        (problem,) = told(built(text))
        self.assertIn("is longer than 107 bytes", problem)

    def test_logfileMissing(self) -> None:
        """
        A log file needs a name.
        """
        self.assertEqual(
            told(built(conf(rest="logging {\nto_logfile: yes\n}"))),
            ["node.conf:28:13: logging.to_logfile: needs 'logfile: PATH'"],
        )

    def test_clients(self) -> None:
        """
        Users and groups are numbers in the end.
        """
        text = conf(
            rest="uidgid {\nuid: hacluster\ngid: haclient\n}\nuidgid {\nuid: 1000\n}\n"
        )
        ipc = settings(text).ipc
        self.assertEqual((ipc.uids, ipc.gids), ({111, 1000}, {112}))
        self.assertIn(
            "uidgid.uid: there is no user 'nobody here'",
            told(built(conf(rest="uidgid {\nuid: nobody here\n}")))[0],
        )

    def test_clientsBeyondNumbers(self) -> None:
        """
        A number that the kernel has no user or group for is refused here, and
        not when the socket is made.
        """
        for option, what in (("uid", "user"), ("gid", "group")):
            for number, problems in ((2**32 - 2, 0), (2**32 - 1, 1), (10**30, 1)):
                rest = f"uidgid {{\n{option}: {number}\n}}"
                found = told(built(conf(rest=rest)))
                self.assertEqual(len(found), problems)
                if found:
                    self.assertIn(f"there is no {what} '{number}'", found[0])

    def test_quorum(self) -> None:
        """
        Votes are summed up unless the file says.
        """
        provider = "provider: corosync_votequorum\n"
        self.assertEqual(
            settings(conf(quorum=provider, node="quorum_votes: 3")).quorum,
            QuorumSettings(
                "corosync_votequorum", 5, 3, voters=((1, 3), (2, 1), (3, 1))
            ),
        )
        self.assertEqual(
            settings(conf(quorum=f"{provider}expected_votes: 9")).quorum.expectedVotes,
            9,
        )

    def test_twoNode(self) -> None:
        """
        The rule of two nodes waits for all, unless told otherwise.
        """
        two = "provider: corosync_votequorum\ntwo_node: 1\n"
        found = settings(conf(nodes=2, quorum=two)).quorum
        self.assertEqual((found.twoNode, found.waitForAll), (True, True))
        found = settings(conf(nodes=2, quorum=f"{two}wait_for_all: 0")).quorum
        self.assertEqual((found.twoNode, found.waitForAll), (True, False))


class ProblemTests(SynchronousTestCase):
    def test_everythingAtOnce(self) -> None:
        """
        Problems of all parts come together, in the order of the file, as one
        exception.
        """
        text = conf(
            "token: 20\njoin: 5000\n",
            quorum="two_node: 1\nauto_tie_breaker: 1",
            node="ring1_addr: 10.1.0.1",
        ).replace("ring0_addr: 10.0.0.2", "ring0_addr: 10.0.0.3")
        outcome = built(text)
        self.assertIsNone(outcome.settings)
        keys = [(problem.line, problem.key) for problem in outcome.problems]
        self.assertEqual(keys, sorted(keys, key=lambda key: key[0]))
        self.assertLessEqual(
            {
                (0, "totem.consensus"),
                (5, "totem.token"),
                (13, "nodelist.node.ring1_addr"),
                (16, "nodelist.node.ring0_addr"),
                (21, "nodelist.node.ring0_addr"),
                (27, "quorum.two_node"),
                (28, "quorum.auto_tie_breaker"),
            },
            set(keys),
        )
        error = self.assertRaises(ConfigurationError, outcome.usable)
        self.assertEqual(error.problems, outcome.problems)

    def test_empty(self) -> None:
        """
        An empty file lacks a version and a node list.
        """
        keys = {problem.key for problem in built("").problems}
        self.assertEqual(keys, {"totem.version", "nodelist"})

    def test_syntaxAndValues(self) -> None:
        """
        Where only single lines cannot be read the values of the others are
        judged too, and nothing is called missing.
        """
        outcome = built("totem {\nversion 2\ntoken: 1\n}\n")
        self.assertEqual(
            [problem.key for problem in outcome.problems], ["syntax", "totem.token"]
        )

    def test_outOfBalance(self) -> None:
        """
        Where sections do not close values are judged nevertheless, in the
        section that they must have been meant for; nothing is called unknown
        or missing.
        """
        text = "totem {\ntoken: 1\nnodelist {\nnode {\nnodeid: 0\n}\n}\nx: 1\n"
        outcome = built(text)
        self.assertEqual(
            [problem.key for problem in outcome.problems],
            ["totem", "totem.token", "nodelist.node.nodeid"],
        )

    def test_version(self) -> None:
        """
        There is one version of the format, and it has to be said.
        """
        text = conf().replace("version: 2", "")
        self.assertEqual(
            told(built(text)), ["node.conf: totem.version: missing: write 'version: 2'"]
        )
        self.assertEqual(
            told(built(conf().replace("version: 2", "version: 1"))),
            ["node.conf:2:12: totem.version: is 1, and must be 2"],
        )

    def test_knet(self) -> None:
        """
        A file for knet says what to change.
        """
        (problem,) = told(built(conf().replace("udpu", "knet")))
        self.assertIn(
            "node.conf:3:14: totem.transport: this release has no knet", problem
        )

    def test_secondInterface(self) -> None:
        """
        A second interface is link 1 even when it does not say so.
        """
        text = conf("interface {\nmcastport: 5405\n}\ninterface {\nmcastport: 5407\n}")
        (problem,) = told(built(text))
        self.assertIn("node.conf:8:1: totem.interface: this release has one", problem)

    def test_ttl(self) -> None:
        """
        Options of multicast do not go with C{udpu}: corosync refuses C{ttl},
        and ignores the others.
        """
        text = conf("interface {\nttl: 1\nmcastaddr: 239.1.1.1\nbroadcast: yes\n}")
        outcome = built(text)
        self.assertEqual([p.key for p in outcome.problems], ["totem.interface.ttl"])
        self.assertEqual(
            [w.key for w in outcome.warnings],
            ["totem.interface.mcastaddr", "totem.interface.broadcast"],
        )

    def test_derivedTimes(self) -> None:
        """
        What follows from a short token must not be below the least either.
        """
        outcome = built(conf("token: 100\ntoken_coefficient: 0\n"))
        self.assertEqual(
            [problem.key for problem in outcome.problems],
            ["totem.token_retransmit", "totem.hold"],
        )
        self.assertEqual(told(built(conf("token: 135\ntoken_coefficient: 0\n"))), [])

    def test_consensus(self) -> None:
        """
        Consensus is at least join, and better 1.2 times the token.
        """
        (problem,) = told(built(conf("join: 4381")))
        self.assertEqual(
            problem, "node.conf: totem.consensus: 4380 ms is shorter than join, 4381 ms"
        )
        outcome = built(conf("consensus: 4000"))
        self.assertEqual(told(outcome), [])
        self.assertIn("1.2 times the token time of 3650 ms", warned(outcome)[0])


class NodeListTests(SynchronousTestCase):
    def test_missingAddress(self) -> None:
        """
        Every node has an address.
        """
        text = conf().replace("ring0_addr: 10.0.0.2", "")
        self.assertEqual(
            told(built(text)),
            [
                (
                    "node.conf:13:3: nodelist.node.ring0_addr: missing: write"
                    " 'ring0_addr: ADDRESS'"
                )
            ],
        )

    def test_notResolved(self) -> None:
        """
        A name that means nothing is a problem.
        """
        text = conf().replace("10.0.0.2", "two")
        (problem,) = told(built(text))
        self.assertIn("'two' is neither an address nor a name that resolves", problem)

    def test_familyPreference(self) -> None:
        """
        A name with addresses of both families gets one of the family that
        C{ip_version} likes better.
        """
        table = {f"n{n}": [f"10.0.0.{n}", f"fd00::{n}"] for n in (1, 2, 3)}
        host = FakeHost(local=["10.0.0.1", "fd00::1"], table=table)
        text = conf().replace("10.0.0.", "n")
        for line, expected in (
            ("", "fd00::1"),
            ("ip_version: ipv6-4", "fd00::1"),
            ("ip_version: ipv4-6", "10.0.0.1"),
            ("ip_version: ipv4", "10.0.0.1"),
            ("ip_version: ipv6", "fd00::1"),
        ):
            found = settings(
                text.replace("version: 2", f"version: 2\n{line}"), environment(host)
            )
            self.assertEqual(str(found.totem.bindAddress), expected, line)

    def test_familyMissing(self) -> None:
        """
        An address of a family that is not wanted is a problem.
        """
        (problem, *_) = told(built(conf("ip_version: ipv6")))
        self.assertIn("10.0.0.1 is not of the family 'ip_version: ipv6'", problem)

    def test_mixedFamilies(self) -> None:
        """
        One ring is of one family.
        """
        (problem,) = told(built(conf().replace("10.0.0.3", "fd00::3")))
        self.assertIn("some nodes have IPv4, some IPv6 addresses", problem)

    def test_duplicates(self) -> None:
        """
        Nodeids, names and addresses are unique.
        """
        text = conf(nodes=2, node="name: a").replace("nodeid: 2", "nodeid: 1\nname: a")
        self.assertEqual(
            [problem.key for problem in built(text).problems],
            [
                "nodelist.node.nodeid",
                "nodelist.node.name",
                "nodelist.node.nodeid",
                "nodelist.node.name",
            ],
        )

    def test_derivedNodeid(self) -> None:
        """
        A nodeid derives from an IPv4 address, its bit 31 cleared on request.
        """
        text = conf().replace("nodeid: 1", "").replace("nodeid: 2", "")
        totem = settings(text).totem
        self.assertEqual([n.nodeid for n in totem.nodes], [0x0A000001, 0x0A000002, 3])
        text = text.replace("10.0.0.2", "192.168.0.2")
        outcome = built(text)
        self.assertEqual(outcome.usable().totem.nodes[1].nodeid, 0xC0A80002)
        self.assertIn("write 'nodeid: NUMBER'", warned(outcome)[0])
        text = text.replace("version: 2", "version: 2\nclear_node_high_bit: yes")
        self.assertEqual(settings(text).totem.nodes[1].nodeid, 0x40A80002)

    def test_derivedNodeidOfIPv6(self) -> None:
        """
        IPv6 addresses are too long for it.
        """
        text = conf(nodes=1).replace("10.0.0.1", "::1").replace("nodeid: 1", "")
        (problem,) = told(built(text))
        self.assertIn("derives from IPv4 addresses only", problem)

    def test_ownNameIsLoopback(self) -> None:
        """
        A host name that means 127.0.1.1 on the host itself is a trap.
        """
        host = FakeHost("one", table={"one": ["127.0.1.1"]})
        (problem,) = told(built(conf().replace("10.0.0.1", "one"), environment(host)))
        self.assertIn("stands for 127.0.1.1 here, where other machines", problem)

    def test_notHere(self) -> None:
        """
        A node list without this machine says what it looked for.
        """
        host = FakeHost("vm", local=["127.0.0.1", "10.7.7.7"])
        (problem,) = told(built(conf(), environment(host)))
        self.assertIn("none of the nodes is this machine (vm)", problem)

    def test_chosen(self) -> None:
        """
        Which node we are can be said: by nodeid, name or address, in the file
        or, stronger, by whoever starts the node.
        """
        text = conf(node="name: a", rest="corotwist {\nnode: 2\n}")
        self.assertEqual(settings(text).totem.nodeid, 2)
        for wanted in ("a", "1", "10.0.0.1"):
            around = environment(node=wanted)
            self.assertEqual(settings(text, around).totem.nodeid, 1)
        self.assertEqual(
            told(built(text, environment(node="9"))),
            ["node.conf:28:7: corotwist.node: there is no node '9' in the node list"],
        )

    def test_tooMany(self) -> None:
        """
        There is a limit of nodes.
        """
        text = conf(nodes=1)
        entries = "".join(
            f"node {{\nring0_addr: 10.1.{n // 250}.{n % 250}\nnodeid: {n}\n}}\n"
            for n in range(2, 386)
        )
        text = text.replace("nodelist {", f"nodelist {{\n{entries}")
        (problem,) = told(built(text))
        self.assertIn("more than 384 nodes", problem)


class QuorumTests(SynchronousTestCase):
    def test_twoNodeOfThree(self) -> None:
        """
        The rule of two nodes is not for three, which corosync does not tell
        anybody.
        """
        (problem,) = told(built(conf(quorum=f"{PROVIDER}\ntwo_node: 1")))
        self.assertEqual(
            problem,
            "node.conf:26:11: quorum.two_node: the node list has 3 nodes, and corosync"
            " then ignores the rule: remove it",
        )

    def test_otherProvider(self) -> None:
        """
        Any name will do here: whether an engine answers to it is seen when the
        node starts.
        """
        quorum = settings(conf(quorum="provider: of_another_package")).quorum
        self.assertEqual(quorum.provider, "of_another_package")

    def test_evenNodes(self) -> None:
        """
        An even number of nodes can split into halves that both stop; worth a
        word.
        """
        votes = "provider: corosync_votequorum"
        self.assertEqual(warned(built(conf(quorum=votes))), [])
        (warning,) = warned(built(conf(nodes=4, quorum=votes)))
        self.assertIn("4 nodes: halves that do not see each other", warning)


class WrongValueTests(SynchronousTestCase):
    """
    A value that makes no sense is one problem, and no second one follows.
    """

    def test_once(self) -> None:
        """
        What was meant by it is not guessed, and it is not called missing.
        """
        for right, wrong in (
            ("crypto_cipher: none", "crypto_cipher: non"),
            ("crypto_cipher: none", "keyfile:"),
            ("crypto_cipher: none", "secauth: maybe"),
            ("ring0_addr: 10.0.0.2", "ring0_addr:"),
            ("nodeid: 2", "nodeid: two"),
            ("version: 2", "version: two"),
        ):
            (problem,) = built(conf().replace(right, wrong)).problems
            self.assertTrue(problem.key.endswith(wrong.partition(":")[0]), wrong)


class SecurityTests(SynchronousTestCase):
    """
    Nobody runs an open ring on a network without having said so.
    """

    def test_refused(self) -> None:
        """
        Neither a key nor the word: the file is refused, with both ways out.
        """
        (problem,) = told(built(conf(cipher="")))
        self.assertIn("'corotwist keygen -k PATH'", problem)
        self.assertIn("'keyfile: PATH'", problem)
        self.assertIn("'crypto_cipher: none'", problem)

    def test_loopback(self) -> None:
        """
        On loopback nobody else listens.
        """
        text = conf(cipher="").replace("10.0.0.", "127.0.0.")
        self.assertIsNone(settings(text).totem.key)

    def test_partlyLoopback(self) -> None:
        """
        One address elsewhere is enough to refuse.
        """
        text = conf(cipher="").replace("10.0.0.1", "127.0.0.1")
        problems = told(built(text))
        self.assertTrue(any("totem.keyfile: missing" in text for text in problems))

    def test_keyfile(self) -> None:
        """
        With a key file datagrams are sealed.
        """
        outcome = built(conf(cipher=SEALED))
        self.assertEqual((outcome.usable().totem.key, warned(outcome)), (KEY, []))

    def test_keyfileUnusable(self) -> None:
        """
        A key file that cannot be used is a problem on its line.
        """
        self.assertEqual(
            told(built(conf(cipher="keyfile: absent"))),
            ["node.conf:4:12: totem.keyfile: absent: No such file or directory"],
        )
        self.assertEqual(
            told(built(conf(cipher="keyfile: bad"))),
            ["node.conf:4:12: totem.keyfile: bad: too short"],
        )

    def test_inlineKey(self) -> None:
        """
        A key in the file itself is as good, when it is long enough.
        """
        text = conf("cluster_name: c", cipher=f"key: {'a' * 127}%s")
        self.assertEqual(settings(text % "b").totem.key, b"a" * 30 + b"bc")
        self.assertEqual(
            told(built(text % "")),
            ["node.conf:4:8: totem.key: has 127 bytes, 128 are needed"],
        )

    def test_keyfileWins(self) -> None:
        """
        A key file is stronger than a key.
        """
        self.assertEqual(settings(conf("key: x", cipher=SEALED)).totem.key, KEY)

    def test_plainWithKey(self) -> None:
        """
        The word for plain is stronger than a key, which is worth a word back.
        """
        outcome = built(conf(SEALED))
        self.assertIsNone(outcome.usable().totem.key)
        self.assertIn("no effect with 'crypto_cipher: none'", warned(outcome)[0])

    def test_secauth(self) -> None:
        """
        The old switch demands a key when on, says nothing when off, and must
        not contradict.
        """
        (problem,) = told(built(conf(cipher="secauth: on")))
        self.assertIn("totem.secauth: needs a key", problem)
        self.assertEqual(settings(conf("secauth: on", cipher=SEALED)).totem.key, KEY)
        (problem,) = told(built(conf("secauth: on")))
        self.assertIn("says the contrary", problem)
        (problem,) = told(built(conf(cipher="secauth: off")))
        self.assertIn("totem.keyfile: missing", problem)
        outcome = built(conf("secauth: off", cipher=SEALED))
        self.assertEqual(outcome.usable().totem.key, KEY)
        self.assertIn("no effect: totem.keyfile is given", warned(outcome)[0])
        self.assertEqual(told(built(conf("secauth: off"))), [])

    def test_otherCiphers(self) -> None:
        """
        Ciphers of knet do not exist on these transports.
        """
        (problem,) = told(built(conf(cipher="crypto_cipher: aes256\nkeyfile: key")))
        self.assertIn("sealed by PyNaCl or not at all", problem)
        (problem,) = told(built(conf("crypto_hash: sha256")))
        self.assertIn("totem.crypto_hash", problem)
        self.assertEqual(told(built(conf("crypto_hash: sha256", cipher=SEALED))), [])

    def test_keyIsNotShown(self) -> None:
        """
        Settings that end up in a log do not show the key.
        """
        shown = repr(settings(conf(cipher=SEALED)))
        self.assertNotIn("kkkk", shown)


class ReadingTests(SynchronousTestCase):
    def test_problemsKeepTheirFile(self) -> None:
        """
        A problem names the file it is in.
        """
        outcome = fromReading(parse("totem {\ntokn: 1\n}", "/x/y"), environment())
        self.assertTrue(all(problem.file == "/x/y" for problem in outcome.problems))


class ReportTests(SynchronousTestCase):
    def test_bounded(self) -> None:
        """
        Of very many problems the first are told, and how many there are more.
        """
        text = "".join(f"x{number} {{\n}}\n" for number in range(LINES_TOLD + 50))
        outcome = built(text)
        lines = outcome.report()
        self.assertEqual(len(lines), LINES_TOLD + 1)
        more = len(outcome.problems) + len(outcome.warnings) - LINES_TOLD
        self.assertEqual(lines[-1], f"and {more} more lines of that kind")

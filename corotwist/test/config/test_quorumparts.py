"""
Tests of what the configuration says about votes.
"""

from twisted.trial.unittest import SynchronousTestCase

from corotwist.config.settings import QuorumSettings
from corotwist.test.config.factories import built, conf, settings

PROVIDER = "provider: corosync_votequorum\n"
LAX = "corotwist {\nstrict: no\n}\n"


def quorum(text: str, nodes: int = 3, node: str = "") -> QuorumSettings:
    return settings(conf(nodes=nodes, quorum=PROVIDER + text, node=node)).quorum


class OptionsTests(SynchronousTestCase):
    """
    One by one.
    """

    def test_expected(self) -> None:
        """
        The sum of the node list is expected, and what the device has; unless
        the file says a number.  (C3)
        """
        self.assertEqual(quorum("", node="quorum_votes: 3").expectedVotes, 5)
        device = "device {\nmodel: disk\ndisk {\npath: /dev/quorum\n}\n}"
        with_ = quorum(device)
        self.assertIsNotNone(with_.device)
        self.assertGreater(with_.expectedVotes, 3)
        given = quorum("expected_votes: 9")
        self.assertEqual((given.expectedVotes, given.barrier), (9, 9))

    def test_all(self) -> None:
        """
        Each option has its setting.  (C7, C8, C9, C10)
        """
        found = quorum(
            "last_man_standing: 1\nlast_man_standing_window: 2500\n"
            "auto_tie_breaker: 1\nauto_tie_breaker_node: 3 1\nwait_for_all: 1"
        )
        self.assertTrue(found.lastManStanding)
        self.assertEqual(found.lastManStandingWindow, 2.5)
        self.assertEqual((found.tieBreaker, found.tieBreakerNodes), ("list", (3, 1)))
        self.assertEqual(found.voters, ((1, 1), (2, 1), (3, 1)))
        down = quorum("allow_downscale: 1")
        self.assertEqual((down.allowDownscale, down.tracking), (True, True))
        self.assertTrue(quorum("expected_votes_tracking: 1").tracking)

    def test_wrongDeciders(self) -> None:
        """
        Who breaks ties is lowest, highest, or nodes of the list.  (C8)
        """
        for text in ("middle", "1 x", "7"):
            options = f"auto_tie_breaker: 1\nauto_tie_breaker_node: {text}"
            told = built(conf(nodes=4, quorum=PROVIDER + options)).problems
            self.assertEqual(
                [problem.key for problem in told], ["quorum.auto_tie_breaker_node"]
            )

    def test_leavingTimeout(self) -> None:
        """
        It is taken, with a warning and a note.  (C11)
        """
        outcome = built(conf(quorum=f"{PROVIDER}leaving_timeout: 5000"))
        self.assertIn("quorum.leaving_timeout", [p.key for p in outcome.warnings])
        (note,) = outcome.usable().quorum.notes
        self.assertIn("no effect", note)


class ContradictionTests(SynchronousTestCase):
    """
    What one option does to another.
    """

    def test_each(self) -> None:
        """
        What corosync switches off is a problem, and with C{strict: no} off,
        with a warning and a note.  (C12)
        """
        for nodes, text, node, key in (
            (2, "two_node: 1\nauto_tie_breaker: 1", "", "two_node"),
            (3, "two_node: 1", "", "two_node"),
            (3, "auto_tie_breaker: 1", "", "auto_tie_breaker"),
            (3, "last_man_standing: 1", "quorum_votes: 2", "last_man_standing"),
        ):
            whole = conf(nodes=nodes, quorum=PROVIDER + text, node=node)
            told = [problem.key for problem in built(whole).problems]
            self.assertIn(f"quorum.{key}", told)
            found = settings(whole + LAX).quorum
            self.assertFalse(
                {
                    "two_node": found.twoNode,
                    "auto_tie_breaker": found.tieBreaker,
                    "last_man_standing": found.lastManStanding,
                }[key]
            )
            self.assertIn(f"quorum.{key}", found.notes[0])
            warned = [problem.key for problem in built(whole + LAX).warnings]
            self.assertIn(f"quorum.{key}", warned)

    def test_refused(self) -> None:
        """
        What corosync refuses to start with is refused anyway.  (C12)
        """
        text = "auto_tie_breaker: 1\nlast_man_standing: 1"
        told = built(conf(nodes=3, quorum=PROVIDER + text) + LAX).problems
        self.assertIn("quorum.auto_tie_breaker", [problem.key for problem in told])

    def test_tooFew(self) -> None:
        """
        Fewer expected votes than the node list has are taken, and noted: two
        parts may act before all have met.  (C3)
        """
        (note,) = quorum("expected_votes: 1").notes
        self.assertIn("fewer than the 3 votes", note)


class DeviceTests(SynchronousTestCase):
    """
    What a device and an agent cannot do without is told before a node starts.
    """

    def told(self, device: str, extra: str = "") -> list[str]:
        text = conf(quorum=f"{PROVIDER}device {{\n{device}\n}}") + extra
        return [problem.key for problem in built(text).problems]

    def test_missing(self) -> None:
        """
        All that is missing, and commands without a whole path, at once, with
        their keys.  (C14, C15)
        """
        device = "quorum.device"
        commands = "heuristics {\nexec_a: ping\nexec_b: /bin/true\nexec_c: 'x\n}"
        self.assertEqual(
            self.told(f"model: disk\n{commands}"),
            [
                f"{device}.disk.path",
                f"{device}.heuristics.exec_a",
                f"{device}.heuristics.exec_c",
            ],
        )
        tls = [f"{device}.net.{name}" for name in ("host", "cert", "key", "ca")]
        self.assertEqual(sorted(self.told("model: net")), sorted(tls))
        self.assertEqual(self.told("model: net\nnet {\nhost: a\ntls: off\n}"), [])

    def test_agent(self) -> None:
        """
        A fence command has a whole path, and says which node.  (A108)
        """
        fencing = "fencing {{\nagent: command\ncommand: {}\n}}\n"
        whole = "model: disk\ndisk {\npath: /dev/quorum\n}"
        for command, isRight in (
            ("/bin/off %n", True),
            ("off %n", False),
            ("/a", False),
        ):
            told = self.told(whole, fencing.format(command))
            self.assertEqual(told, [] if isRight else ["fencing.command"])

    def test_names(self) -> None:
        """
        A name that none of ours has may be that of another package: it is a
        warning, with what may have been meant.
        """
        text = conf(quorum="provider: corosync_votequorm\ndevice {\nmodel: dsk\n}")
        told = built(f"{text}fencing {{\nagent: comand\n}}\n").warnings
        meant = {w.key: w.text.rpartition("did you mean ")[2] for w in told}
        self.assertEqual(meant["quorum.provider"], "'corosync_votequorum'?")
        self.assertEqual(meant["quorum.device.model"], "'disk'?")
        self.assertEqual(meant["fencing.agent"], "'command'?")

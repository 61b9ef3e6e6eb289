"""
The place of a UNIX socket.
"""

import os
import socket
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from corotwist.errors import ConfigurationError
from corotwist.ipc.path import LONGEST_PATH, admit, claim
from corotwist.test.directories import shortDirectory


class ClaimTests(SynchronousTestCase):
    """
    L{claim}.
    """

    def setUp(self) -> None:
        self.directory = shortDirectory(self)
        self.path = str(self.directory / "s")

    def listening(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(self.path)
        listener.listen()
        return listener

    def refused(self, path: str, why: str) -> None:
        error = self.assertRaises(ConfigurationError, claim, path)
        self.assertIn(why, str(error))

    def test_free(self) -> None:
        """
        Nothing there is as it should be.
        """
        claim(self.path)
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_makesDirectory(self) -> None:
        """
        The last directory is made, closed to the writing of others.
        """
        old = os.umask(0)
        self.addCleanup(os.umask, old)
        claim(str(self.directory / "new" / "s"))
        self.assertEqual((self.directory / "new").stat().st_mode & 0o777, 0o755)

    def test_noParent(self) -> None:
        """
        More than the last directory is not made.
        """
        self.refused(str(self.directory / "a" / "b" / "s"), "no directory")

    def test_stale(self) -> None:
        """
        A socket on which nobody listens any more is removed.
        """
        self.listening().close()
        self.assertTrue(Path(self.path).exists())
        claim(self.path)
        self.assertFalse(Path(self.path).exists())

    def test_alive(self) -> None:
        """
        One on which somebody listens stays.
        """
        self.listening()
        self.refused(self.path, "another node")
        self.assertTrue(Path(self.path).exists())

    def test_noSocket(self) -> None:
        """
        Anything else stays where it is, and a link is not followed.
        """
        target = self.directory / "target"
        target.write_text("precious")
        self.refused(str(target), "no socket")
        Path(self.path).symlink_to(target)
        self.refused(self.path, "no socket")
        Path(self.path).unlink()
        Path(self.path).symlink_to(self.directory / "nowhere")
        self.refused(self.path, "no socket")
        self.assertEqual(target.read_text(), "precious")

    def test_worldWritable(self) -> None:
        """
        A directory in which anybody may put a socket first is refused, though
        it were sticky.
        """
        for mode in (0o777, 0o1777):
            self.directory.chmod(mode)
            self.refused(self.path, "anybody may write")

    def test_stranger(self) -> None:
        """
        A directory of another user is refused.
        """
        if os.geteuid() != 0:
            raise SkipTest("only root can give a directory away")
        os.chown(self.directory, 12345, 0)
        self.refused(self.path, "belongs to 12345")

    def test_long(self) -> None:
        """
        A path too long for a socket is refused by its length.
        """
        self.refused("/" + "x" * LONGEST_PATH, str(LONGEST_PATH))


class AdmitTests(SynchronousTestCase):
    """
    L{admit}.
    """

    def setUp(self) -> None:
        self.path = str(shortDirectory(self) / "s")
        self.listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.listener.close)
        self.listener.bind(self.path)
        self.listener.listen()

    def mode(self) -> int:
        return Path(self.path).stat().st_mode & 0o777

    def test_nobody(self) -> None:
        """
        Without users and groups the socket is for its owner only.
        """
        admit(self.path, frozenset(), frozenset())
        self.assertEqual(self.mode(), 0o600)

    def test_some(self) -> None:
        """
        With some the kernel lets just these in: the others see mode 0660 and
        belong to nothing in it.
        """
        if os.geteuid() != 0:
            raise SkipTest("only root can be somebody else")
        for directory in Path(self.path).absolute().parents:
            if not directory.stat().st_mode & 0o001:
                raise SkipTest(f"others cannot get through {directory}")
        try:
            admit(self.path, frozenset({1234}), frozenset({4321}))
        except OSError as error:
            raise SkipTest(f"no access control lists here: {error}") from error
        self.assertEqual(self.mode(), 0o660)
        for uid, gid, groups, expected in (
            (1234, 99, [], True),
            (1235, 4321, [], True),
            (1235, 99, [4321], True),
            (1235, 99, [], False),
            (1235, 0, [], False),
        ):
            self.assertEqual(self.connects(uid, gid, groups), expected, (uid, gid))

    def connects(self, uid: int, gid: int, groups: list[int]) -> bool:
        """
        In a process of that user, does it?
        """
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.setgroups(groups)
                os.setgid(gid)
                os.setuid(uid)
                socket.socket(socket.AF_UNIX).connect(self.path)
                status = 0
            finally:
                os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

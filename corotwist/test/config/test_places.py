"""
Where state and sockets are.
"""

from twisted.trial.unittest import SynchronousTestCase

from corotwist.config.places import socketPath, stateDirectory


class StateDirectoryTests(SynchronousTestCase):
    def test_order(self) -> None:
        """
        The environment wins over the file, the file over the default.
        """
        environ = {"STATE_DIRECTORY": "/a:/b"}
        self.assertEqual(stateDirectory(environ, 0, "/c"), "/a")
        self.assertEqual(stateDirectory({}, 0, "/c"), "/c")
        self.assertEqual(stateDirectory({}, 0), "/var/lib/corosync")

    def test_user(self) -> None:
        """
        A user's is at home.
        """
        self.assertEqual(stateDirectory({"HOME": "/h"}, 7), "/h/.local/state/corotwist")
        self.assertEqual(
            stateDirectory({"HOME": "/h", "XDG_STATE_HOME": "/x"}, 7), "/x/corotwist"
        )


class SocketPathTests(SynchronousTestCase):
    def test_order(self) -> None:
        """
        The file wins, since a client is given the same path.
        """
        environ = {"RUNTIME_DIRECTORY": "/run/x"}
        self.assertEqual(socketPath(environ, 0, "/c"), "/c")
        named = {**environ, "COROTWIST_SOCKET": "/s"}
        self.assertEqual(socketPath(named, 0), "/s")
        self.assertEqual(socketPath(named, 0, "/c"), "/c")
        self.assertEqual(socketPath(environ, 0), "/run/x/corotwist.sock")
        self.assertEqual(socketPath({}, 0), "/run/corotwist/corotwist.sock")

    def test_user(self) -> None:
        """
        A user's is where the session keeps such things.
        """
        environ = {"XDG_RUNTIME_DIR": "/run/user/7"}
        self.assertEqual(socketPath(environ, 7), "/run/user/7/corotwist.sock")
        self.assertEqual(socketPath({}, 7), "/tmp/corotwist-7/corotwist.sock")

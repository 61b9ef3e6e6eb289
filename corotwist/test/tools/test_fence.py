"""
C{corotwist fence}, where there is little to tell.
"""

from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from corotwist.errors import NotSupported
from corotwist.tools.fence import FenceOptions, _perform


class NobodyFencesTests(SynchronousTestCase):
    """
    A node without an agent, where there are no commands about fencing.
    """

    def test_sentence(self) -> None:
        """
        Who asks it is told what is missing in its configuration.
        """
        client: Any = SimpleNamespace(
            ask=lambda *_, **__: fail(NotSupported("no command b'fencing.status'"))
        )
        for words in ([], ["confirm", "3"]):
            options = FenceOptions()
            options.parseOptions(words)
            done = Deferred.fromCoroutine(_perform(client, options))
            failure = self.failureResultOf(done, NotSupported)
            self.assertIn("fencing.agent", failure.getErrorMessage())

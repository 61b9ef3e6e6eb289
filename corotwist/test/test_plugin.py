"""
Tests of finding engines through Twisted's plug-in system.
"""

import os
import subprocess
import sys
from typing import Any

from attrs import evolve
from twisted.application.service import IServiceMaker
from twisted.plugin import IPlugin, getPlugins
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from corotwist.config.settings import QuorumSettings
from corotwist.interfaces import IEngineMaker, IServiceEngine
from corotwist.plugin import discover
from corotwist.test.engines.orderednet import nodeSettings


class DiscoveryTests(SynchronousTestCase):
    """
    What is found.
    """

    def test_ours(self) -> None:
        """
        Every shipped engine is found, constructed under the name and version
        of its maker, and brings responders that can be loaded.
        """
        makers = {maker.name: maker for maker in discover()}
        self.assertLessEqual({"cmap", "cpg", "quorum", "votequorum"}, set(makers))
        for name in ("cmap", "cpg", "quorum", "votequorum"):
            maker = makers[name]
            verifyObject(IEngineMaker, maker)
            verifyObject(IPlugin, maker)
            engine = maker.load()
            verifyObject(IServiceEngine, engine)
            self.assertEqual((engine.name, engine.version), (name, maker.version))
            self.assertIsNot(maker.load(), engine)
        self.assertTrue(callable(makers["cpg"].responders()))
        self.assertTrue(callable(makers["cmap"].responders()))
        self.assertIsNone(makers["quorum"].responders())

    def test_wanted(self) -> None:
        """
        Votes are counted where the provider is configured, the other engines
        run everywhere.
        """
        makers = {maker.name: maker for maker in discover()}
        voting = nodeSettings()
        plain = evolve(voting, quorum=QuorumSettings())
        self.assertTrue(makers["votequorum"].wanted(voting))
        self.assertFalse(makers["votequorum"].wanted(plain))
        self.assertTrue(makers["cpg"].wanted(plain))

    def test_service(self) -> None:
        """
        C{twistd} finds the service by its name.
        """
        makers: Any = getPlugins(IServiceMaker)
        modules = {maker.tapname: maker.module for maker in makers}
        self.assertEqual(modules["corosync"], "corotwist.tap")

    def test_namesOnly(self) -> None:
        """
        Finding plug-ins imports no engine and no IPC.
        """
        code = (
            "import sys, corotwist.plugin as p; p.discover();"
            "print([m for m in sys.modules if m.startswith('corotwist.')"
            " and m.split('.')[1] in ('engines', 'ipc', 'totem.ring')])"
        )
        found = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            check=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            text=True,
        )
        self.assertEqual(found.stdout.strip(), "[]")

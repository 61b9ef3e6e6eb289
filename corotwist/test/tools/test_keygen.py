"""
Making and loading keys.
"""

import io
import json
import os
import stat
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from corotwist.errors import ConfigurationError
from corotwist.test.tools.schemas import differences
from corotwist.tools.keygen import DEFAULT_BYTES, loadKey, run
from corotwist.totem.frame import deriveKey, fingerprint


class KeygenTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.out, self.errors = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.errors)
        self.patch(sys, "stdin", io.StringIO())

    def keygen(self, *arguments: str) -> int:
        return run(["-k", str(self.path), *arguments])


class RunTests(KeygenTestCase):
    def test_makesKey(self) -> None:
        """
        A key file has 256 bytes, of which only the owner can read any.
        """
        self.assertEqual(self.keygen(), 0)
        self.assertEqual(len(self.path.read_bytes()), DEFAULT_BYTES)
        self.assertEqual(DEFAULT_BYTES, 256)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o400)

    def test_neverOpen(self) -> None:
        """
        The mode is right from the first moment, whatever the umask.
        """
        self.addCleanup(os.umask, os.umask(0))
        modes: list[int] = []
        create = os.open

        def watched(*arguments: object) -> int:
            descriptor = create(*arguments)  # type: ignore[arg-type]
            modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
            return descriptor

        self.patch(os, "open", watched)
        self.keygen()
        self.assertEqual(modes, [0o400])

    def test_random(self) -> None:
        """
        No two keys are the same.
        """
        self.keygen()
        first = self.path.read_bytes()
        self.path.unlink()
        self.keygen()
        self.assertNotEqual(self.path.read_bytes(), first)

    def test_tells(self) -> None:
        """
        It prints where the key is and its fingerprint, and nothing of it.
        """
        self.keygen()
        material = self.path.read_bytes()
        self.assertIn(str(self.path), self.out.getvalue())
        self.assertIn(fingerprint(material), self.out.getvalue())
        self.assertNotIn(material[:4].hex(), self.out.getvalue())

    def test_size(self) -> None:
        """
        The size can be chosen, within what corosync takes too.
        """
        for size in (128, 4096):
            self.assertEqual(self.keygen("--size", str(size)), 0)
            self.assertEqual(len(self.path.read_bytes()), size)
            self.path.unlink()
        for wrong in ("127", "4097", "many"):
            self.assertEqual(self.keygen("-s", wrong), 1)
            self.assertIn(
                "Unsupported key size (supported <128,4096>)\n",
                self.errors.getvalue(),
            )
            self.assertFalse(self.path.exists())

    def test_refusesToOverwrite(self) -> None:
        """
        A file that is there stays as it is.
        """
        self.path.write_bytes(b"precious")
        self.assertEqual(self.keygen(), 2)
        self.assertEqual(self.path.read_bytes(), b"precious")
        self.assertIn("is there already", self.errors.getvalue())

    def test_refusesLinks(self) -> None:
        """
        A link to nowhere is not followed either.
        """
        target = Path(self.mktemp()).absolute()
        self.path.symlink_to(target)
        self.assertEqual(self.keygen(), 2)
        self.assertFalse(target.exists())

    def test_cannotWrite(self) -> None:
        """
        A directory that is not there is named, with the reason.
        """
        self.path = self.path / "deeper"
        self.assertEqual(self.keygen(), 2)
        self.assertIn(f"{self.path}: No such", self.errors.getvalue())

    def test_noHalfKey(self) -> None:
        """
        When the disk is full nothing is left that looks like a key.
        """

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        self.patch(os, "fsync", full)
        self.assertEqual(self.keygen(), 4)
        self.assertFalse(self.path.exists())
        self.path.write_bytes(b"precious")
        self.assertEqual(self.keygen("--force"), 4)
        self.assertEqual(self.path.read_bytes(), b"precious")

    def test_unknownOption(self) -> None:
        """
        A wrong command line is answered with the right ones.
        """
        self.assertEqual(self.keygen("--loud"), 1)
        self.assertIn("Usage", self.errors.getvalue())

    def test_text(self) -> None:
        """
        It prints what corosync-keygen prints, and then the fingerprint; -l does
        nothing. (F13)
        """
        self.assertEqual(self.keygen("-l"), 0)
        mark = fingerprint(self.path.read_bytes())
        self.assertEqual(
            self.out.getvalue(),
            "Corosync Cluster Engine Authentication key generator.\n"
            "Gathering 2048 bits for key from /dev/urandom.\n"
            f"Writing corosync key to {self.path}.\n"
            f"{self.path}: 256 bytes, fingerprint {mark}\n",
        )

    def test_source(self) -> None:
        """
        Randomness may come from a file; one that ends early makes no key. (F13)
        """
        source = Path(self.mktemp())
        source.write_bytes(bytes(range(200)))
        wishes = ("-r", str(source), "-s")
        self.assertEqual(self.keygen(*wishes, "150"), 0)
        self.assertEqual(self.path.read_bytes(), bytes(range(150)))
        self.path.unlink()
        for wrong in ((*wishes, "201"), ("-r", "/nowhere")):
            self.assertEqual(self.keygen(*wrong), 1)
        self.assertIn("has only 200 bytes", self.errors.getvalue())
        self.assertIn("Failed to open random source", self.errors.getvalue())
        self.assertFalse(self.path.exists())

    def test_force(self) -> None:
        """
        A key is replaced when that is wanted, as a whole and with the right
        mode. (F13)
        """
        self.path.write_bytes(b"old")
        self.path.chmod(0o644)
        self.assertEqual(self.keygen("--force"), 0)
        self.assertEqual(len(self.path.read_bytes()), DEFAULT_BYTES)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o400)
        left = [p.name for p in self.path.parent.iterdir() if p.name.startswith(".")]
        self.assertEqual(left, [])

    def test_asks(self) -> None:
        """
        At a terminal it asks whether to replace. (F13)
        """

        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        self.path.write_bytes(b"precious")
        for answer, status in (("\n", 2), ("no\n", 2), ("", 2), ("y\n", 0)):
            self.patch(sys, "stdin", Terminal(answer))
            self.assertEqual(self.keygen(), status)
            precious = self.path.read_bytes() == b"precious"
            self.assertEqual(precious, status != 0)
        self.assertIn("replace it? [y/N] ", self.out.getvalue())

    def test_several(self) -> None:
        """
        Several files get a key each. (F13)
        """
        other = self.path.with_name("other")
        self.assertEqual(self.keygen("-k", str(other)), 0)
        self.assertNotEqual(self.path.read_bytes(), other.read_bytes())

    def test_json(self) -> None:
        """
        For programs there is the fingerprint, too, as documented. (F13, F21)
        """
        self.assertEqual(self.keygen("--json"), 0)
        found = json.loads(self.out.getvalue())
        self.assertEqual(differences(found), [])
        self.assertEqual(found["fingerprint"], fingerprint(self.path.read_bytes()))
        self.out.truncate(0)
        self.out.seek(0)
        self.assertEqual(self.keygen("--json"), 2)
        self.assertEqual(json.loads(self.out.getvalue())["error"], "NOT_CREATED")


class LoadTests(KeygenTestCase):
    def refused(self, part: str) -> None:
        error = self.assertRaises(ConfigurationError, loadKey, str(self.path), "c")
        (problem,) = error.problems
        self.assertEqual(problem.key, "totem.keyfile")
        self.assertIn(str(self.path), str(error))
        self.assertIn(part, problem.text)

    def write(self, size: int, mode: int = 0o400) -> None:
        self.path.write_bytes(b"k" * size)
        self.path.chmod(mode)

    def test_made(self) -> None:
        """
        What keygen made is a key, bound to the cluster's name.
        """
        self.keygen()
        key = loadKey(str(self.path), "storage")
        self.assertEqual(key, deriveKey(self.path.read_bytes(), "storage"))
        self.assertNotEqual(key, loadKey(str(self.path), "backup"))

    def test_size(self) -> None:
        """
        Files that are too short or too long to be a key are refused.
        """
        for size in (128, 4096):
            self.write(size)
            self.assertEqual(len(loadKey(str(self.path), "c")), 32)
            self.path.unlink()
        for size in (0, 127, 4097, 100000):
            self.write(size)
            self.refused("128 to 4096 bytes")
            self.path.unlink()

    def test_mode(self) -> None:
        """
        A key that group or others can touch in any way is refused, with the
        command that mends it.
        """
        self.write(256)
        for mode in (0o440, 0o404, 0o420, 0o402, 0o410, 0o666):
            self.path.chmod(mode)
            self.refused("chmod 0400")
        for mode in (0o400, 0o600, 0o700):
            self.path.chmod(mode)
            loadKey(str(self.path), "c")

    def test_missing(self) -> None:
        """
        A file that is not there is named.
        """
        self.refused("No such file")

    def test_notAFile(self) -> None:
        """
        Neither a directory nor a pipe is a key, and a pipe is not waited for.
        """
        self.path.mkdir(mode=0o700)
        self.refused("not a file")
        self.path.rmdir()
        os.mkfifo(self.path, 0o600)
        self.refused("not a file")

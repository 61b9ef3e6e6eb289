"""
Tests of the configuration map under its C names, against a real socket.
"""

import re
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from corotwist.cstyle import cmap
from corotwist.cstyle.cmap import CmapHandle
from corotwist.cstyle.types import (
    CS_DISPATCH_ALL,
    CS_DISPATCH_ONE,
    CS_DISPATCH_ONE_NONBLOCKING,
    CsError,
)
from corotwist.test.ipc.realnode import RealNodeCase

OK = CsError.CS_OK
HEADER = Path("/usr/include/corosync/cmap.h")


class HeaderTests(SynchronousTestCase):
    def test_calls(self) -> None:
        """
        Every call and constant of the header is there, with its number (A92).
        """
        if not HEADER.exists():
            raise SkipTest("no header of corosync on this machine")
        text = HEADER.read_text()
        calls = re.findall(r"^extern cs_error_t (\w+)", text, re.MULTILINE)
        self.assertGreater(len(calls), 20)
        for name in calls:
            self.assertTrue(callable(getattr(cmap, name)), name)
        numbers = re.findall(r"\b(CMAP_[A-Z0-9_]+)(?:\s*=\s*|\s+)(\d+)", text)
        self.assertGreater(len(numbers), 18)
        for name, number in numbers:
            self.assertEqual(getattr(cmap, name), int(number), name)


class CmapTests(RealNodeCase):
    timeout = 30

    def handle(self, which: int = cmap.CMAP_MAP_DEFAULT) -> CmapHandle:
        error, handle = cmap.cmap_initialize_map(which, self.path)
        self.assertEqual(error, OK)
        assert handle is not None, "no error, and no handle"
        return handle

    def test_values(self) -> Deferred[None]:
        """
        Keys of every type are written, read, counted and deleted (A92, E2,
        E3, E4, E5).
        """
        return self.story(self._values)

    def _values(self) -> None:
        handle = self.handle()
        for kind, value in (
            ("uint8", 255),
            ("int64", -7),
            ("string", "ä"),
            ("float", 0.5),
        ):
            name = f"test.{kind}"
            setter = getattr(cmap, f"cmap_set_{kind}")
            self.assertEqual(setter(handle, name, value), OK)
            self.assertEqual(
                getattr(cmap, f"cmap_get_{kind}")(handle, name), (OK, value)
            )
        self.assertEqual(cmap.cmap_get(handle, "test.uint8"), (OK, 255, 2))
        self.assertEqual(cmap.cmap_get_int8(handle, "test.uint8"), (7, None))
        self.assertEqual(cmap.cmap_inc(handle, "test.uint8"), OK)
        self.assertEqual(cmap.cmap_get_uint8(handle, "test.uint8"), (OK, 0))
        self.assertEqual(cmap.cmap_dec(handle, "test.uint8"), OK)
        self.assertEqual(cmap.cmap_get_uint8(handle, "test.uint8"), (OK, 255))
        self.assertEqual(cmap.cmap_set_uint8(handle, "test.uint8", 256), 7)
        self.assertEqual(cmap.cmap_set(handle, "test.other", 1, 13), 7)
        self.assertEqual(cmap.cmap_delete(handle, "test.uint8"), OK)
        self.assertEqual(cmap.cmap_delete(handle, "test.uint8"), 12)
        self.assertEqual(cmap.cmap_get(handle, "test.uint8"), (12, None, None))
        self.assertEqual(cmap.cmap_set_string(handle, "nodelist.local", "x"), 11)
        self.assertEqual(cmap.cmap_finalize(handle), OK)
        self.assertEqual(cmap.cmap_delete(handle, "test.uint8"), 9)
        self.assertEqual(cmap.cmap_initialize_map(2, self.path), (7, None))

    def test_iteration(self) -> Deferred[None]:
        """
        Keys that begin so come in order, as they were at the beginning; there
        are two maps (A92, E1, E6).
        """
        return self.story(self._iteration)

    def _iteration(self) -> None:
        handle = self.handle()
        for number in range(2000):
            cmap.cmap_set_uint32(handle, f"test.key{number:04}", number)
        self.assertEqual(cmap.cmap_set_uint32(handle, "other.key", 1), OK)
        error, walk = cmap.cmap_iter_init(handle, "test.")
        self.assertEqual(error, OK)
        cmap.cmap_set_uint32(handle, "test.late", 1)
        names = []
        error, name, kind = cmap.cmap_iter_next(handle, walk)
        while error == OK:
            names.append((name, kind))
            error, name, kind = cmap.cmap_iter_next(handle, walk)
        self.assertEqual(error, CsError.CS_ERR_NO_SECTIONS)
        self.assertEqual(names, [(f"test.key{n:04}", 6) for n in range(2000)])
        self.assertEqual(cmap.cmap_iter_finalize(handle, walk), OK)
        self.assertEqual(cmap.cmap_iter_next(handle, walk)[0], 9)
        stats = self.handle(cmap.CMAP_MAP_STATS)
        _, walk = cmap.cmap_iter_init(stats, "test.")
        self.assertEqual(cmap.cmap_iter_next(stats, walk)[0], 27)
        self.assertEqual(cmap.cmap_set_uint8(stats, "test.key", 1), 11)

    def test_tracking(self) -> Deferred[None]:
        """
        What others write is told by dispatch, with the old value and the new
        (A92, E7).
        """
        return self.story(self._tracking)

    def _tracking(self) -> None:
        handle, other = self.handle(), self.handle()
        told: list[tuple[Any, ...]] = []

        def notify(at: CmapHandle, tracker: int, *change: Any) -> None:
            self.assertIs(at, handle)
            told.append((tracker, *change))

        kinds = 1 | 2 | 4 | cmap.CMAP_TRACK_PREFIX
        error, tracker = cmap.cmap_track_add(handle, "test.", kinds, notify, "mine")
        self.assertEqual(error, OK)
        self.assertEqual(cmap.cmap_dispatch(handle, CS_DISPATCH_ONE_NONBLOCKING), 6)
        for call in (
            lambda: cmap.cmap_set_uint8(other, "test.key", 1),
            lambda: cmap.cmap_set_uint8(other, "test.key", 2),
            lambda: cmap.cmap_delete(other, "test.key"),
            lambda: cmap.cmap_set_uint8(other, "unseen.key", 2),
        ):
            self.assertEqual(call(), OK)
        while len(told) < 3:
            self.assertEqual(cmap.cmap_dispatch(handle, CS_DISPATCH_ONE), OK)
        one, two = (cmap.CmapNotifyValue(2, n) for n in (1, 2))
        none = cmap.CmapNotifyValue()
        self.assertEqual(
            told,
            [
                (tracker, cmap.CMAP_TRACK_ADD, "test.key", one, none, "mine"),
                (tracker, cmap.CMAP_TRACK_MODIFY, "test.key", two, one, "mine"),
                (tracker, cmap.CMAP_TRACK_DELETE, "test.key", none, two, "mine"),
            ],
        )
        self.assertEqual(cmap.cmap_track_delete(handle, tracker), OK)
        self.assertEqual(cmap.cmap_track_delete(handle, tracker), 9)
        cmap.cmap_set_uint8(other, "test.key", 3)
        self.assertEqual(cmap.cmap_dispatch(handle, CS_DISPATCH_ALL), OK)
        self.assertEqual(len(told), 3)
        self.assertEqual(cmap.cmap_track_add(handle, "x.", 64, notify), (7, None))

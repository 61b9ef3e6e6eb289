"""
The lease: how long nobody can be on a ring without us, whether we hear of it
or not.

Who wants us gone waits for us first.  A processor leaves our ring for the
gather state, and from there excludes us only when we have been silent for its
consensus time, or when another of our ring says that it did, after waiting as
long itself.  So a time at which all were still on our ring, plus the consensus
time, is one at which no ring without us exists.

- The token has come round: each member had it after our visit before this one.
  Whoever was in the gather state by then would not have passed it on.  Who
  sent it how often, and how long it was held or waited in our socket, does not
  matter: that visit is in the past anyway.
- The clock is read before the token leaves us, and the lease is a time, not a
  duration: while we are not scheduled it runs out.
- The first visit on a ring gives none: until then a member may not be
  operational, and believe what was said before.
- Who cannot receive excludes itself, and needs no consensus time.  It does
  that no sooner than a consensus time after the last progress of the ring
  (L{corotwist.totem.ordering.receivesNothing}), and without progress nothing
  is renewed here.

What it rests upon: nobody speaks in the name of another; all members have our
consensus time (it stands in the configuration; while it is being changed the
shorter one counts); and clocks differ in speed by no more than
L{CLOCKS_DIFFER}.  It says nothing of processors that were not on this ring, a
restarted one included, and it is given up early by a processor that is stopped
in order and says so itself.
"""

from math import inf
from typing import Final

from attrs import define

# How much of the consensus time a clock may gain on another in it.
CLOCKS_DIFFER: Final = 0.1


@define
class Lease:
    """
    That of one processor on its ring.

    @ivar visited: when the token was here last.
    @ivar began: a time at which all members were on this ring.
    @ivar seconds: the shortest consensus time since the ring was formed.
    """

    visited: float = -inf
    began: float = -inf
    seconds: float = 0.0

    def begin(self, now: float, consensus: float) -> None:
        """
        The ring became operational here, at a visit of the token.
        """
        self.visited, self.began, self.seconds = now, -inf, consensus

    def renew(self, now: float, *, progress: bool) -> None:
        """
        The token is here again.

        @param progress: does nobody hold the ring back?
        """
        if progress:
            self.began = self.visited
        self.visited = now

    def shorten(self, consensus: float) -> None:
        """
        The consensus time is another one, here or elsewhere.
        """
        self.seconds = min(self.seconds, consensus)

    @property
    def ends(self) -> float:
        """
        Until when; minus infinity when there is none yet.
        """
        return self.began + self.seconds * (1 - CLOCKS_DIFFER)

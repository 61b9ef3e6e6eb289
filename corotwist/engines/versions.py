"""
Versions of the configuration: each node's own, and who has to stop.
"""

from attrs import define, field


@define(eq=False)
class Versions:
    """
    What the members of the ring said of their configuration's version.

    A node that comes to a cluster with an older configuration than another
    member's stops, before it does harm: at the first meeting only, for a newer
    version that comes later is an operator's reload in progress.  A version of 0
    takes no part in that.

    @ivar own: ours.
    """

    nodeid: int
    own: int = 0
    members: dict[int, int] = field(factory=dict, init=False)
    highest: int = field(default=0, init=False)
    mayJudge: bool = field(default=True, init=False)
    judging: bool = field(default=False, init=False)

    def heard(self, nodeid: int, version: int) -> None:
        """
        From a member, or ourselves.
        """
        self.members[nodeid] = version
        if nodeid != self.nodeid:
            self.highest = max(self.highest, version)

    def left(self, nodeid: int) -> None:
        """
        A node that is gone takes its version with it.
        """
        self.members.pop(nodeid, None)

    def meeting(self, *, others: bool) -> None:
        """
        A round begins.

        @param others: were we on a ring already?
        """
        self.highest = self.own
        self.judging = self.mayJudge and others

    def interrupted(self) -> None:
        """
        The round counts for nothing.
        """
        self.judging = False

    def met(self) -> str | None:
        """
        The round is complete.

        @return: why this node has to stop, if it has to.
        """
        if not self.judging:
            return None
        self.mayJudge = self.judging = False
        if self.own and self.highest != self.own:
            return (
                f"our configuration is version {self.own}, "
                f"another member's is version {self.highest}"
            )
        return None

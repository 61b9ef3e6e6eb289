"""
How many bytes may be held at once, and how many are.
"""

from attrs import define

from corotwist.errors import TryAgain


@define(eq=False)
class Budget:
    """
    Bytes of one owner.  They count for him, and for the whole that he shares
    with others.

    Who can ask somebody else to wait calls L{take}; who is handed things and
    has to make room afterwards calls L{charge} and looks whether it is
    L{exceeded}.

    @ivar whole: what all owners have together, itself part of nothing larger;
        L{None} for that one.
    @ivar used: bytes held now.
    @ivar most: that were ever held at once.
    @ivar refused: how often there was no room.
    """

    name: str
    limit: int
    whole: "Budget | None" = None
    used: int = 0
    most: int = 0
    refused: int = 0

    def fits(self, size: int) -> bool:
        """
        Is there room for so much, here and in the whole?
        """
        if self.used + size > self.limit:
            return False
        whole = self.whole
        return whole is None or whole.used + size <= whole.limit

    def take(self, size: int) -> None:
        """
        Hold so much more.

        @raise TryAgain: there is no room; nothing was taken.
        """
        if not self.fits(size):
            self.refused += 1
            raise TryAgain(
                f"{self.name}: no room for {size} bytes, {self.used} of {self.limit}"
                " are in use"
            )
        self.charge(size)

    def charge(self, size: int) -> None:
        """
        So much more is held, whether there is room or not.
        """
        # Twice for each batch of messages: no calls to spare.
        self.used += size
        if self.used > self.most:  # noqa: PLR1730
            self.most = self.used
        whole = self.whole
        if whole is not None:
            whole.used += size
            if whole.used > whole.most:  # noqa: PLR1730
                whole.most = whole.used

    def give(self, size: int) -> None:
        """
        So much less is held.
        """
        self.used -= size
        if self.whole is not None:
            self.whole.used -= size

    def exceeded(self) -> bool:
        """
        Is more held than may be, here or in the whole?
        """
        whole = self.whole
        return self.used > self.limit or (
            whole is not None and whole.used > whole.limit
        )

    def dump(self) -> dict[str, int]:
        """
        For people.
        """
        return {
            "limit": self.limit,
            "used": self.used,
            "most": self.most,
            "refused": self.refused,
        }

"""
One option, as C{ringoptions} and C{nodeoptions} have it in their tables.
"""

from enum import Enum

from attrs import evolve, frozen

from corotwist.config.kinds import Kind, Value


class Change(Enum):
    """
    When a value that changed in the file takes effect.
    """

    RUNTIME = "at once"
    RESTART = "after a restart"
    IDENTITY = "never: it would be another node or link"
    NEVER = "never: it has no effect in this release"


@frozen
class Row:
    """
    One option.

    @ivar name: dotted; repeated sections count as one; a C{*} at the end
        stands for any rest.
    @ivar default: L{None} when there is none, or it follows from others.
    @ivar acts: does this release do anything with it?
    @ivar refused: what to do instead, where going on with another value than
        the default would not be safe.
    @ivar change: when a new value takes effect on a node that runs.
    """

    name: str
    kind: Kind
    default: Value | None
    meaning: str
    acts: bool = True
    refused: str = ""
    change: Change = Change.RESTART

    @property
    def section(self) -> str:
        """
        The dotted name of the section it belongs into.
        """
        return self.name.rpartition(".")[0]


def running(name: str, kind: Kind, default: Value | None, meaning: str) -> Row:
    """
    One that a running node follows.
    """
    return Row(name, kind, default, meaning, change=Change.RUNTIME)


def idle(name: str, kind: Kind, default: Value | None, meaning: str) -> Row:
    """
    One that is accepted without effect.
    """
    return Row(name, kind, default, meaning, acts=False, change=Change.NEVER)


def unsafe(
    name: str, kind: Kind, default: Value | None, meaning: str, refused: str
) -> Row:
    """
    One without which it would not be safe to go on.
    """
    return evolve(idle(name, kind, default, meaning), refused=refused)

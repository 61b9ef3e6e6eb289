"""
Who may do what changes a whole node: root, and the user that it runs as.
"""

from collections.abc import Callable
from os import geteuid
from typing import Protocol

from corotwist.errors import AccessDenied


class Client(Protocol):
    """
    Who asks, as the kernel says.
    """

    @property
    def uid(self) -> int:
        """
        The user id.
        """


def checkAdministrator(client: Client, ours: Callable[[], int] = geteuid) -> None:
    """
    @param ours: the daemon's user.
    @raise AccessDenied: the client does not administer the node.
    """
    if client.uid not in (0, ours()):
        raise AccessDenied(f"user {client.uid} does not administer this node")

"""
Who may connect, and which two connections belong together.
"""

from collections.abc import Callable
from os import geteuid
from secrets import token_bytes
from typing import Any, Final

from twisted.logger import Logger

from corotwist.config.settings import IpcSettings
from corotwist.errors import AccessDenied, BadHandle, TryAgain
from corotwist.ipc.connection import Credentials
from corotwist.ipc.serverchannel import Counters, ServerChannel

SECRET_BYTES: Final = 16
CLIENTS: Final = 1024


def randomSecret() -> bytes:
    """
    One that nobody guesses.
    """
    return token_bytes(SECRET_BYTES)


class Admission:
    """
    Every connection tells who it is.  The first of a client's gets a secret,
    which the second proves with that it is of the same client.

    @ivar settings: the users and groups that may connect, from now on.
    """

    _log = Logger()

    def __init__(
        self,
        settings: IpcSettings,
        counters: Counters,
        makeSecret: Callable[[], bytes],
        credentials: Callable[[Any], Credentials],
    ) -> None:
        """
        @param makeSecret: any two must differ.
        @param credentials: tells who is at the other end of a transport.
        """
        self.settings = settings
        self._counters = counters
        self._makeSecret = makeSecret
        self._credentials = credentials
        self._secrets: dict[bytes, ServerChannel] = {}

    def identify(self, channel: ServerChannel) -> Credentials:
        """
        Who it is.

        @raise AccessDenied: not one of those who may connect.
        """
        who = channel.credentials = self._credentials(channel.transport)
        allowed = self.settings
        if (
            who.uid in {0, geteuid()}
            or who.uid in allowed.uids
            or not allowed.gids.isdisjoint({who.gid, *who.groups})
        ):
            return who
        self._counters.refused += 1
        self._log.warn("Refused a client: {who}", who=who)
        raise AccessDenied(f"user {who.uid}, group {who.gid} may not connect")

    def newSecret(self, channel: ServerChannel, clients: int) -> bytes:
        """
        For the other connection of the same process to say.

        @param clients: how many are paired already.
        """
        if channel in self._secrets.values():
            raise BadHandle("said hello already")
        if clients >= CLIENTS:
            self._counters.refused += 1
            raise TryAgain(f"{CLIENTS} clients are connected already")
        secret = self._makeSecret()
        self._secrets[secret] = channel
        return secret

    def secretUsed(
        self, secret: bytes | None, channel: ServerChannel, who: Credentials
    ) -> ServerChannel:
        """
        Whose secret it was, and was for the last time.
        """
        requests = self._secrets.pop(secret or b"", None)
        if requests is None or requests is channel:
            raise AccessDenied("no such secret, or not any more, or on one connection")
        first = requests.credentials
        assert first is not None, "a secret without hello"
        if (first.pid, first.uid) != (who.pid, who.uid):
            requests.abort()
            raise AccessDenied("the secret belongs to another process")
        return requests

    def forget(self, channel: ServerChannel) -> None:
        """
        Nobody can be paired with it any more.
        """
        for secret in [s for s, c in self._secrets.items() if c is channel]:
            del self._secrets[secret]

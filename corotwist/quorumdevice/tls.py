"""
TLS between nodes and an arbiter: both show a certificate, and both belong to one
authority of the operator's own.  Needs C{corotwist[tls]}.
"""

from pathlib import Path
from typing import Any

from attrs import frozen

from corotwist.errors import CorotwistError


class TlsRefused(CorotwistError):
    """
    TLS cannot be used; the text says why.
    """


@frozen
class Identity:
    """
    Files in PEM.

    @ivar certificate: who we are, with the certificates between us and the
        authority.
    @ivar key: of it.
    @ivar authority: whom we believe.
    """

    certificate: str
    key: str
    authority: str

    def server(self) -> Any:
        """
        For an arbiter: who comes has to have a certificate.

        @raise TlsRefused: it cannot be used.
        """
        ssl = _ssl()
        try:
            own, authority = self._load(ssl)
            options = own.options(authority)
        except Exception as error:
            raise self._refused(error) from error
        return options

    def client(self, name: str) -> Any:
        """
        For a node.

        @param name: that the certificate of the arbiter has to have.
        @raise TlsRefused: it cannot be used.
        """
        ssl = _ssl()
        try:
            own, authority = self._load(ssl)
            options = ssl.optionsForClientTLS(
                name, trustRoot=authority, clientCertificate=own
            )
        except Exception as error:
            raise self._refused(error) from error
        return options

    def _load(self, ssl: Any) -> tuple[Any, Any]:
        pem = Path(self.certificate).read_bytes() + b"\n" + Path(self.key).read_bytes()
        own = ssl.PrivateCertificate.loadPEM(pem)
        authority = ssl.Certificate.loadPEM(Path(self.authority).read_bytes())
        return own, authority

    def _refused(self, error: Exception) -> TlsRefused:
        reason = getattr(error, "strerror", None) or error or type(error).__name__
        files = f"{self.certificate}, {self.key}, {self.authority}"
        return TlsRefused(f"TLS with {files}: {reason}")


def _ssl() -> Any:
    """
    Twisted's own TLS, if what it needs is installed.
    """
    try:
        from twisted.internet import ssl  # noqa: PLC0415 - Most nodes have no TLS.
    except ImportError as error:
        text = f"TLS needs more packages ({error}): pip install 'corotwist[tls]'"
        raise TlsRefused(text) from error
    return ssl

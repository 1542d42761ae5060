"""Which certificates are trusted, and why an HTTP request had no answer."""

from __future__ import annotations

import os
import ssl

from medseg.errors import MedsegError

_NETWORK = "Check the address and the network, and try again."


def trusted() -> ssl.SSLContext:
    """Trust SSL_CERT_FILE or SSL_CERT_DIR where one is set, else the usual authorities.

    Raises:
        MedsegError: one is set and holds no certificate that can be read.
    """
    import httpx

    try:
        return httpx.create_ssl_context()
    except OSError as error:
        name = "SSL_CERT_FILE" if os.environ.get("SSL_CERT_FILE") else "SSL_CERT_DIR"
        raise MedsegError(
            f"certificates in PEM where {name} says",
            got="none" if isinstance(error, ssl.SSLError) else error.strerror or "none",
            advice=f"Repair the file, or unset {name}.",
        ) from error


def why_none(error: BaseException) -> tuple[str, str]:
    """What to say of a request without an answer, and what to do: certificate, TLS, or network."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"a certificate that is not trusted ({cause.verify_message.rstrip('.')})",
                "Set SSL_CERT_FILE to a file with the certificate of its authority, "
                "or use the name that the certificate has.",
            )
        if isinstance(cause, ssl.SSLError):
            return "none by TLS", "Check the port; the address of a service without TLS begins with http://."
        if isinstance(cause, OSError) and cause.strerror:
            return f"none ({cause.strerror})", _NETWORK
        cause = cause.__cause__ or cause.__context__
    return f"none ({type(error).__name__})", _NETWORK

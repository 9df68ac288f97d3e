"""The certificate that a server of ours shows."""

from __future__ import annotations

import ssl
from pathlib import Path

from ..errors import ConfigurationError


def server_tls(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """Return what ``--tls-cert`` and ``--tls-key`` ask for; ``None``: no TLS.

    Raises:
        ConfigurationError: they can't be read, are no certificate and key, or do not belong together.
    """
    if cert is None and key is None:
        return None
    if cert is None:
        raise ConfigurationError("--tls-key without --tls-cert: give both")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)

    def no_password() -> str:
        # OpenSSL would ask on the terminal, and a server has none.
        raise ConfigurationError(f"{key or cert} is locked with a passphrase: give a key without one")

    try:
        context.load_cert_chain(cert, key, password=no_password)
    except ssl.SSLError as exc:
        raise ConfigurationError(f"{cert} and its key are no use for TLS: {exc.reason or 'not PEM'}") from exc
    except OSError as exc:
        raise ConfigurationError(f"can't read the certificate or its key: {exc.strerror}") from exc
    return context

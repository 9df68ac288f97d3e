"""DTLS with everybody's certificates, and what came of the handshake."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiortc import RTCPeerConnection
from aiortc.rtcdtlstransport import RTCDtlsFingerprint, RTCDtlsParameters, RTCDtlsTransport, State, certificate_digest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import SSL

# RFC 8827, 6.5, demands the first. Media servers with an RSA certificate (GStreamer, SIP gateways) take the ECDHE-RSA
# ones; the CBC ones are for old OpenSSL. All have forward secrecy.
CIPHERS = ":".join(
    f"ECDHE-{signature}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "CHACHA20-POLY1305", "AES256-GCM-SHA384", "AES128-SHA", "AES256-SHA")
    for signature in ("ECDSA", "RSA")
)
# RFC 8122, 5: the strongest hash that both know is the one to compare.
_HASHES = ("sha-512", "sha-384", "sha-256")


def take_any_certificate(pc: RTCPeerConnection) -> None:
    """Agree with far ends whose certificate is RSA, or who announce more than one; before anything is negotiated.

    Works around aiortc's list of ciphers, which are ECDSA ones alone, and around its wish that every fingerprint of a
    description match: those of a far end's other certificates do not (RFC 8122, 5).
    """
    private: Any = pc
    for certificate in private._RTCPeerConnection__certificates:
        make = certificate._create_ssl_context

        def make_context(make: Any = make, **options: Any) -> SSL.Context:
            context: SSL.Context = make(**options)
            context.set_cipher_list(CIPHERS.encode())
            return context

        certificate._create_ssl_context = make_context


def compare_fingerprints(dtls: RTCDtlsTransport) -> None:
    """See ``take_any_certificate``; once there is a transport."""
    private: Any = dtls
    if "_validate_peer_identity" in vars(private):
        return

    def validate(parameters: RTCDtlsParameters) -> None:
        certificate = private._ssl.get_peer_certificate(as_cryptography=True)
        if certificate is None or not is_announced(certificate, parameters.fingerprints):
            private.failure = "its certificate is not the one that its SDP announced"
            private._set_state(State.FAILED)

    private._validate_peer_identity = validate


def is_announced(certificate: x509.Certificate, fingerprints: Sequence[RTCDtlsFingerprint]) -> bool:
    """Whether the strongest kind of fingerprint has one of this certificate."""
    for algorithm in _HASHES:
        announced = [each.value.upper() for each in fingerprints if each.algorithm.lower() == algorithm]
        if announced:
            return certificate_digest(certificate, algorithm) in announced
    return False


def why_dtls_failed(dtls: RTCDtlsTransport) -> str | None:
    """Return what was wrong with the far end's certificate, if that was it."""
    return getattr(dtls, "failure", None)


def dtls_facts(dtls: RTCDtlsTransport) -> dict[str, Any] | None:
    """Return role, version, cipher, SRTP profile and the far end's certificate; ``None`` before the handshake."""
    private: Any = dtls
    if private._state is not State.CONNECTED:
        return None
    connection: SSL.Connection = private._ssl
    certificate = connection.get_peer_certificate(as_cryptography=True)
    return {
        "role": private._role,
        "version": connection.get_protocol_version_name(),
        "cipher": connection.get_cipher_name(),
        "srtp": connection.get_selected_srtp_profile().decode("ascii", "replace"),
        "certificate": None if certificate is None else _kind(certificate),
    }


def _kind(certificate: x509.Certificate) -> str:
    match certificate.public_key():
        case rsa.RSAPublicKey() as key:
            return f"RSA {key.key_size}"
        case ec.EllipticCurvePublicKey() as key:
            return f"ECDSA {key.curve.name}"
        case key:
            return type(key).__name__

"""TLS for real: a CA of our own, the two commands as processes, and a peer that is told of the CA, or is not."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from calling import DEADLINE
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from typer.testing import CliRunner

import rtcpeer
from rtcpeer.cli import app

Key = ec.EllipticCurvePrivateKey


@dataclass
class Files:
    ca: Path
    cert: Path
    key: Path
    other_key: Path
    locked_key: Path


def certificate(name: str, key: Key, issuer: str, issuer_key: Key, *, is_ca: bool) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
    )
    usage |= {"decipher_only": False, "digital_signature": not is_ca, "key_cert_sign": is_ca, "crl_sign": is_ca}
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if not is_ca:
        addresses = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
        builder = builder.add_extension(x509.SubjectAlternativeName(addresses), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("tls")
    found = Files(*(folder / name for name in ("ca.pem", "cert.pem", "key.pem", "other.pem", "locked.pem")))
    ca_key, key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    found.ca.write_bytes(certificate("CA", ca_key, "CA", ca_key, is_ca=True).public_bytes(Encoding.PEM))
    found.cert.write_bytes(certificate("mock", key, "CA", ca_key, is_ca=False).public_bytes(Encoding.PEM))
    for path, private, lock in (
        (found.key, key, NoEncryption()),
        (found.other_key, other, NoEncryption()),
        (found.locked_key, key, BestAvailableEncryption(b"secret")),
    ):
        path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock))
    return found


@asynccontextmanager
async def serving(command: str, files: Files, *options: str, **environment: str) -> AsyncIterator[str]:
    """Run ``rtcpeer mock`` or ``rtcpeer proxy`` with TLS; yields the https URL that it prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rtcpeer", command, "--port", "0", *options),
        *("--tls-cert", str(files.cert), "--tls-key", str(files.key)),
        stdout=asyncio.subprocess.PIPE,
        env=dict(os.environ) | environment,
    )
    try:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), DEADLINE)).decode()
        yield next(word for word in line.split() if word.startswith("https://")).rstrip(",")
    finally:
        process.terminate()
        await asyncio.wait_for(process.communicate(), DEADLINE)


async def join(*arguments: str, ca: Path) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rtcpeer", "join", *arguments, "--duration", "0.3", "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        stdin=asyncio.subprocess.DEVNULL,
        env=dict(os.environ) | {"SSL_CERT_FILE": str(ca)},
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, out.decode()


async def test_a_peer_that_knows_the_ca_calls_over_https_and_wss_and_through_the_proxy(files):
    async with (
        serving("mock", files) as mock,
        serving("proxy", files, "--upstream", mock, RTCPEER_API_KEY="sk_test", SSL_CERT_FILE=str(files.ca)) as proxy,
    ):
        assert proxy.endswith("/session-config")
        for arguments in (
            ("orga", mock, "--api-key", "sk_test"),
            ("orga-ws", mock, "--api-key", "sk_test"),
            ("orga", mock, "--session-config-url", proxy),
        ):
            code, events = await join(*arguments, ca=files.ca)
            assert (0, True) == (code, '"Closed"' in events)


@pytest.mark.parametrize("protocol", ["orga", "orga-ws"])
async def test_a_certificate_that_the_peer_does_not_trust_is_said_and_is_not_worth_another_try(files, protocol):
    async with serving("mock", files) as mock:
        with pytest.raises(rtcpeer.SignalingError, match="SSL_CERT_FILE can name a CA of your own") as caught:
            await rtcpeer.connect(protocol, mock, api_key="sk_test")

    assert not caught.value.retryable


@pytest.mark.parametrize("command", [["mock"], ["proxy", "--upstream", "http://127.0.0.1:9", "--api-key", "sk_1"]])
@pytest.mark.parametrize(
    ("cert", "key", "message"),
    [
        ("cert", "other_key", "are no use for TLS: KEY_VALUES_MISMATCH"),
        ("cert", "locked_key", "is locked with a passphrase"),
        ("key", "key", "are no use for TLS"),
        ("cert", None, "are no use for TLS"),
        (None, "key", "--tls-key without --tls-cert"),
    ],
)
def test_files_that_are_no_certificate_and_key_are_named(files, command, cert, key, message):
    given = [] if cert is None else ["--tls-cert", str(getattr(files, cert))]
    given += [] if key is None else ["--tls-key", str(getattr(files, key))]
    result = CliRunner().invoke(app, [*command, *given])

    assert isinstance(result.exception, rtcpeer.ConfigurationError)  # which is exit code 2
    assert message in str(result.exception)

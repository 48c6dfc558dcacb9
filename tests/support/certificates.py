"""X.509 certificates for tests: an authority, one between, and a signer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from intact.crypto import SigningKey

NOW = datetime.now(UTC)


def p256() -> SigningKey:
    """A fresh ECDSA key."""
    return SigningKey(ec.generate_private_key(ec.SECP256R1()))


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certificate(
    subject: str,
    key: SigningKey,
    issuer: str,
    by: SigningKey,
    *,
    ca: bool,
    days: tuple[int, int] = (-1, 30),
    **use: Any,
) -> x509.Certificate:
    """A certificate of `key`, signed by `by`, valid from and to so many days from now."""
    usage = {"digital_signature": not ca, "key_cert_sign": ca, **use.get("usage", {})}
    names = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign")
    flags = {**dict.fromkeys((*names, "encipher_only", "decipher_only"), False), **usage}
    public, issuing = use.get("public", key.verifying_key.key), by.verifying_key.key
    made = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer)).public_key(public)
    made = made.serial_number(x509.random_serial_number()).not_valid_before(NOW + timedelta(days=days[0]))
    made = made.not_valid_after(NOW + timedelta(days=days[1]))
    made = made.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    made = made.add_extension(x509.KeyUsage(**flags), critical=True)
    made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    made = made.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuing), critical=False)
    if not ca:
        made = made.add_extension(x509.ExtendedKeyUsage([use.get("purpose", ExtendedKeyUsageOID.CODE_SIGNING)]), False)
    if "extension" in use:
        made = made.add_extension(use["extension"], critical=True)
    return made.sign(by.key, hashes.SHA256())  # type: ignore[arg-type]


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(each.public_bytes(Encoding.PEM) for each in certificates)


def chain_files(folder: Path) -> tuple[Path, Path, Path]:
    """Write a signer's key, its chain, and the root that it leads to."""
    root, middle, leaf = p256(), p256(), p256()
    folder.mkdir(exist_ok=True)
    files = {
        "leaf.key": leaf.to_pem(),
        "chain.pem": pem(
            certificate("leaf", leaf, "middle", middle, ca=False), certificate("middle", middle, "root", root, ca=True)
        ),
        "root.pem": pem(certificate("root", root, "root", root, ca=True)),
    }
    for file, content in files.items():
        folder.joinpath(file).write_bytes(content)
    key, chain, authority = (folder / file for file in files)
    return key, chain, authority

"""X.509: keys that an authority vouches for, and authorities that a reader trusts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID

from intact.crypto.digest import sha256
from intact.crypto.signature import SigningKey, VerifyingKey
from intact.errors import AccessError, IntegrityError, UsageError

MOST_CERTIFICATES = 8
PEM_MARK = b"-----BEGIN CERTIFICATE-----"

UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension)
"""What reading a certificate may raise."""
ANY_PURPOSE = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
_AGNOSTIC = verification.Criticality.AGNOSTIC


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class CertifiedKey:
    """A private key and the certificates that tell whose it is.

    Args:
        key: The private key.
        chain: Its certificate first, then those that lead on to an authority, the authority's own not needed; DER.
    """

    key: SigningKey
    chain: tuple[bytes, ...]

    @classmethod
    def from_pem(cls, key: SigningKey, data: bytes) -> CertifiedKey:
        """Read the certificates of `key` from PEM.

        Raises:
            UsageError: There are none, too many, or the first is of another key.
        """
        chain = _load(data)
        if chain[0].public_key() != key.verifying_key.key:
            raise UsageError("the first certificate is of another key", hint="put the signer's own certificate first")
        return cls(key, tuple(each.public_bytes(Encoding.DER) for each in chain))

    def __repr__(self) -> str:
        return f"<CertifiedKey {self.key.verifying_key.key_id[:16]}>"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Authority:
    """Certificates of authorities that a reader trusts to say whose a key is.

    Args:
        roots: The certificates.
    """

    roots: tuple[x509.Certificate, ...]

    @classmethod
    def from_pem(cls, data: bytes) -> Authority:
        """Read certificates in PEM.

        Raises:
            UsageError: There are none, or too many.
        """
        return cls(tuple(_load(data)))

    @property
    def key_id(self) -> str:
        """SHA-256 of the certificates, in whatever order they were given, in hex."""
        return sha256(b"".join(sorted(root.public_bytes(Encoding.DER) for root in self.roots)))

    def key_of(self, chain: Sequence[bytes], at: datetime) -> VerifyingKey:
        """Return the key of the certificate that comes first in `chain`, once it leads to this authority.

        Args:
            chain: Certificates in DER, the signer's first.
            at: When they must be valid; aware, or UTC.

        Raises:
            AccessError: They do not lead here, are not valid at that time, or are not meant for signatures.
            IntegrityError: They are no certificates, or of a key of another kind.
        """
        try:
            leaf, *between = [x509.load_der_x509_certificate(each) for each in chain]
            key = leaf.public_key()
        except UNREADABLE:
            raise IntegrityError("the signature comes with certificates that cannot be read") from None
        policy = verification.PolicyBuilder().store(verification.Store(list(self.roots))).time(at)
        policy = policy.max_chain_depth(MOST_CERTIFICATES).extension_policies(ca_policy=_of_ca(), ee_policy=_of_leaf())
        try:
            policy.build_client_verifier().verify(leaf, between)
        except UNREADABLE:
            raise IntegrityError("the signature comes with certificates that cannot be read") from None
        except verification.VerificationError as error:
            raise AccessError(
                f"the signer's certificate is not accepted: {error}",
                hint="check that it was issued by the authority you named, is valid now, and is for code signing",
            ) from None
        try:
            return VerifyingKey.of(key)
        except UsageError as error:
            raise IntegrityError(f"the signer's certificate is of a key of another kind: {error.message}") from None

    def __repr__(self) -> str:
        return f"<Authority {self.key_id[:16]}>"


def _of_ca() -> verification.ExtensionPolicy:
    """An authority is one by its basic constraints; where it names purposes, code signing must be among them.

    Constraints on names, which are those of hosts and mail, say nothing of signers: who has them is refused.
    """
    of_ca = verification.ExtensionPolicy.webpki_defaults_ca()
    of_ca = of_ca.may_be_present(x509.ExtendedKeyUsage, _AGNOSTIC, _check_purpose)
    return of_ca.require_not_present(x509.NameConstraints)


def _of_leaf() -> verification.ExtensionPolicy:
    """Signing must be among the uses of the key, and code signing among the purposes where there are any."""
    return (
        verification.ExtensionPolicy.permit_all()
        .require_present(x509.KeyUsage, _AGNOSTIC, _check_usage)
        .may_be_present(x509.ExtendedKeyUsage, _AGNOSTIC, _check_purpose)
    )


def _check_usage(policy: verification.Policy, certificate: x509.Certificate, usage: x509.KeyUsage) -> None:
    if not usage.digital_signature:
        raise ValueError("its key may not be used for signatures")


def _check_purpose(
    policy: verification.Policy, certificate: x509.Certificate, purposes: x509.ExtendedKeyUsage | None
) -> None:
    if purposes is not None and not {ExtendedKeyUsageOID.CODE_SIGNING, ANY_PURPOSE} & set(purposes):
        raise ValueError("its key is not for code signing")


def _load(data: bytes) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(data)
    except ValueError:
        raise UsageError("no PEM certificate found", hint="give a file that begins with BEGIN CERTIFICATE") from None
    if len(found) > MOST_CERTIFICATES:
        raise UsageError(f"{len(found)} certificates given, at most {MOST_CERTIFICATES} allowed")
    return found

"""Certificates for the servers that tests start: an authority, and what it signs for loopback."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

LOOPBACK = "127.0.0.1"


def write_authority(folder: Path, name: str) -> rsa.RSAPrivateKey:
    """Write the certificate of a new authority as ca.pem; its key signs for it."""
    key = _new_key()
    certificate = _unsigned(name, name, key).add_extension(x509.BasicConstraints(True, None), critical=True)
    signed = certificate.sign(key, SHA256())
    (folder / "ca.pem").write_bytes(signed.public_bytes(Encoding.PEM))
    return key


def write_certificates(folder: Path) -> None:
    """Write ca.pem of a new authority, and own.pem and own.key of a server on loopback that it vouches for."""
    authority_key = write_authority(folder, "test")
    key = _new_key()
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(LOOPBACK))])
    signed = _unsigned(LOOPBACK, "test", key).add_extension(names, critical=False).sign(authority_key, SHA256())
    (folder / "own.pem").write_bytes(signed.public_bytes(Encoding.PEM))
    form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "own.key").write_bytes(key.private_bytes(*form))


def _new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _unsigned(name: str, issuer: str, key: rsa.RSAPrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=2))
    )


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

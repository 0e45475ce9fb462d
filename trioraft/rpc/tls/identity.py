"""A peer's certificate in the terms in which permissions are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Certificate", "read_certificate"]


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that has been checked against the authorities we trust.

    Attributes:
        der: The certificate itself.
        subject: Its subject as pairs such as `("commonName", "alice")`, in its order.
        issuer: Its issuer, likewise.
        dns_names: DNS names among its alternative names.
        uris: URIs among them: a SPIFFE id, for example.
        emails: Mail addresses among them.
        ip_addresses: IP addresses among them.
        serial_number: Hexadecimal.
        not_before, not_after: As OpenSSL prints them; `ssl.cert_time_to_seconds` reads them.
    """

    der: bytes
    subject: tuple[tuple[str, str], ...]
    issuer: tuple[tuple[str, str], ...]
    dns_names: tuple[str, ...]
    uris: tuple[str, ...]
    emails: tuple[str, ...]
    ip_addresses: tuple[str, ...]
    serial_number: str
    not_before: str
    not_after: str

    @property
    def common_name(self) -> str | None:
        """The subject's common name, the last if there are several; None if it has none."""
        names = [value for kind, value in self.subject if kind == "commonName"]
        return names[-1] if names else None


def read_certificate(details: Mapping[str, Any], der: bytes) -> Certificate:
    """Make one of what `ssl.SSLSocket.getpeercert` gives in its two forms."""
    others: tuple[tuple[str, str], ...] = details.get("subjectAltName", ())

    def named(kind: str) -> tuple[str, ...]:
        return tuple(value for name, value in others if name == kind)

    return Certificate(
        der=der,
        subject=_flat(details.get("subject", ())),
        issuer=_flat(details.get("issuer", ())),
        dns_names=named("DNS"),
        uris=named("URI"),
        emails=named("email"),
        ip_addresses=named("IP Address"),
        serial_number=details.get("serialNumber", ""),
        not_before=details.get("notBefore", ""),
        not_after=details.get("notAfter", ""),
    )


def _flat(name: tuple[tuple[tuple[str, str], ...], ...]) -> tuple[tuple[str, str], ...]:
    """A name is a sequence of sets of attributes, which have one member as a rule."""
    return tuple(pair for attributes in name for pair in attributes)

"""What an endpoint compresses with and what it accepts; and what two ends agree on.

Source: gRPC's compression.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from .codec import Codec
from .codecs import CODECS

__all__ = [
    "ACCEPT",
    "ENCODING",
    "IDENTITY",
    "Agreed",
    "Compression",
    "CompressionLike",
    "accepted_by",
    "negotiate",
]

#: The name for no compression.
IDENTITY = "identity"

ENCODING = b"grpc-encoding"
ACCEPT = b"grpc-accept-encoding"


@dataclass(frozen=True, slots=True)
class Compression:
    """How a channel or a server compresses: `open_channel(compression=)`, `serve(compression=)`.

    Attributes:
        send: Encoding of messages sent, unless a call or a message says otherwise.
        codecs: The encodings that are known here besides `identity`: accepted from peers, and
            chosen by name. For a level of your choice or an encoding of your own:
            `Compression("gzip", (gzip_codec(level=1), my_codec))`.
    """

    send: str = IDENTITY
    codecs: tuple[Codec, ...] = CODECS
    #: The header that says what is accepted here.
    accept: tuple[bytes, bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = [codec.name for codec in self.codecs]
        if len(set(names)) != len(names):
            raise ValueError(f"the same message encoding twice: {names}")
        object.__setattr__(self, "accept", (ACCEPT, ",".join([IDENTITY, *names]).encode("ascii")))
        self.choose(self.send)

    @classmethod
    def of(cls, given: CompressionLike) -> Compression:
        """What an endpoint was given, as settings. Raises ValueError as `choose` does."""
        if given is None:
            return _PLAIN
        return cls(given) if isinstance(given, str) else given

    def choose(self, name: str) -> Codec | None:
        """The codec to send with, None for `identity`.

        Raises:
            ValueError: It is not known here; the message says what is.
        """
        if name == IDENTITY:
            return None
        for codec in self.codecs:
            if codec.name == name:
                return codec
        raise ValueError(f"message encoding {name!r} is not known here: {self.known} are")

    def find(self, name: bytes) -> Codec | None:
        """The codec for a received `grpc-encoding`; None if it is not known here."""
        for codec in self.codecs:
            if codec.name.encode("ascii") == name:
                return codec
        return None

    @property
    def known(self) -> str:
        """The encodings known here, for people."""
        return ", ".join([IDENTITY, *(codec.name for codec in self.codecs)])


#: What a call's messages from the caller may be compressed with, and those to the caller are.
Agreed: TypeAlias = tuple[Codec | None, Codec | None]


def negotiate(
    compression: Compression, encoder: Codec | None, headers: Mapping[bytes, bytes]
) -> Agreed | None:
    """What a server makes of a request's headers; None if nothing is compressed either way.

    Args:
        encoder: What the server would compress with, if the caller accepts it.

    Raises:
        ValueError: The caller's encoding is not known here. The message is for the caller.
    """
    decoder = None
    encoding = headers.get(ENCODING, b"identity")
    if encoding != b"identity":
        decoder = compression.find(encoding)
        if decoder is None:
            name = encoding.decode("latin-1")
            raise ValueError(
                f"grpc-encoding {name!r} is not supported here: {compression.known} are"
            )
    if encoder is not None and not accepted_by(headers.get(ACCEPT, b""), encoder):
        encoder = None
    return None if decoder is encoder is None else (decoder, encoder)


#: A name, settings, or nothing: send plain, accept whatever is known.
CompressionLike: TypeAlias = "Compression | str | None"

_PLAIN = Compression()


def accepted_by(value: bytes, codec: Codec) -> bool:
    """Whether a peer that has sent this `grpc-accept-encoding` takes what `codec` makes."""
    name = codec.name.encode("ascii")
    return any(part.strip() == name for part in value.split(b","))

"""The flags of interop binaries: `--name=value`, as all implementations take them."""

from __future__ import annotations

import argparse
import ssl
from pathlib import Path
from typing import Any


def boolean(text: str) -> bool:
    """`true` or `false`, in any case."""
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"true or false, not {text!r}")
    return text.lower() == "true"


def add_flag(parser: argparse.ArgumentParser, name: str, default: Any, text: str) -> None:
    """One flag, whose type is the default's; a boolean one may stand alone (`--use_tls`)."""
    options: dict[str, Any] = {"default": default, "help": f"{text} (default: {default!r})"}
    if isinstance(default, bool):
        options |= {"type": boolean, "nargs": "?", "const": True}
    else:
        options["type"] = type(default)
    parser.add_argument(f"--{name}", **options)


def client_flags() -> argparse.ArgumentParser:
    """What every interop client takes."""
    parser = argparse.ArgumentParser(description="One case of gRPC's interop suite.")
    add_flag(parser, "server_host", "localhost", "where the server is")
    add_flag(parser, "server_port", 10000, "its port")
    add_flag(parser, "server_host_override", "", "name to expect of TLS, and for :authority")
    add_flag(parser, "test_case", "large_unary", "the case")
    add_flag(parser, "use_tls", False, "whether to use TLS")
    add_flag(parser, "use_test_ca", False, "whether to trust ca_file in place of the system's CAs")
    add_flag(parser, "ca_file", "ca.pem", "certificate of that CA")
    add_flag(parser, "additional_metadata", "", "key:value;key:value, sent with each call")
    add_flag(parser, "service_config_json", "", "service config of the channel")
    add_flag(parser, "feature_probe", True, "whether servers look at expect_compressed (ours)")
    add_flag(parser, "soak_iterations", 10, "calls of a soak")
    add_flag(parser, "soak_max_failures", 0, "how many of them may fail or be late")
    add_flag(parser, "soak_per_iteration_max_acceptable_latency_ms", 1000, "what is late")
    add_flag(parser, "soak_overall_timeout_seconds", 10, "after which a soak has failed")
    add_flag(parser, "soak_min_time_ms_between_rpcs", 0, "least time from call to call")
    add_flag(parser, "soak_request_size", 271828, "bytes")
    add_flag(parser, "soak_response_size", 314159, "bytes")
    add_flag(parser, "soak_num_threads", 1, "soaks at once; iterations are shared out")
    return parser


def server_flags() -> argparse.ArgumentParser:
    """What every interop server takes."""
    parser = argparse.ArgumentParser(description="gRPC's interop test server.")
    add_flag(parser, "port", 10000, "0: any free one; the port is printed")
    add_flag(parser, "use_tls", False, "whether to use TLS")
    add_flag(parser, "max_concurrent_streams", 1000, "calls at once on one connection (ours)")
    add_flag(parser, "old_reflection", False, "reflection as v1alpha alone (ours)")
    add_flag(parser, "tls_cert_file", "server1.pem", "the certificate chain")
    add_flag(parser, "tls_key_file", "server1.key", "its key")
    return parser


def metadata_of(text: str) -> list[tuple[str, str]]:
    """`key:value;key:value`: values have no semicolon, keys no colon."""
    pairs = []
    for pair in text.split(";") if text else []:
        key, colon, value = pair.partition(":")
        if not colon:
            raise ValueError(f"--additional_metadata: no colon in {pair!r}")
        pairs.append((key, value))
    return pairs


def client_tls(flags: argparse.Namespace) -> ssl.SSLContext | None:
    """The client's context, or None for plaintext. Certificates are always checked."""
    if not flags.use_tls:
        return None
    return ssl.create_default_context(cafile=flags.ca_file if flags.use_test_ca else None)


def server_tls(flags: argparse.Namespace) -> ssl.SSLContext | None:
    """The server's context, or None for plaintext."""
    if not flags.use_tls:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(Path(flags.tls_cert_file), Path(flags.tls_key_file))
    return context

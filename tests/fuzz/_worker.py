"""The process that fuzzes one target: `atheris` (libFuzzer for Python) over our modules.

python _worker.py TARGET LIBFUZZER-ARGUMENTS...
"""

from __future__ import annotations

import sys

import atheris

# The connections' module is imported for their targets only: instrumenting takes its time.
SESSIONS = ("server", "client")

with atheris.instrument_imports(
    include=["trioraft.rpc", "trioraft.drpc", "trioraft.protocols"], exclude=["trioraft._proto"]
):
    if sys.argv[1] in SESSIONS:
        from _fuzz_sessions import TARGETS
    else:
        from _fuzz_parsers import TARGETS, quieten

        quieten()

if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    atheris.Setup([sys.argv[0], *arguments], TARGETS[name])
    atheris.Fuzz()

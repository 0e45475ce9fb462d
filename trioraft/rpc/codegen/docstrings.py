"""Comments of a proto as docstrings: text that anybody wrote, as safe Python source."""

from __future__ import annotations

import re
import textwrap

__all__ = ["clean", "docstring"]

# A quote that could be one of the three that end a docstring.
_QUOTE = re.compile('"(?="")|"\\Z')
# What a source file may not hold, or what would end a line of it; \n may stay.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")


def clean(comment: str) -> str:
    """A comment as protoc gives it, without its margin, the stars of `/**`, and blank edges."""
    lines = comment.replace("\r\n", "\n").expandtabs(4).split("\n")
    if lines[0].lstrip().startswith("*"):
        lines[0] = lines[0].lstrip().lstrip("*")
    lines = [line.rstrip() for line in lines]
    first = lines[0].strip()
    if first and not lines[0].startswith(" "):
        # `/* text` begins right behind the mark: only the rest has a margin.
        return "\n".join([first, textwrap.dedent("\n".join(lines[1:]))]).strip("\n")
    return textwrap.dedent("\n".join(lines)).strip("\n")


def docstring(text: str, indent: str) -> list[str]:
    """The lines of a docstring that says `text`, indented; none for an empty text."""
    if not text:
        return []
    text = _QUOTE.sub('\\\\"', text.replace("\\", "\\\\"))
    text = _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
    first, *rest = text.split("\n")
    if not rest:
        return [f'{indent}"""{first}"""']
    body = [f"{indent}{line}" if line else "" for line in rest]
    return [f'{indent}"""{first}', *body, f'{indent}"""']

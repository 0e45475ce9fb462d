"""What a proto calls deprecated is so for type checkers (PEP 702) and, when called, at run time."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

__all__ = ["deprecated"]

if TYPE_CHECKING:
    from typing_extensions import deprecated
elif sys.version_info >= (3, 13):
    from warnings import deprecated
else:
    import functools
    import warnings

    def deprecated(message):
        """A decorator for functions: calling them emits a DeprecationWarning."""

        def decorate(function):
            @functools.wraps(function)
            def warn_first(*args, **kwargs):
                warnings.warn(message, DeprecationWarning, stacklevel=2)
                return function(*args, **kwargs)

            warn_first.__deprecated__ = message
            return warn_first

        return decorate

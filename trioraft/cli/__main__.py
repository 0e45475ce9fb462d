"""`python -m trioraft.cli`: the same as the `trioraft` command."""

from . import main

if __name__ == "__main__":
    main(prog_name="trioraft")

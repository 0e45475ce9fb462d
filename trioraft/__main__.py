"""`python -m trioraft`: the same as the `trioraft` command."""

from trioraft.cli import main

if __name__ == "__main__":
    main(prog_name="trioraft")

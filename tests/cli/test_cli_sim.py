"""`trioraft sim`: what it prints, and its exit status."""

from __future__ import annotations

import json

from click.testing import CliRunner

from trioraft.cli import main


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["sim", *arguments])
    return result.exit_code, result.output


def test_seeds_of_the_core_in_two_processes() -> None:
    code, output = run("--level", "core", "--seeds", "150", "--jobs", "2", "--json")
    outcome = json.loads(output)
    assert code == 0
    assert outcome["seeds"] == 150
    assert outcome["failures"] == []
    assert outcome["counts"]["entries"] > 500


def test_a_failing_seed_is_named_with_the_command_that_repeats_it() -> None:
    code, output = run(
        "--level", "core", "--plant", "forget-votes", "--seeds", "100", "--jobs", "1"
    )
    assert code == 1
    assert "without its vote" in output
    assert "trioraft sim --seed" in output
    assert "--level core --plant forget-votes" in output


def test_one_seed_with_its_trace() -> None:
    code, output = run("--seed", "3", "--trace", "--seconds", "0.5")
    assert code == 0
    assert "start 1" in output
    assert "LEADER" in output
    code, again = run("--seed", "3", "--trace", "--seconds", "0.5")
    assert [line for line in again.splitlines() if " net " in line] == [
        line for line in output.splitlines() if " net " in line
    ]


def test_a_trace_needs_a_seed() -> None:
    code, output = run("--trace")
    assert code == 2
    assert "--seed" in output

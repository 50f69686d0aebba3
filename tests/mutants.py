"""Takes out each guard of `mutations.md`, in a copy of the tree, and sees the named test fail.

`python -m tests.mutants [WORD…]`: only the rows that contain a word. Ends with 1 when a mutant survives.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
NEWLINE = "` + newline + `"


@dataclass(frozen=True)
class Mutant:
    """One guard, how it is broken, and the test that must notice."""

    invariant: str
    file: str
    guard: str
    broken: str
    test: str


def mutants() -> list[Mutant]:
    """The rows of `mutations.md`."""
    rows = [line for line in (ROOT / "tests" / "mutations.md").read_text().splitlines() if line.startswith("| I")]
    found = []
    for row in rows:
        invariant, *cells = (cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1])
        found.append(Mutant(invariant, *(cell.replace(NEWLINE, "\n").strip("`") for cell in cells)))
    return found


def survives(mutant: Mutant, tree: Path) -> bool:
    """Whether the named test passes with the guard taken out."""
    path = tree / mutant.file
    source = path.read_text()
    if source.count(mutant.guard) != 1:
        raise SystemExit(f"{mutant.file} holds {source.count(mutant.guard)} times, not once: {mutant.guard}")
    path.write_text(source.replace(mutant.guard, mutant.broken))
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", mutant.test],
            cwd=tree,
            env={**os.environ, "PYTHONPATH": str(tree)},
            capture_output=True,
            text=True,
        )
    finally:
        path.write_text(source)
    # 1: a test failed. Anything else, like a test that was not found, proves nothing.
    if ended.returncode not in {0, 1}:
        raise SystemExit(f"pytest could not run {mutant.test}:\n{ended.stdout[-2000:]}")
    return ended.returncode == 0


def main(words: list[str]) -> int:
    chosen = [mutant for mutant in mutants() if not words or any(word in str(mutant) for word in words)]
    survivors = 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".venv", ".git", ".demo", "*.egg-info", ".*_cache"))
        for mutant in chosen:
            survived = survives(mutant, tree)
            survivors += survived
            print(f"{'SURVIVED' if survived else 'killed  '} {mutant.invariant}: {mutant.guard}", flush=True)
    print(f"{len(chosen) - survivors} passed, {survivors} failed")
    return int(survivors > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

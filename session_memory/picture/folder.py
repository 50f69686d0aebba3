"""Where the pictures of this machine are: files that only their owner can read, the newest of them."""

import os
import re
from datetime import datetime
from pathlib import Path

_SUFFIX = ".html"


def folder_in(state: Path) -> Path:
    """Where the pictures are, beside what is embedded."""
    return state / "pictures"


def keep(folder: Path, page: str, *, at: datetime, dataset: str, run_id: str) -> Path:
    """Write the picture of a run; returns its file.

    Args:
        at: when it was drawn; the file is named by it, so that names sort by age.

    Raises:
        OSError: the file cannot be written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # A folder that is there already may have another mode.
    folder.chmod(0o700)
    path = folder / f"{at:%Y%m%d-%H%M%S}-{_name(dataset)}-{run_id[:8]}{_SUFFIX}"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(page)
    return path


def prune(folder: Path, newest: int) -> None:
    """Remove all pictures but the newest."""
    pictures = sorted(folder.glob(f"*{_SUFFIX}"), reverse=True)
    for path in pictures[newest:]:
        # Another worker of this machine may have removed it.
        path.unlink(missing_ok=True)


def remove(folder: Path, dataset: str) -> None:
    """Remove the pictures of a dataset."""
    for path in folder.glob(f"*-{_name(dataset)}-*{_SUFFIX}"):
        path.unlink(missing_ok=True)


def _name(dataset: str) -> str:
    """A dataset's name as it stands in a file's."""
    return re.sub(r"[^A-Za-z0-9]+", "-", dataset).strip("-")[:40] or "dataset"

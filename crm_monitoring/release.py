"""Which version runs, without starting a process to find out."""

from __future__ import annotations

import os
import re
from pathlib import Path

from django.conf import settings

RELEASE_VARIABLES = (
    "HEROKU_BUILD_COMMIT",
    "HEROKU_SLUG_COMMIT",
    "SOURCE_VERSION",
    "CODEBUILD_RESOLVED_SOURCE_VERSION",
    "CIRCLE_SHA1",
    "GAE_DEPLOYMENT_ID",
    "K_REVISION",
)
_GIT_DEPTH = 8
_COMMIT = re.compile(r"[0-9a-f]{40,64}")


def detect_release() -> str:
    """Return the version that runs: from the platform's variables, else the git commit, else "". Starts no process."""
    for name in RELEASE_VARIABLES:
        if os.environ.get(name, "").strip():
            return os.environ[name].strip()
    try:
        return _git_commit(Path(str(getattr(settings, "BASE_DIR", None) or Path.cwd())))
    except OSError:
        return ""


def _git_commit(folder: Path) -> str:
    for place in [folder, *folder.parents][:_GIT_DEPTH]:
        git = place / ".git"
        if git.is_file():
            # A worktree or a submodule: the file says where the rest is.
            git = place / _read(git).removeprefix("gitdir:").strip()
        if git.is_dir():
            commit = _read_head(git)
            return commit if _COMMIT.fullmatch(commit) else ""
    return ""


def _read_head(git: Path) -> str:
    head = _read(git / "HEAD")
    if not head.startswith("ref: "):
        return head
    reference = head.removeprefix("ref: ")
    # A worktree shares its branches with the repository it was made from.
    shared = git / (_read(git / "commondir") or ".")
    packed = (line.split() for line in _read(shared / "packed-refs").splitlines())
    return (
        _read(git / reference)
        or _read(shared / reference)
        or next((words[0] for words in packed if words[1:] == [reference]), "")
    )


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""

"""Folders that are made once a machine and kept between runs."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path


def kept(name: str, make: Callable[[Path], None]) -> Path:
    """The folder `name` in the cache, made by `make` when it is not there; one maker at a time, whole or not at all."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fleetward"
    base.mkdir(parents=True, exist_ok=True)
    folder = base / name
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            fresh = base / f"{name}.new"
            shutil.rmtree(fresh, ignore_errors=True)
            make(fresh)
            fresh.rename(folder)
    return folder

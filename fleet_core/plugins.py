"""Scan: a new codec, detector, rule or scenario is one new file in its package, found here."""

import importlib
import pkgutil
from types import ModuleType


def modules_in(package: str) -> list[ModuleType]:
    """Import and return the public modules of `package`, by name. Modules that begin with `_` are not plug-ins."""
    home = importlib.import_module(package)
    names = sorted(item.name for item in pkgutil.iter_modules(home.__path__) if not item.name.startswith("_"))
    return [importlib.import_module(f"{package}.{name}") for name in names]

"""Words for what machines decide, in both languages: reasons of detections, incidents and responses."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

import msgspec

from incidents.detector import Reason

LANGUAGES: Final = ("en", "zh-CN")

Catalogue = Mapping[str, Mapping[str, str]]


@cache
def catalogue(language: str) -> Catalogue:
    """The catalogue of a language: sections ("reasons", ...) of texts by code. Raises ValueError for another."""
    if language not in LANGUAGES:
        raise ValueError(f"there is no catalogue {language!r}: choose one of {', '.join(LANGUAGES)}")
    text = (files("incidents") / "i18n" / f"{language}.json").read_bytes()
    return msgspec.json.decode(text, type=dict[str, dict[str, str]])


def reason_text(reason: Reason, language: str = "en") -> str:
    """A reason as a sentence. A code nobody worded is shown as it is, with its values: better than nothing."""
    text = catalogue(language).get("reasons", {}).get(reason.code)
    values = {name: _shown(value) for name, value in reason.values.items()}
    if text is not None:
        try:
            return text.format(**values)
        except (KeyError, IndexError, ValueError):
            pass  # a reason of an older version of its detector, without a value that the text names
    return " ".join([reason.code, *(f"{name}={value}" for name, value in values.items())])


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)

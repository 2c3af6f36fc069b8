"""RFC 3339 times at the edge: a zone is required on the way in, UTC with Z goes out."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer


def rfc3339(instant: datetime) -> str:
    """`instant` (with zone) in UTC with Z, to the millisecond, to the microsecond where there is more."""
    utc = instant.astimezone(UTC)
    precision = "microseconds" if utc.microsecond % 1000 else "milliseconds"
    return utc.isoformat(timespec=precision).replace("+00:00", "Z")


def _written_out(value: object) -> object:
    # Pydantic would take a bare number for seconds or milliseconds, whichever fits: a guess that no interface may make.
    text = str(value)
    if "T" not in text.upper():
        raise ValueError("a time is written out with its zone, as in 2026-01-31T08:00:00Z")
    if " " in text:
        raise ValueError("a + in an address stands for a space: write %2B08:00, or use Z")
    return value


def _zoned(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError("a time needs its zone, as in 2026-01-31T08:00:00Z or 2026-01-31T16:00:00+08:00")
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise ValueError("the time is outside the years 1 to 9999") from None


# In a response: a datetime that is written as RFC 3339 UTC with Z.
Utc = Annotated[datetime, PlainSerializer(rfc3339, return_type=str), Field(description="RFC 3339, UTC.")]
# In a request: ISO 8601, zone required, turned into UTC.
Zoned = Annotated[datetime, BeforeValidator(_written_out), AfterValidator(_zoned)]

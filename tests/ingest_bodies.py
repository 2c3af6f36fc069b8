"""Generated native bodies and messages for the tests of ingest."""

from typing import Any

from hypothesis import strategies as st

from fleet_core import topics
from fleet_core.columns import COLUMNS, CRS_NAMES, DERIVED, Kind
from ingest.message import Message

RECEIVED_US = 1_764_000_000_000_000
RECEIVED_MS = RECEIVED_US // 1000
PARTITIONS = 16

NUMBERS = [column.name for column in COLUMNS if column.kind is Kind.NUMBER and column.name not in DERIVED]
FLAGS = [column.name for column in COLUMNS if column.kind is Kind.FLAG]

finite = st.floats(allow_nan=False, allow_infinity=False)
good_times = st.integers(RECEIVED_MS - 10_000_000, RECEIVED_MS)
short_text = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)


def message(vehicle_id: str, stream: str, payload: bytes, received_us: int = RECEIVED_US) -> Message:
    """A message on its right topic."""
    return Message("p00", 1, 1, topics.topic_of(vehicle_id, stream, PARTITIONS), payload, received_us)


def _value_of(name: str) -> st.SearchStrategy[Any]:
    if name == "lat_deg":
        return st.floats(-90, 90)
    if name == "lon_deg":
        return st.floats(-180, 180)
    if name == "crs":
        return st.sampled_from(CRS_NAMES)
    if name in FLAGS:
        return st.one_of(st.booleans(), st.sampled_from([0, 1]))
    if name in NUMBERS:
        return st.one_of(finite, st.integers(-(10**6), 10**6))
    return st.one_of(finite, st.integers(-(2**70), 2**70), st.booleans(), short_text)


@st.composite
def good_bodies(draw: st.DrawFn, max_samples: int = 4) -> dict[str, Any]:
    """A body that must be accepted: any columns, lists or scalars, nulls, unknown columns, with or without counter."""
    count = draw(st.integers(1, max_samples))
    times = draw(st.lists(good_times, min_size=count, max_size=count))
    body: dict[str, Any] = {"t_ms": times[0] if count == 1 and draw(st.booleans()) else times}
    if draw(st.booleans()):
        body["seq"] = draw(st.integers(0, 2**32 - 1))
        if draw(st.booleans()):
            body["boot"] = draw(st.integers(0, 2**32 - 1))
    names = draw(
        st.lists(
            st.one_of(
                st.sampled_from([*NUMBERS, *FLAGS, "crs", "lat_deg", "lon_deg"]),
                st.sampled_from(["io247", "tyre_count", "日本"]),
            ),
            unique=True,
            max_size=8,
        )
    )
    for name in names:
        values = st.one_of(st.none(), _value_of(name))
        body[name] = draw(st.one_of(values, st.lists(values, min_size=count, max_size=count)))
    return body


# Keys with rules of their own, one of each, and values that break one rule or another somewhere, and some that do not.
RULED_KEYS = [
    "t_ms",
    "boot",
    "seq",
    "lat_deg",
    "lon_deg",
    "speed_kmh",
    "ignition",
    "crs",
    "lat_sent_deg",
    "io1",
    "nul\x00",
]
ODD_VALUES: list[Any] = [
    *(None, True, False, 0, 1, 2, -1, 1.0, 0.0, 0.5, -0.0, 90, 91, 90.5, -91.0, 180, 180.5, -181),
    *(
        2**31,
        2**32 - 1,
        2**32,
        2**33,
        2**63,
        2**64,
        10**30,
        10**400,
        -(10**400),
        float("nan"),
        float("inf"),
        -float("inf"),
    ),
    *(RECEIVED_MS, RECEIVED_MS + 10**9, 4_102_444_800_000, 4_102_444_800_001, float(RECEIVED_MS)),
    *("", "wgs84", "gcj02", "bd09", "BD09", "1", "nul\x00", "\\u0000", "x" * 5000, "x" * 4000),
    *([], [1], [1, 2], [None], {}, {"a": 1}),
]
odd_values: st.SearchStrategy[Any] = st.one_of(st.sampled_from(ODD_VALUES), st.floats(), st.text(max_size=6))
odd_columns = st.one_of(
    odd_values,
    st.lists(odd_values, max_size=4),
    st.lists(st.lists(odd_values, max_size=2), max_size=2),
)
odd_keys = st.one_of(
    st.sampled_from(RULED_KEYS),
    st.sampled_from([*(column.name for column in COLUMNS), "t_ms", "boot", "seq", "io1", "kind", "nul\x00"]),
    st.text(max_size=4),
)


@st.composite
def odd_bodies(draw: st.DrawFn) -> dict[str, Any]:
    """A body that may break any rule of the form."""
    body = draw(st.one_of(good_bodies(), st.just({"t_ms": [RECEIVED_MS, RECEIVED_MS]}), st.just({})))
    return {**body, **draw(st.dictionaries(odd_keys, odd_columns, max_size=3))}

"""Replay: CSV, GPX and JSON Lines to a real broker, units and axes, moved times, and errors that name the line."""

import base64
import csv
import gzip
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from fleet_core import clock, publications, topics
from fleet_core.embedded.nats import EmbeddedNats
from fleet_core.publications import Message
from fleet_core.recordings import drive_recording, files
from fleet_core.recordings.drive_recording import DAY_MS, Drive, RecordingError
from fleet_core.settings import Settings
from ingest import batch
from ingest.message import Message as Received
from simulators.replay_command import replay
from tests.test_simulators_publisher import Listener

PARTITIONS = 16
GRAVITY = 9.80665


def _write(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def _read(path: Path, vehicle: str | None = None) -> list[Drive]:
    return files.read([path], vehicle).drives


def _sent(path: Path) -> list[Message]:
    return list(files.read([path], None).messages(publications.encoder("json"), PARTITIONS))


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(replay, arguments)


def _drives_file(folder: Path) -> Path:
    path = folder / "drives" / "drives.csv.gz"
    if not path.is_file():
        pytest.skip(f"no recorded drives at {path}")
    return path


BLACK_BOX = """drive,ts_utc,lat,lon,alt_m,heading_deg,gps_fix,sats,hdop,speed_kmh,speed_source,\
accel_x_g,accel_y_g,accel_z_g,gyro_z_dps,rpm
1,2019-05-23T20:54:11Z,41.25787,-95.984253,349.8,270.9,3.0,4.0,2.5,49.03,gps,-0.174,-0.04,1.191,-0.31,
1,2019-05-23T20:54:12Z,41.25788,-95.984428,351.6,270.5,1.0,4.0,3.57,49.55,obd,0.158,0.012,1.0,-0.19,1500
2,2019-05-24T10:00:00+02:00,41.0,-95.0,,,3,5,1,0,gps,0,0,1,0,
1,,41.25788,-95.984428,351.6,270.5,3.0,4.0,3.57,49.55,gps,0.158,0.012,0.939,-0.19,
"""


def test_a_black_box_drive_is_converted_to_the_contract(tmp_path: Path) -> None:
    first, second = _read(_write(tmp_path / "d.csv", BLACK_BOX))
    assert (first.vehicle_id, second.vehicle_id) == ("drive-1", "drive-2")
    assert first.t_ms == [1558644851000, 1558644852000]  # the row without a time is left out
    assert second.t_ms == [round(datetime(2019, 5, 24, 8, tzinfo=UTC).timestamp() * 1000)]
    columns = first.columns
    # x forward stays, the box's y to the right becomes y to the left, z loses the 1 g of standing still.
    assert columns["accel_x_mps2"] == pytest.approx([-0.174 * GRAVITY, 0.158 * GRAVITY], abs=1e-6)
    assert columns["accel_y_mps2"] == pytest.approx([0.04 * GRAVITY, -0.012 * GRAVITY], abs=1e-6)
    assert columns["accel_z_mps2"] == pytest.approx([0.191 * GRAVITY, 0.0], abs=1e-6)
    assert columns["speed_kmh"] == [49.03, None]
    assert columns["obd_speed_kmh"] == [None, 49.55]
    assert columns["fix_valid"] == [None, False]
    assert columns["rpm"] == [None, 1500.0]
    assert "drive" not in columns
    assert "gps_fix" not in columns


def test_generic_headers_and_units_are_understood(tmp_path: Path) -> None:
    text = (
        "timestamp,vehicle_id,Latitude,Longitude,speed_mph,bearing,ignition,colour\n1700000000,V-1,1,2,60,90,on,red\n"
    )
    (drive,) = _read(_write(tmp_path / "x.csv.gz", text))
    assert drive.vehicle_id == "V-1"
    assert drive.t_ms == [1_700_000_000_000]
    assert drive.columns["speed_kmh"] == [pytest.approx(96.56064)]
    assert drive.columns["ignition"] == [True]
    assert drive.columns["heading_deg"] == [90.0]
    assert "colour" not in drive.columns


def test_a_file_without_names_is_named_after_itself_or_as_asked(tmp_path: Path) -> None:
    path = _write(tmp_path / "my trip.csv", "time,lat,lon\n2024-01-01T00:00:00,1,2\n")
    assert _read(path)[0].vehicle_id == "my-trip"
    assert _read(path, "VAN-7")[0].vehicle_id == "VAN-7"
    both = _write(tmp_path / "two.csv", "drive,time,lat,lon\na,2024-01-01T00:00:00,1,2\nb,2024-01-01T00:00:00,1,2\n")
    assert [drive.vehicle_id for drive in _read(both, "VAN")] == ["VAN-1", "VAN-2"]


def test_real_drives_give_as_many_samples_as_rows_and_ingest_reads_them(development_recordings: Path) -> None:
    path = _drives_file(development_recordings)
    with gzip.open(path, "rt") as file:
        rows = [row for row in csv.DictReader(file) if row["ts_utc"]]
    sent = _sent(path)
    assert sum(message.count for message in sent) == len(rows) == 2230
    assert {message.vehicle_id for message in sent} == {f"drive-{number}" for number in range(1, 7)}
    received = [Received("s", 1, n, item.topic, item.payload, item.due_ms * 1000) for n, item in enumerate(sent)]
    decoded = batch.decode(received, Settings(partitions=PARTITIONS))
    assert decoded.refused == {}
    assert len(decoded.readings.vehicle_index) == 2230
    # Gravity is out: over a whole drive the mean of each axis is small.
    for drive in _read(path):
        for axis in "xyz":
            values = [value for value in drive.columns[f"accel_{axis}_mps2"] if value is not None]
            assert abs(sum(values) / len(values)) < 1.0


def test_real_drives_arrive_at_a_broker(nats: EmbeddedNats, tmp_path: Path, development_recordings: Path) -> None:
    path = _drives_file(development_recordings)
    listener = Listener(nats.url)
    ledger = tmp_path / "l.jsonl"
    done = _run(str(path), "--mqtt-url", nats.url, "--ledger", str(ledger))
    assert done.exit_code == 0, done.output
    summary = json.loads(done.output)
    assert (summary["samples"], summary["vehicles"]) == (2230, 6)
    assert (
        summary["acknowledged"] == summary["messages"] == sum(-(-count // 10) for count in (515, 65, 45, 322, 736, 547))
    )
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    listener.wait_for(len(lines))
    listener.stop()
    assert Counter(listener.got) == Counter((line["topic"], line["sha256"]) for line in lines)
    latest = max(line["t_ms"][1] for line in lines)
    assert 0 <= clock.now_ms() - latest < DAY_MS + 60_000


def test_old_drives_move_by_whole_days_and_keep_their_distance() -> None:
    one, two = Drive("a", [1000, 2000], {}), Drive("b", [5 * DAY_MS, 5 * DAY_MS + 7], {})
    now_ms = 20_000 * DAY_MS + 3
    moved = drive_recording.to_recent_days([one, two], now_ms)
    assert {(new.t_ms[0] - old.t_ms[0]) % DAY_MS for new, old in zip(moved, (one, two), strict=True)} == {0}
    assert moved[1].t_ms[0] - moved[0].t_ms[0] == two.t_ms[0] - one.t_ms[0]
    assert 0 <= now_ms - moved[1].t_ms[-1] < DAY_MS


def test_drives_at_a_speed_begin_together_and_end_when_they_are_sent() -> None:
    one, two = Drive("a", [0, 60_000], {}), Drive("b", [DAY_MS, DAY_MS + 30_000], {})
    live = drive_recording.to_live([one, two], now_ms=10 * DAY_MS, speed=1)
    assert [drive.t_ms[0] for drive in live] == [10 * DAY_MS] * 2
    fast = drive_recording.to_live([one, two], now_ms=10 * DAY_MS, speed=6)
    # Sent within 60 s / 6 = 10 s from now on, and the last sample is stamped with that moment.
    assert fast[0].t_ms[-1] == 10 * DAY_MS + 10_000


def test_as_recorded_keeps_the_times(nats: EmbeddedNats, tmp_path: Path) -> None:
    path = _write(tmp_path / "d.csv", BLACK_BOX)
    ledger = tmp_path / "l.jsonl"
    assert _run(str(path), "--as-recorded", "--mqtt-url", nats.url, "--ledger", str(ledger)).exit_code == 0
    first = json.loads(ledger.read_text().splitlines()[0])
    assert first["t_ms"] == [1558644851000, 1558644852000]


GPX = """<?xml version="1.0"?>
<gpx version="1.1" creator="x" xmlns="http://www.topografix.com/GPX/1/1" xmlns:e="http://www.garmin.com/xmlschemas/TrackPointExtension/v2">
<metadata><time>2024-05-01T07:00:00Z</time></metadata>
<trk><name>Way to work</name><trkseg>
{points}
</trkseg><trkseg>
<trkpt lat="31.002" lon="121.0"><ele>5</ele><time>2024-05-01T08:05:00.500Z</time><hdop>1.1</hdop><sat>9</sat>
<extensions><e:TrackPointExtension><e:speed>10.0</e:speed><e:course>12</e:course></e:TrackPointExtension></extensions></trkpt>
</trkseg></trk></gpx>
"""


def _gpx(drive: Drive) -> str:
    rows = zip(drive.t_ms, drive.columns["lat_deg"], drive.columns["lon_deg"], strict=True)
    return GPX.format(
        points="\n".join(
            f'<trkpt lat="{lat}" lon="{lon}"><time>{datetime.fromtimestamp(t / 1000, UTC).isoformat()}</time></trkpt>'
            for t, lat, lon in rows
        )
    )


def test_gpx_comes_back_as_it_was_written_and_motion_is_derived(tmp_path: Path) -> None:
    start = 1_714_550_000_000
    drive = Drive("d", [start + 1000 * n for n in range(25)])
    # 20 m/s to the north on the sphere of mean radius.
    drive.columns.update({"lat_deg": [31.0 + n * 20 / 111_195.08 for n in range(25)], "lon_deg": [121.0] * 25})
    (read,) = _read(_write(tmp_path / "commute.gpx", _gpx(drive)))
    assert read.vehicle_id == "commute"
    assert read.t_ms[:25] == drive.t_ms
    assert read.t_ms[25] == 1714550700500  # the second segment is the same drive after a hole
    assert read.columns["lat_deg"][:25] == drive.columns["lat_deg"]
    assert read.columns["speed_kmh"][:24] == pytest.approx([72.0] * 24, abs=0.05)
    assert read.columns["heading_deg"][:24] == pytest.approx([0.0] * 24, abs=0.1)
    assert read.columns["speed_kmh"][25] == pytest.approx(36.0)
    assert read.columns["heading_deg"][25] == 12.0
    assert (read.columns["satellites"][25], read.columns["hdop"][25], read.columns["altitude_m"][25]) == (9, 1.1, 5)
    assert [message.count for message in _sent(tmp_path / "commute.gpx")] == [10, 10, 6]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        (
            "a.gpx",
            '<?xml version="1.0"?>\n<!DOCTYPE gpx [<!ENTITY a "b">]>\n<gpx/>',
            "line 2: a document type declaration",
        ),
        ("a.gpx", "<gpx>\n<trk>\n</gpx>", "line 3: not well-formed XML"),
        ("a.gpx", "<kml/>", "line 1: the document is <kml>, not <gpx>"),
        ("a.gpx", '<gpx><trk><trkseg>\n<trkpt lat="91" lon="0"/></trkseg></trk></gpx>', "line 2: lat 91"),
        ("a.gpx", '<gpx><trk><trkseg><trkpt lat="1" lon="0"/></trkseg></trk></gpx>', "no track point with a time"),
        ("a.csv", "lat,lon\n1,2\n", "line 1: no column holds the time"),
        ("a.csv", "time,lat,speed\n0,1,2\n", "line 1: column 'speed' names no unit"),
        ("a.csv", "time,lat\n2024-01-01T00:00:00Z,1\n2024-01-01T00:00:01Z,north\n", "line 3: lat is 'north'"),
        ("a.csv", "time,lat\n2024-01-01T00:00:00Z,inf\n", "line 2: lat is 'inf'"),
        ("a.csv", "time,lat\nyesterday,1\n", "line 2: 'yesterday' is not a time"),
        ("a.csv", "time,lat\n2024-01-01T00:00:00Z\n", "line 2: 1 fields, but the header names 2"),
        ("a.csv", "vehicle_id,time\nno/slash,2024-01-01T00:00:00Z\n", "line 2: vehicle id 'no/slash'"),
        ("a.csv", "", "no column holds the time"),
        ("a.jsonl", '{"topic":"t","payload":{}}\n\n{"topic":"t","payload":\n', "line 3: "),
        ("a.jsonl", '{"topic":"t","payload":[1]}\n', "line 1: the payload is neither"),
        ("a.jsonl", '{"topic":"a/#","payload":{}}\n', "line 1: 'a/#' is not a topic"),
        ("a.jsonl", '{"payload":{}}\n', "line 1: Object missing required field `topic`"),
        ("a.jsonl", '{"topic":"t","payload":{"base64":"***"}}\n', "line 1: the payload is not base64"),
        ("a.jsonl", "", "holds no message"),
        ("a.txt", "hello", "is of no kind that can be replayed"),
    ],
)
def test_an_unreadable_file_is_one_sentence_with_its_line(tmp_path: Path, name: str, text: str, reason: str) -> None:
    path = _write(tmp_path / name, text)
    done = _run(str(path), "--mqtt-url", "mqtt://127.0.0.1:1")
    assert done.exit_code == 1
    assert str(path) in done.output
    assert reason in done.output
    assert len(done.output.strip().splitlines()) == 1


def test_damaged_and_missing_files_are_named(tmp_path: Path) -> None:
    whole = gzip.compress(BLACK_BOX.encode())
    (tmp_path / "cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "latin.csv").write_bytes(b"time,lat\n\xff\xfe,1\n")
    for name, reason in (("cut.csv.gz", "damaged gzip"), ("latin.csv", "utf-8"), ("absent.csv", "No such file")):
        done = _run(str(tmp_path / name), "--mqtt-url", "mqtt://127.0.0.1:1")
        assert done.exit_code == 1
        assert name in done.output
        assert reason in done.output


def test_two_drives_of_one_name_are_refused(tmp_path: Path) -> None:
    one = _write(tmp_path / "d.csv", BLACK_BOX)
    with pytest.raises(RecordingError, match="both named drive-1"):
        files.read([one, one], None)


def test_messages_leave_byte_for_byte_in_the_order_of_the_file(nats: EmbeddedNats, tmp_path: Path) -> None:
    topic = topics.topic_of("v1", topics.TELEMETRY, PARTITIONS)
    spaced = '{ "seq": 7,"boot":1, "t_ms": [5, 6], "lat_deg": 1.50 }'
    lines: list[tuple[str, Any]] = [
        (f'{{"topic": "{topic}", "payload": {spaced}}}', spaced.encode()),
        (json.dumps({"topic": "owntracks/u/d", "payload": '{"_type":"lwt"}', "received_ms": 5}), b'{"_type":"lwt"}'),
        (json.dumps({"topic": "raw/x", "payload": {"base64": base64.b64encode(b"\x00\xff").decode()}}), b"\x00\xff"),
        (json.dumps({"topic": topic, "payload": "not json"}), b"not json"),
    ]
    path = _write(tmp_path / "m.jsonl", "\n".join(line for line, _ in lines) + "\n")
    sent = _sent(path)
    assert [message.payload for message in sent] == [payload for _, payload in lines]
    assert (sent[0].vehicle_id, sent[0].seq, sent[0].count) == ("v1", 7, 2)
    listener = Listener(nats.url, "#")
    assert _run(str(path), "--mqtt-url", nats.url, "--speed", "50").exit_code == 0
    listener.wait_for(4)
    listener.stop()
    assert {name for name, _ in listener.got} == {topic, "owntracks/u/d", "raw/x"}
    assert len(listener.got) == 4


def test_a_vehicle_cannot_be_named_for_messages(tmp_path: Path) -> None:
    path = _write(tmp_path / "m.jsonl", '{"topic":"t","payload":{}}\n')
    done = _run(str(path), "--vehicle", "V1", "--mqtt-url", "mqtt://127.0.0.1:1")
    assert done.exit_code == 1
    assert "carries its topics" in done.output


def test_drives_replay_the_same_identities_again(tmp_path: Path) -> None:
    path = _write(tmp_path / "d.csv", BLACK_BOX)
    assert _sent(path) == _sent(path)
    assert {msgspec.json.decode(message.payload)["boot"] for message in _sent(path)} == {drive_recording.BOOT}

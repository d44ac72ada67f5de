"""The allocator's model beside PyTorch: real snapshots made on GPUs, the wheel's own settings, and its memory_viz."""

import gzip
import json
import lzma
import os
import pickle
import subprocess
from pathlib import Path

import pytest

BUILD = Path(os.environ["ATHANOR_BUILD"])
ATHANOR = BUILD / "athanor"
DRIVER = next(iter(sorted(BUILD.rglob("oracle_allocator"))), BUILD / "tests/oracle_allocator")
TRUTH = Path(os.environ.get("ATHANOR_TRUTH") or Path(os.environ["ATHANOR_SOURCE"]) / "../shared/truth") / "snapshots"
INDEX = json.loads((TRUTH / "index.json").read_text()) if (TRUTH / "index.json").is_file() else []


def replay(path, *flags):
    done = subprocess.run([ATHANOR, "replay", path, "--json", *flags], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def unpacked(entry, folder):
    path = folder / "snapshot.pickle"
    if not path.exists():
        path.write_bytes(lzma.decompress((TRUTH / entry["file"]).read_bytes()))
    return path


@pytest.mark.skipif(not INDEX, reason="no recorded snapshots (ATHANOR_TRUTH)")
@pytest.mark.parametrize("entry", INDEX, ids=lambda e: f"{e['file'].split('.xz')[0][-28:]}-{e.get('dev', 0)}")
def test_recorded_history_is_reproduced_to_the_byte(entry, tmp_path):
    result = replay(unpacked(entry, tmp_path), "--device", str(entry.get("dev", 0)))
    assert result["events"] == entry["n"]
    assert result["addresses"]["matched"] == result["addresses"]["recorded"] == (entry.get("alloc") or result["addresses"]["recorded"])
    assert result["segments"]["matched"] == result["segments"]["recorded"] == entry["seg_alloc"] + entry["seg_map"]
    assert result["releases"]["matched"] == result["releases"]["recorded"]
    assert result["releases"]["recorded"] >= entry["seg_free"]
    assert result["layout_differences"] == 0
    assert result["exact"]
    assert result["peak_reserved"]["recorded"] == result["peak_reserved"]["simulated"]
    if entry.get("peak_res"):
        assert result["peak_reserved"]["simulated"] == entry["peak_res"]
    if entry.get("peak_alloc"):
        assert result["peak_allocated"] == entry["peak_alloc"]
        assert result["peak_requested"] == entry["peak_req"]
        assert result["complete"] == entry["complete"]


@pytest.mark.skipif(not INDEX, reason="no recorded snapshots (ATHANOR_TRUTH)")
def test_a_json_dump_and_gzip_say_the_same_as_the_pickle(tmp_path):
    entry = next(e for e in INDEX if e["seg_alloc"] > 0)
    path = unpacked(entry, tmp_path)
    dump = tmp_path / "snapshot.json"
    dump.write_text(json.dumps(pickle.loads(path.read_bytes())))
    packed = tmp_path / "snapshot.json.gz"
    packed.write_bytes(gzip.compress(dump.read_bytes()))
    old = tmp_path / "protocol0.pickle"
    old.write_bytes(pickle.dumps(pickle.loads(path.read_bytes()), protocol=0))
    expected = replay(path)
    for other in (dump, packed, old):
        got = replay(other)
        assert {k: v for k, v in got.items() if k != "file"} == {k: v for k, v in expected.items() if k != "file"}


def forms(data):
    """A snapshot as people keep it: by pickle protocol, as JSON, gzipped."""
    for protocol in range(6):
        yield f"protocol {protocol}", pickle.dumps(data, protocol=protocol)
    yield "JSON", json.dumps(data).encode()
    yield "JSON, gzipped", gzip.compress(json.dumps(data).encode(), mtime=0)


def test_a_truncated_snapshot_is_replayed_as_far_as_it_goes(tmp_path):
    whole = tmp_path / "whole.pickle"
    assert subprocess.run([DRIVER, "write", whole], timeout=60).returncode == 0
    data = pickle.loads(whole.read_bytes())
    expected = replay(whole)
    for form, content in forms(data):
        path = tmp_path / "cut"
        path.write_bytes(content)
        assert {k: v for k, v in replay(path).items() if k != "file"} == {k: v for k, v in expected.items() if k != "file"}
        events = []
        for tenths in (1, 4, 5, 6, 7, 8, 9):
            path.write_bytes(content[:len(content) * tenths // 10])
            done = subprocess.run([ATHANOR, "replay", path, "--json"], capture_output=True, text=True, timeout=60)
            if done.returncode != 0:
                assert done.returncode == 1 and done.stderr.count("\n") == 1 and "truncated" in done.stderr, (form, done.stderr)
                continue
            result = json.loads(done.stdout)
            assert result["partial"] and result["complete"] and "truncated" in result["notes"][0], (form, tenths)
            assert result["addresses"]["recorded"] - result["addresses"]["matched"] <= 1, (form, tenths)
            assert result["peak_allocated"] <= expected["peak_allocated"]
            events.append(result["events"])
        assert events and events == sorted(events) and expected["events"] * 0.7 < events[-1] <= expected["events"], (form, events)


CONFS = [
    "max_split_size_mb:40,max_non_split_rounding_mb:30,garbage_collection_threshold:0.5,expandable_segments:True",
    "roundup_power2_divisions:8",
    "roundup_power2_divisions:[64:8,128:2,256:4,512:2,1024:4,>:1]",
    "roundup_power2_divisions:[256:1,512:2,1024:4,>:8]",
    "roundup_power2_divisions:[1:16,4:2]",
    "large_segment_size_mb:64",
    "large_segment_size_mb:64,max_non_split_rounding_mb:70,max_split_size_mb:65",
    "max_split_size_mb: 200, expandable_segments : False",
]


def test_settings_are_read_as_pytorch_reads_them():
    # One process each: PyTorch keeps what an earlier text set.
    for conf in CONFS:
        done = subprocess.run([DRIVER, conf], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, (conf, done.stderr)
        for pair in done.stdout.split():
            theirs, ours = pair.split(",")
            assert float(theirs) == float(ours), (conf, done.stdout)


def test_what_pytorch_refuses_is_refused(tmp_path):
    for conf in ("max_split_size_mb:10", "large_segment_size_mb:64,max_split_size_mb:40", "expandable_segments:true",
                 "max_non_split_rounding_mb:30,large_segment_size_mb:64", "garbage_collection_threshold:1.0",
                 "roundup_power2_divisions:3"):
        assert subprocess.run([DRIVER, conf], capture_output=True, timeout=60).returncode != 0, conf
        done = subprocess.run([ATHANOR, "replay", tmp_path, "--conf", conf], capture_output=True, text=True, timeout=60)
        assert done.returncode == 2 and done.stderr.count("\n") == 1, (conf, done.stderr)


def test_pytorch_opens_what_we_write(tmp_path):
    from torch.cuda import _memory_viz

    path = tmp_path / "ours.pickle"
    assert subprocess.run([DRIVER, "write", path], timeout=60).returncode == 0
    data = pickle.loads(path.read_bytes())
    actions = {event["action"] for event in data["device_traces"][0]}
    assert {"alloc", "free_requested", "free_completed", "segment_alloc", "segment_free", "oom"} <= actions
    text = _memory_viz.segsum(data)
    assert f"segments: {len(data['segments'])}" in text
    assert "build" in _memory_viz.memory(data, format_flamegraph=lambda lines: lines)
    assert "seg_" in _memory_viz.segments(data, format_flamegraph=lambda lines: lines)
    assert "raise OutOfMemoryError # 1.0GiB requested" in _memory_viz.trace(data)
    assert "<script" in _memory_viz.trace_plot(data)
    assert "<script" in _memory_viz.segment_plot(data)
    again = replay(path)
    assert again["complete"] and again["exact"] and again["oom"]

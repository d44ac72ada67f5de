"""Where CUDA's driver puts segments, from recordings of real GPUs: the rule that AddressOrder::driver follows.

On Linux it takes addresses from the system in regions of whole 32 MiB, each in the highest gap that fits; what a region has
left serves later segments, the lowest such place first. Run as a program it prints how often, recording by recording.
"""
import collections
import lzma
import os
import pickle

from test_recorded import TRUTH, index

REGION = 32 << 20


def end_of_region(address):
    return -(-address // REGION) * REGION


def on_linux(entry):
    """Not WSL, whose addresses are low, nor expandable segments, which are mapped into one range."""
    return entry["seg_alloc"] > 0 and not entry["repo"].startswith("Wedsonlin")


def segment_events(entry):
    """Segments when the recording began (address: size), and those taken and given back since."""
    with lzma.open(os.path.join(TRUTH, entry["file"])) as file:
        recording = pickle.load(file)
    events = [event for event in recording["device_traces"][entry["dev"]] if event["action"] in ("segment_alloc", "segment_free")]
    segments = {s["address"]: s["total_size"] for s in recording["segments"] if s["device"] == entry["dev"]}
    for event in reversed(events):
        if event["action"] == "segment_alloc":
            del segments[event["addr"]]
        else:
            segments[event["addr"]] = event["size"]
    return segments, events


class Regions:
    def __init__(self, segments):
        self.left = {}  # begin: end
        ordered = sorted(segments.items())
        for (address, size), (following, _) in zip(ordered, ordered[1:] + [(1 << 62, 0)]):
            self.keep(address + size, min(end_of_region(address + size), following))

    def keep(self, begin, end):
        if begin < end:
            self.left[begin] = end

    def take(self, address, size):
        fits = sorted(begin for begin, end in self.left.items() if end - begin >= size)
        lower = [begin for begin in fits if begin < address]
        if address in self.left and not lower:
            verdict = "lowest place left"
        elif address in self.left or fits and address % REGION == 0:
            verdict = "another place"
        else:
            verdict = "new region" if address % REGION == 0 else "not seen before"
        # What was passed over is not free: the driver itself has taken it.
        for begin in (lower if address in self.left else fits):
            del self.left[begin]
        self.keep(address + size, self.left.pop(address, end_of_region(address + size)))
        return verdict

    def give_back(self, address, size):
        begin, end = address, address + size
        for low, high in list(self.left.items()):
            if low == end or high == begin:
                begin, end = min(begin, low), max(end, high)
                del self.left[low]
        if begin % REGION or end % REGION:
            self.keep(begin, end)


def verdicts(entry):
    segments, events = segment_events(entry)
    regions, counts, last = Regions(segments), collections.Counter(), None
    for event in events:
        if event["action"] == "segment_free":
            regions.give_back(event["addr"], event["size"])
            continue
        verdict = regions.take(event["addr"], event["size"])
        counts[verdict] += 1
        if verdict == "new region":
            counts["of them below the last"] += last is None or event["addr"] < last
            last = event["addr"]
    return counts


def test_the_driver_follows_the_rule():
    total = sum((verdicts(entry) for entry in index() if on_linux(entry)), collections.Counter())
    assert total["another place"] <= 0.01 * (total["new region"] + total["lowest place left"])
    assert total["of them below the last"] >= 0.99 * total["new region"]
    assert total["lowest place left"] > 500  # else nothing was tested


def main():
    total = collections.Counter()
    for entry in filter(on_linux, index()):
        counts = verdicts(entry)
        total += counts
        print(f"{entry['repo']}: {entry['path']}: {dict(counts)}")
    print(f"all: {dict(total)}")


if __name__ == "__main__":
    main()

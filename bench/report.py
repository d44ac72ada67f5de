"""The page of a run with 1,000,000 logged points: how large it is, and how long a browser that runs takes to open and paint it."""
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import _common

sys.path.insert(0, os.path.join(_common.SOURCE, "tests", "support"))
import browser  # noqa: E402

POINTS = 1_000_000


def write_run(folder, names):
    """A metrics.csv as training writes it, with noise that no format can pack."""
    rng = random.Random(folder.name)
    folder.mkdir()
    (folder / "config.toml").write_text("[run]\nname = 'long'\n")
    with open(folder / "metrics.csv", "w") as file:
        file.write("step,epoch,split,name,value\n")
        for t in range(POINTS // len(names)):
            step, epoch = 10 * (t + 1), t // 2000
            for name in names:
                value = {"loss": 0.3 + 3 * math.exp(-t / 30_000) * rng.uniform(0.8, 1.2), "lr": 1e-3 * (1 - t / POINTS),
                         "items_per_second": rng.gauss(9000, 300), "elapsed_seconds": round(0.031 * step, 3),
                         "memory_resident": 2**31 + rng.randrange(2**20)}[name]
                file.write(f"{step},{epoch},train,{name},{value!r}\n")


def main():
    if browser.PROGRAM is None:
        return print("no Chromium here: nothing measured", file=sys.stderr)
    shapes = {"five names": ["loss", "lr", "items_per_second", "memory_resident", "elapsed_seconds"], "one name": ["loss"]}
    claims = []
    with tempfile.TemporaryDirectory() as place, browser.Browser() as window:
        window.look(1280, 900)
        for shape, names in shapes.items():
            run = Path(place) / shape.replace(" ", "-")
            write_run(run, names)
            subprocess.run([os.path.join(_common.BUILD, "athanor"), "report", run, "--quiet"], check=True)
            page = run / "report.html"
            seconds = statistics.median([window.open(page) for _ in range(6)][1:])
            what = f"the page of 1,000,000 logged points of {shape}"
            claims += [_common.claim(what + ": its size", page.stat().st_size / 1e6, 3.0, "the limit set", "MB"),
                       _common.claim(what + ": until Chromium has opened and painted it", seconds, 2.0, "the limit set")]
        assert not window.errors, window.errors
    _common.write("report", claims)


if __name__ == "__main__":
    main()

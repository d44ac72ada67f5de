"""Runs bench_optimizer_curves; draws docs/images/optimizers.svg, prints the table of docs/optimizers.md, and writes the claim
that 8-bit state learns as well as float (bench/results/optimizer_curves.json)."""
import json
import math
import os
import subprocess
from pathlib import Path

SOURCE = Path(__file__).parent.parent
BENCH = Path(os.environ.get("ATHANOR_BUILD", "build/release")) / "bench" / "bench_optimizer_curves"


def main():
    raw = SOURCE / "bench" / "results" / "optimizer_curves.raw.json"
    raw.parent.mkdir(exist_ok=True)
    (SOURCE / "docs" / "images").mkdir(parents=True, exist_ok=True)
    if "ATHANOR_CURVES" not in os.environ:  # else only draws again what was measured
        text = Path(os.environ.get("ATHANOR_BUILD", "build/release")) / "bible.txt"
        if not text.exists():
            text.write_bytes(subprocess.run(["bible", "gen1:1-rev22:21"], check=True, capture_output=True).stdout)
        subprocess.run([BENCH, raw, text, os.environ.get("STEPS", "200"), SOURCE / "docs" / "images" / "optimizers"], check=True)
    data = json.loads(raw.read_text())
    problems = list(data["curves"])
    print("| kind | " + " | ".join(f"{p}: loss (lr)" for p in problems) + " |")
    print("|---|" + "---|" * len(problems))
    for kind in data["curves"][problems[0]]:
        cells = []
        for problem in problems:
            runs = [r for r in data["curves"][problem][kind] if r["losses"] and r["losses"][-1] is not None]
            best = min(runs, key=lambda r: r["losses"][-1] if math.isfinite(r["losses"][-1]) else math.inf)
            cells.append(f"{best['losses'][-1]:.3f} ({best['lr']:g})")
        print(f"| `{kind}` | " + " | ".join(cells) + " |")
    full, small = (sum(data["eight_bit"][k]) / len(data["eight_bit"][k]) for k in ("adamw", "adamw8bit"))
    result = [dict(claim="loss of a small GPT with 8-bit AdamW, mean of three seeds", ours=round(small, 5), peer=round(full, 5),
                   peer_name="AdamW with state in float", unit="nats", ratio=round(small / full, 5), goal="within 0.5 %",
                   met=abs(small / full - 1) <= 0.005)]
    (SOURCE / "bench" / "results" / "optimizer_curves.json").write_text(json.dumps(result, indent=1) + "\n")
    print(result[0])


if __name__ == "__main__":
    main()

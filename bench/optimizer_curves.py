"""Loss curves of every optimizer (docs/images/optimizers-*.svg and the table of docs/optimizers.md, which it prints), and the
claim that 8-bit state learns as well as float. `--eight-bit`: only that claim."""
import json
import math
import os
import statistics
import subprocess
import sys

from _common import BUILD, SOURCE, claim, program, write

CURVES, EIGHT_BIT = (100, 600) if "--quick" not in sys.argv else (40, 200)
ADAMW = "loss of a small GPT at the end of a schedule, 8-bit AdamW, mean of three seeds"


def text():
    path = os.path.join(BUILD, "bible.txt")
    if not os.path.exists(path):
        with open(path, "wb") as file:
            subprocess.run(["bible", "gen1:1-rev22:21"], check=True, stdout=file)
    return path


def measure(what, steps, *pictures):
    out = os.path.join(BUILD, f"optimizer_curves.{what}.json")
    subprocess.run([program("optimizer_curves"), what, out, text(), str(steps), *pictures], check=True)
    with open(out) as file:
        return json.load(file)


def print_table(curves):
    problems = list(curves)
    print("| kind | " + " | ".join(f"{p}: loss (lr)" for p in problems) + " |")
    print("|---|" + "---|" * len(problems))
    for kind in curves[problems[0]]:
        cells = []
        for problem in problems:
            runs = [r for r in curves[problem][kind] if r["losses"] and r["losses"][-1] is not None]
            best = min(runs, key=lambda r: r["losses"][-1] if math.isfinite(r["losses"][-1]) else math.inf)
            cells.append(f"{best['losses'][-1]:.3f} ({best['lr']:g})")
        print(f"| `{kind}` | " + " | ".join(cells) + " |")


def main():
    if "--eight-bit" not in sys.argv:
        print_table(measure("curves", CURVES, os.path.join(SOURCE, "docs", "images", "optimizers")))
    loss = measure("eight-bit", EIGHT_BIT)
    mean = {name: statistics.mean(values) for name, values in loss.items()}

    def against(name, ours, peer, peer_name, goal="within 0.5 %"):
        apart = abs(mean[ours] / mean[peer] - 1)
        return claim(name, mean[ours], mean[peer], peer_name, "nats", goal, apart <= 0.005)

    write("optimizer_curves", [
        against(ADAMW, "adamw8bit", "adamw", "AdamW with state in float"),
        *(claim(f"the same, seed {seed}", ours, peer, "AdamW with state in float", "nats", None)
          for seed, (ours, peer) in enumerate(zip(loss["adamw8bit"], loss["adamw"]), 1)),
        against("the same, AdamW in float at a rate 1 % higher: how far apart equals end", "adamw, rate 1 % higher", "adamw",
                "AdamW with state in float", None),
        against("the same, 8-bit Lion, mean of three seeds", "lion8bit", "lion", "Lion with state in float"),
    ])


if __name__ == "__main__":
    main()

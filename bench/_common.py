"""What the benchmarks share: taking turns, medians, and the list of claims they write."""
import json
import os
import statistics
import sys

SOURCE = os.environ.get("ATHANOR_SOURCE", os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("ATHANOR_BUILD", os.path.join(SOURCE, "build", "release"))


def program(name):
    return os.path.join(BUILD, "bench", "bench_" + name)


def interleaved(contestants, rounds, warmup=1):
    """Runs {name: callable returning seconds} in turns, so that a noisy moment meets all; medians without the warm-up."""
    times = {name: [] for name in contestants}
    for turn in range(rounds + warmup):
        for name, run in contestants.items():
            seconds = run()
            if turn >= warmup:
                times[name].append(seconds)
        print(f"round {turn}: " + "  ".join(f"{n} {t[-1]:.4g}" for n, t in times.items() if t), file=sys.stderr)
    return {name: statistics.median(values) for name, values in times.items()}


def claim(text, ours, peer, peer_name, unit="s", goal=1.0, met=None):
    """`goal`: the largest ratio of ours to the peer's that keeps the promise; or a text that says it, with `met`; or None,
    where the row is a comparison for the reader, neither won nor lost."""
    ratio = ours / peer
    return {"claim": text, "ours": ours, "peer": peer, "peer_name": peer_name, "unit": unit, "ratio": ratio,
            "goal": goal, "met": None if goal is None else ratio <= goal if met is None else met}


def fill(page, mark, text):
    """Puts text between `<!-- mark -->` and `<!-- /mark -->` of a page of docs/."""
    path = os.path.join(SOURCE, "docs", page)
    with open(path) as file:
        head, rest = file.read().split(f"<!-- {mark} -->\n")
        _, tail = rest.split(f"<!-- /{mark} -->\n")
    with open(path, "w") as file:
        file.write(f"{head}<!-- {mark} -->\n{text.strip()}\n<!-- /{mark} -->\n{tail}")


def write(topic, claims):
    folder = os.path.join(SOURCE, "bench", "results")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, topic + ".json"), "w") as file:
        json.dump(claims, file, indent=1)
        file.write("\n")
    for one in claims:
        verdict = "" if one["goal"] is None else f" (goal {one['goal']}) {'met' if one['met'] else 'NOT met'}"
        print(f"{one['claim']}: ours {one['ours']:.4g} {one['unit']}, {one['peer_name']} {one['peer']:.4g}, "
              f"ratio {one['ratio']:.3g}{verdict}")

"""Rehearsed training steps beside PyTorch's own FakeTensorMode: `compare_steps.py [NETWORK…]` prints docs/validation.md's table,
`compare_steps.py random COUNT [SEED]` how many random steps differ, and which."""
import collections
import json
import os
import random
import subprocess
import sys

from networks import NETWORKS

HERE = os.path.dirname(os.path.abspath(__file__))
OPTIMIZERS = (("sgd", "foreach"), ("adamw", "single"), ("adamw", "foreach"), ("adamw", "fused"))
PRECISIONS = ("fp32", "bf16", "fp16")


def cases_of(network):
    return [{"network": network, "optimizer": optimizer, "form": form, "precision": precision}
            for precision in PRECISIONS for optimizer, form in OPTIMIZERS]


def random_cases(count, seed):
    """Steps of odd batches and sizes, in channels-last, with checkpoints, several batches a step and validation."""
    draw = random.Random(seed)
    images, texts = ("resnet18", "resnet50", "mobilenet_v2", "convnext", "vgg16"), ("gpt2", "bert", "llama")
    for _ in range(count):
        network = draw.choice(images + texts + ("vit",))
        optimizer, form = draw.choice(OPTIMIZERS)
        case = {"network": network, "optimizer": optimizer, "form": form, "precision": draw.choice(PRECISIONS)}
        case["batch"] = draw.choice((1, 2, 3, 5, 7, 13))
        if network in images:
            case["size"] = draw.choice((64, 97, 111, 160, 225))
            case["channels_last"] = draw.random() < 0.5
        elif network in texts:
            case["size"] = draw.choice((1, 2, 7, 33, 100, 257, 500))
        case["checkpoint"] = draw.random() < 0.35
        case["accumulate"] = draw.choice((1, 1, 2, 3))
        case["validate"] = draw.choice((0, 0, 1, 2, 8))
        yield case


def run(kind, cases):
    """What whole_steps.py says of the cases, or the error of the first that failed."""
    lines = "".join(json.dumps(case) + "\n" for case in cases)
    done = subprocess.run([sys.executable, os.path.join(HERE, "whole_steps.py"), kind], input=lines, capture_output=True, text=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if len(answers) < len(cases):
        answers += [{"error": (done.stderr.strip().splitlines() or ["?"])[-1]}] * (len(cases) - len(answers))
    return answers


def differences(ours, theirs):
    """By operator: bytes held at our peak less bytes held at theirs, where sizes differ in number."""
    left = collections.Counter()
    for size in set(ours["held"]) | set(theirs["held"]):
        mine, other = ours["held"].get(size, {}), theirs["held"].get(size, {})
        if sum(mine.values()) == sum(other.values()):
            continue
        for name, count in mine.items():
            left[name.removeprefix("aten::")] += int(size) * count
        for name, count in other.items():
            left[name.removeprefix("aten::").split(".")[0]] -= int(size) * count
    return {name: size for name, size in left.items() if size}


def compare_random(count, seed=1):
    cases = list(random_cases(count, seed))
    different = 0
    for case, watched, fake in zip(cases, run("watched", cases), run("fake", cases)):
        if "error" in watched or "error" in fake or watched["peak"] != fake["peak"]:
            different += 1
            print(case, watched.get("error", watched.get("peak")), fake.get("error", fake.get("peak")))
    print(f"{different} of {count} random steps differ")


def main():
    if sys.argv[1:2] == ["random"]:
        return compare_random(*map(int, sys.argv[2:]))
    print("| network | optimizer | precision | rehearsed, bytes | under a mode | FakeTensorMode | difference |")
    print("|---|---|---|---:|---:|---:|---:|", flush=True)
    for network in sys.argv[1:] or NETWORKS:
        cases = cases_of(network)
        for case, plain, watched, fake in zip(cases, *(run(kind, cases) for kind in ("phantom", "watched", "fake"))):
            name = f"| {network} | {case['optimizer']} {case['form']} | {case['precision']} |"
            if "error" in fake or "error" in watched:
                print(name, plain.get("peak"), "|", watched.get("error", watched.get("peak")), "|", fake.get("error", fake.get("peak")), "| |")
                continue
            print(f"{name} {plain['peak']:,} | {watched['peak']:,} | {fake['peak']:,} | {watched['peak'] - fake['peak']:,} |", flush=True)
            if watched["peak"] != fake["peak"]:
                print("    ", differences(watched, fake), file=sys.stderr)


if __name__ == "__main__":
    main()

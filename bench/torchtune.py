"""Forecasts of torchtune's recipe for Llama 3.2 3B beside what torchtune measured on one A100: the table of docs/validation.md.

torchtune's figures are "Peak Memory Active" and "Tokens Per Second" of its README ("Optimization flags"): batch 2, sequences of
4,096, bf16, each technique on top of those before; all but the first row compiled with torch.compile.
"""
import json
import subprocess

from _common import fill, program, write

# technique: GiB, tokens a second, and the goal: None where torch.compile or another library's optimizer is in the figure
TORCHTUNE = {
    "packed": (60.0, 7075, "within 5 %"),
    "chunked loss": (42.9, 9174, None),
    "checkpointing": (24.9, 7210, "within 5 %"),
    "optimizer in backward": (23.1, 7309, "within 5 %"),
    "activation offload": (21.8, 7301, "within 5 %"),
    "8-bit states": (17.6, 6960, None),
}
TOKENS = 2 * 4096
GIB = 2**30


def main():
    lines = subprocess.run([program("torchtune")], capture_output=True, text=True, check=True).stdout.splitlines()
    rows = {(row["technique"], row["loss"]): row for row in map(json.loads, lines)}
    table = ["| | torchtune, measured | forecast | | of that at the peak | with `nn::linear_cross_entropy` | tokens/s, measured | forecast |",
             "|---|---:|---:|---:|---|---:|---:|---:|"]
    claims = []
    for technique, (theirs, rate, goal) in TORCHTUNE.items():
        row = rows[technique, "torchtune's"]
        ours, ours_rate = row["bytes"] / GIB, TOKENS / row["seconds"]
        parts = ", ".join(f"{part} {size / GIB:.1f}" for part, size in row["parts"].items() if size > GIB / 4)
        lean = rows.get((technique, "ours"))
        mine = f"{lean['bytes'] / GIB:.1f} GiB" if lean else ""
        table.append(f"| {'' if technique == 'packed' else '+ '}{technique} | {theirs:.1f} GiB | {ours:.1f} GiB | "
                     f"{100 * (ours / theirs - 1):+.1f} % | {parts} | {mine} | "
                     f"{rate:,} | {ours_rate:,.0f} |")
        claims.append({"claim": f"peak memory of torchtune's recipe, Llama 3.2 3B, 2 x 4096 tokens, {technique}", "ours": round(ours, 2),
                       "peer": theirs, "peer_name": "torchtune, measured on an A100", "unit": "GiB", "ratio": ours / theirs,
                       "goal": goal, "met": goal is not None and abs(ours / theirs - 1) <= 0.05})
    print("\n".join(table))
    fill("validation.md", "torchtune", "\n".join(table))
    write("torchtune", claims)


if __name__ == "__main__":
    main()

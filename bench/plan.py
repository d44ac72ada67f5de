"""How long a plan takes: the settings of a GPT-2-small step, searched on one core, for a roomy, a tight and a very tight budget."""
import json
import os
import subprocess
import tempfile

from _common import BUILD, claim, write

GPT2 = """[data]
batch_size = 64
[model]
kind = "gpt"
layers = 12
heads = 12
width = 768
block = 1024
vocabulary = 50304
[optimizer]
kind = "adamw"
lr = 6e-4
"""


def plan(config, budget):
    run = subprocess.run([os.path.join(BUILD, "athanor"), "plan", config, "--gpu", "RTX 4090", "--budget", budget, "--json"],
                         capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
                         preexec_fn=lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}))
    assert run.returncode in (0, 3), run.stderr
    return json.loads(run.stdout)


def main():
    with tempfile.TemporaryDirectory() as folder:
        config = os.path.join(folder, "gpt2.toml")
        with open(config, "w") as file:
            file.write(GPT2)
        plans = [plan(config, budget) for budget in ("24GiB", "8GiB", "4GiB")]
    per_thousand = max(p["seconds"] / p["combinations"] * 1000 for p in plans)
    for p in plans:
        print(f"{p['budget'] / 2**30:.0f} GiB: {p['combinations']} combinations, {p['searched']} rehearsed, {p['seconds']:.1f} s")
    write("plan", [claim("search of a GPT-2-small step's settings on one core, per 1,000 candidates, the slowest budget",
                         per_thousand, 20.0, "the limit set")])


if __name__ == "__main__":
    main()

"""How idle threads wait: `athanor train` as it starts itself, with a brief spin, against libgomp's own spin of 300,000 turns,
alone on the machine and beside three programs that keep its cores busy. Seconds are the run's own (`--json`).
"""
import json
import os
import subprocess
import sys
import tempfile

from _common import BUILD, SOURCE, claim, interleaved, write

STEPS = {"fashion-mlp": 200, "fashion-cnn": 8}
TURNS = "300000"


def train(config, **environment):
    """A function that runs `config` once and gives its seconds."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}

    def run():
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [os.path.join(BUILD, "athanor"), "train", os.path.join(SOURCE, "configs", config + ".toml"), "--json",
                 "--max-steps", str(STEPS[config]), "--out", os.path.join(folder, "run")],
                env=inherited | environment, capture_output=True, text=True, check=True)
            return json.loads(done.stdout)["seconds"]
    return run


def compare(config, rounds):
    return interleaved({"brief": train(config), "libgomp": train(config, GOMP_SPINCOUNT=TURNS)}, rounds)


claims = []
for config in STEPS:
    alone = compare(config, 5)
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    try:
        shared = compare(config, 3)
    finally:
        for program in busy:
            program.kill()
            program.wait()
    claims += [
        claim(f"{config}, {STEPS[config]} steps alone on two cores: idle threads spin briefly", alone["brief"],
              alone["libgomp"], "libgomp's own spin", goal=1.15),
        claim(f"{config}, {STEPS[config]} steps beside three busy programs: idle threads spin briefly", shared["brief"],
              shared["libgomp"], "libgomp's own spin", goal=1.0),
    ]
write("waiting", claims)

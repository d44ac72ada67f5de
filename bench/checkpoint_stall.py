"""What writing a checkpoint of 100 million parameters (400 MB, with its SHA-256) costs the training that goes on."""
import statistics
import subprocess
import tempfile

from _common import claim, program, write

if __name__ == "__main__":
    runs = []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            line = subprocess.run([program("checkpoint_stall"), folder], check=True, capture_output=True, text=True).stdout
            runs.append([float(word) for word in line.split()])
    plain, writing, still, alone = (statistics.median(column) for column in zip(*runs))
    write("checkpoint_stall", [
        claim("training stands still while 400 MB are written", still, alone, "the write alone", goal=0.2),
        claim("a step with both cores in use takes longer while 400 MB are written by", max(writing - plain, 0.0), alone,
              "the write alone", goal=None, met=False),
    ])
    print(f"a step {plain:.3f} s, while writing {writing:.3f} s")

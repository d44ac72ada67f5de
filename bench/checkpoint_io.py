"""Saving (synced) and loading a state of 100 million parameters, 400 MB: ours, Python's safetensors, torch.save and
torch::save, in turns. ATHANOR_BENCH_DIR names the folder to write into (default: the checkout's build folder)."""
import hashlib
import os
import shutil
import subprocess
import tempfile
import time

import torch
from _common import BUILD, claim, interleaved, program, write
from safetensors.torch import load_file, save_file

torch.set_num_threads(2)
folder = tempfile.mkdtemp(dir=os.environ.get("ATHANOR_BENCH_DIR", BUILD))
state = {f"layer.{i}.weight": torch.rand(1000, 1000) for i in range(100)}
ours = subprocess.Popen([program("checkpoint_io")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
assert ours.stdout.readline() == "ready\n"
extra_memory = []


def command(what, name):
    def run():
        if what.startswith(("save", "torch_save")) and os.path.exists(f"{folder}/{name}"):
            os.remove(f"{folder}/{name}")  # what freeing the old file costs is not what is asked
        print(what, f"{folder}/{name}", file=ours.stdin, flush=True)
        seconds, memory = ours.stdout.readline().split()
        if what == "save_digest":
            extra_memory.append(int(memory))
        return float(seconds)

    return run


def python(function, name, saves):
    def run():
        path = f"{folder}/{name}"
        if saves and os.path.exists(path):
            os.remove(path)
        start = time.perf_counter()
        kept = function(path)
        if saves:
            fd = os.open(path, os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)
        seconds = time.perf_counter() - start
        del kept
        return seconds

    return run


def read_all(path):
    return sum(tensor.sum().item() for tensor in load_file(path).values())


def save_and_digest(path):
    save_file(state, path)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256")


try:
    saved = interleaved({
        "ours": command("save", "ours"),
        "ours with SHA-256": command("save_digest", "digest"),
        "safetensors": python(lambda path: save_file(state, path), "safetensors", True),
        "safetensors, then SHA-256": python(save_and_digest, "digested", True),
        "torch.save": python(lambda path: torch.save(state, path), "torch", True),
        "torch::save": command("torch_save", "libtorch"),
    }, rounds=7)
    loaded = interleaved({
        "ours": command("load", "ours"),
        "safetensors": python(load_file, "safetensors", False),
        "torch.load": python(lambda path: torch.load(path, mmap=True), "torch", False),
        "torch::load": command("torch_load", "libtorch"),
        "ours, read": command("load_read", "ours"),
        "safetensors, read": python(read_all, "safetensors", False),
    }, rounds=9)
finally:
    ours.stdin.close()
    ours.wait()
    shutil.rmtree(folder)

# 15 % is what this machine's noise makes of equal times.
write("checkpoint_io", [
    claim("Save 400 MB, synced", saved["ours"], saved["safetensors"], "Python's safetensors and fsync", goal=1.15),
    claim("Save 400 MB, synced, with its SHA-256 in the same pass", saved["ours with SHA-256"],
          saved["safetensors, then SHA-256"], "Python's safetensors and fsync, then hashlib", goal=1.0),
    claim("Save 400 MB, synced, with its SHA-256", saved["ours with SHA-256"], saved["safetensors"],
          "Python's safetensors and fsync, no digest", goal=1.15),
    claim("Save 400 MB, synced", saved["ours"], saved["torch.save"], "torch.save and fsync", goal=1.15),
    claim("Save 400 MB, synced", saved["ours"], saved["torch::save"], "torch::save and fsync", goal=1.15),
    claim("Load 400 MB, memory-mapped", loaded["ours"], loaded["safetensors"], "Python's safetensors", goal=1.15),
    claim("Load 400 MB, memory-mapped", loaded["ours"], loaded["torch.load"], "torch.load(mmap=True)", goal=1.15),
    claim("Load 400 MB", loaded["ours"], loaded["torch::load"], "torch::load, not mapped", goal=1.15),
    claim("Load 400 MB and read every value", loaded["ours, read"], loaded["safetensors, read"],
          "Python's safetensors", goal=1.15),
    claim("Memory beyond the state while saving 400 MB", max(extra_memory) / 2**20, 64, "bound", unit="MiB"),
])

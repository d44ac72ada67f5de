"""Rehearsed peaks against what xMem's authors measured on an RTX 3060 and an RTX 4060 (arXiv 2510.21048), their own estimates beside.

Needs a Python with torchvision and transformers, and the measurements (ATHANOR_TRUTH/xmem.csv), which are not part of this
repository. What they measured is the whole process less its first sample: the reserved memory, the CUDA context being in the
first sample. Their programs are written again from their repository: four steps, 86 x 86 images or 128 tokens, gradients set to
None before each batch. Its container has transformers 4.51.3, whose attention differs from later releases':
ATHANOR_TRANSFORMERS names the folder that `pip install --target` put it into.

ATHANOR_CUDNN, libraries or folders separated by colons: a second table has the CNNs' rows with the workspaces that each of these
libraries says its convolutions take. The processes ran cuDNN 9.1.0, which cannot be asked without a GPU.
"""
import csv
import os
import statistics
import subprocess
import sys
import warnings

from _common import SOURCE, claim, write

sys.path.insert(0, os.path.join(SOURCE, "tests", "oracle"))
if "ATHANOR_TRANSFORMERS" in os.environ:
    sys.path.insert(0, os.environ["ATHANOR_TRANSFORMERS"])
import torch  # noqa: E402
from lent import Phantom, leave  # noqa: E402

STEPS = 4
IMAGES = {"VGG16": "vgg16", "MobileNetV2": "mobilenet_v2", "ConvNeXtTiny": "convnext_tiny", "RegNetX400MF": "regnet_x_400mf"}


def truth_rows():
    path = os.path.join(os.environ.get("ATHANOR_TRUTH", os.path.join(SOURCE, "..", "shared", "truth")), "xmem.csv")
    if not os.path.exists(path):
        print(f"{path} is not there: nothing to compare with", file=sys.stderr)
        raise SystemExit(0)
    with open(path) as file:
        rows = {(r["gpu"], r["model"], r["optimizer"], r["batch"]): r for r in csv.DictReader(file)}
    return list(rows.values())


def train_images(phantom, name, optimizer, batch):
    import torchvision

    model = getattr(torchvision.models, IMAGES[name])(weights=None).to("cuda").train()
    optimizer = optimizer(model.parameters(), lr=1e-3)
    loss_of = torch.nn.CrossEntropyLoss()
    for step in range(1, STEPS + 1):
        phantom.step(step)
        images, labels = torch.zeros(batch, 3, 86, 86), torch.zeros(batch, dtype=torch.long)
        optimizer.zero_grad()
        images, labels = images.to("cuda"), labels.to("cuda")
        outputs = model(images)
        loss = loss_of(outputs, labels)
        loss.backward()
        optimizer.step()
        _, predictions = torch.max(outputs, 1)


def train_language(phantom, name, optimizer, batch):
    import transformers

    transformers.logging.set_verbosity_error()
    if name == "T5-small":
        config = transformers.T5Config(d_model=512, d_ff=2048, num_layers=6, num_heads=8, decoder_start_token_id=0)
        model = transformers.AutoModelForSeq2SeqLM.from_config(config)
    else:
        model = transformers.AutoModelForCausalLM.from_config(transformers.GPT2Config(n_layer=6))
    optimizer = optimizer(model.train().parameters(), lr=1e-3)
    model.to("cuda")
    for step in range(1, STEPS + 1):
        phantom.step(step)
        tokens = torch.zeros(batch, 128, dtype=torch.long)
        texts = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens), "labels": tokens.clone()}
        optimizer.zero_grad()
        texts = {key: value.to("cuda") for key, value in texts.items()}
        outputs = model(**texts)
        outputs.loss.backward()
        optimizer.step()


def rehearse(phantom, row):
    """Mebibytes reserved: least, forecast, most."""
    phantom.begin()
    train = train_images if row["model"] in IMAGES else train_language
    train(phantom, row["model"], getattr(torch.optim, row["optimizer"]), int(row["batch"]))
    return [size / 2**20 for size in phantom.report()["reserved"]]


def one_gpu(gpu, cudnn=""):
    """A process has one phantom, and this one's has this GPU: rows of the table, and errors; of CNNs alone if cuDNN is asked."""
    phantom = Phantom(gpu=gpu.removeprefix("NVIDIA GeForce "), capability=(8, 6) if "3060" in gpu else (8, 9), version=(2, 6), limited=True,
                      cudnn=cudnn)
    for row in (r for r in truth_rows() if r["gpu"] == gpu and (not cudnn or r["model"] in IMAGES)):
        low, value, high = rehearse(phantom, row)
        truth = int(row["truth_bytes"]) / 2**20
        off = lambda bytes_: f"{(int(bytes_) / 2**20 - truth) / truth:+.1%}" if bytes_ else ""
        print(f"| {gpu.split()[-1]} | {row['model'].removeprefix('distilbert-')} | {row['optimizer']} | {row['batch']} | {truth:,.0f} | {value:,.0f} | "
              f"{(value - truth) / truth:+.1%} | {low:,.0f}–{high:,.0f} | {off(row['xmem_estimate_bytes'])} | {off(row['dnnmem_bytes'])} | "
              f"{off(row['schedtune_bytes'])} | {off(row['llmem_bytes'])} |", flush=True)
    print(phantom.report()["cudnn"].split(" (")[0])
    leave()


def errors_of(table, column):
    cells = [line.split("|")[column].strip() for line in table]
    return [abs(float(cell.rstrip("%"))) for cell in cells if cell]


def table_of(cudnn=""):
    """Rows, and which cuDNN was asked."""
    lines = []
    for gpu in sorted({row["gpu"] for row in truth_rows()}):
        done = subprocess.run([sys.executable, __file__, gpu, cudnn], capture_output=True, text=True,
                              env={**os.environ, "PYTHONWARNINGS": "ignore"})
        if done.returncode:
            raise SystemExit(done.stderr[-3000:])
        lines += done.stdout.splitlines()
    return [line for line in lines if line.startswith("|")], lines[-1]


def compare_libraries(table, libraries):
    asked = [([line for line in table if line.split("|")[2].strip() in IMAGES], "none asked")] + [table_of(library) for library in libraries]
    print("| GPU | model | optimizer | batch | measured, MiB |" + "".join(f" {name} |" for _, name in asked))
    print("|---|---|---|---:|---:|" + "---:|" * len(asked))
    for lines in zip(*(rows for rows, _ in asked)):
        cells = [line.split("|") for line in lines]
        print("|" + "|".join(cells[0][1:6]) + "|" + "".join(f" {c[6].strip()} ({c[7].strip()}) |" for c in cells))
    for rows, name in asked:
        errors = errors_of(rows, 7)
        print(f"{name}: median {statistics.median(errors):.1f} %, worst {max(errors):.1f} %, {len(errors)} rows")


def main():
    table, _ = table_of()
    print("| GPU | model | optimizer | batch | measured, MiB | rehearsed | error | range | xMem | DNNMem | SchedTune | LLMem |")
    print("|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    print("\n".join(table))
    names = {7: "rehearsed", 9: "xMem", 10: "DNNMem", 11: "SchedTune", 12: "LLMem"}
    errors = {name: errors_of(table, column) for column, name in names.items()}
    for name, values in errors.items():
        print(f"{name}: median {statistics.median(values):.1f} %, worst {max(values):.1f} %, {len(values)} rows")
    ours, theirs = errors["rehearsed"], errors["xMem"]
    rows = f"of {len(table)} processes that xMem's authors measured on GPUs"
    write("xmem", [
        claim(f"peak memory {rows}, median error", statistics.median(ours), statistics.median(theirs), "xMem", "%"),
        claim(f"peak memory {rows}, worst error", max(ours), max(theirs), "xMem", "%"),
    ])
    if libraries := [library for library in os.environ.get("ATHANOR_CUDNN", "").split(":") if library]:
        compare_libraries(table, libraries)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    one_gpu(*sys.argv[1:]) if len(sys.argv) > 1 else main()

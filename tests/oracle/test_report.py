"""The page of a run in a real browser, where there is a Chromium: no errors, nothing cut off, every control does what it says."""
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(os.environ["ATHANOR_SOURCE"]) / "tests" / "support"))
import browser as chromium  # noqa: E402

pytestmark = pytest.mark.skipif(chromium.PROGRAM is None, reason="no Chromium here")
ATHANOR = Path(os.environ["ATHANOR_BUILD"]) / "athanor"


def write_run(folder, half_written=False):
    rows = ["step,epoch,split,name,value"]
    for t in range(1, 301):
        step, epoch = 20 * t, t // 60
        values = {"loss": 0.4 + 2 * math.exp(-t / 60) + 0.1 * math.sin(t), "lr": 1e-3 * (1 - t / 300), "grad_norm": 1 + 1 / t,
                  "items_per_second": 9000 + 40 * math.cos(t), "memory_reserved": 2**31, "memory_forecast": 2**31 + 2**27,
                  "elapsed_seconds": 0.5 * step}
        rows += [f"{step},{epoch},train,{name},{value!r}" for name, value in values.items()]
        if t % 60 == 0:
            rows += [f"{step},{epoch},val,loss,{0.5 + math.exp(-t / 60)!r}", f"{step},{epoch},val,accuracy,{1 - 1 / t!r}"]
    rows.append("6000,4,train,loss,nan" if not half_written else "6020,4,tra")
    folder.mkdir()
    (folder / "metrics.csv").write_text("\n".join(rows) + ("" if half_written else "\n"))
    (folder / "config.toml").write_text("[optimizer]\nlr = 0.001  # --set\nbetas = [0.9, 0.999]  # default\n")
    (folder / "run.json").write_text('{"name": "%s", "status": "early_stopped", "reason": "val_loss no better for 3 epochs", '
                                     '"best": {"metric": "val_loss", "value": 0.5, "epoch": 4}, '
                                     '"memory": {"forecast": 2281701376}}' % folder.name)
    (folder / "checkpoints" / "step-00003600").mkdir(parents=True)
    (folder / "checkpoints" / "step-00003600" / "MANIFEST.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    place = tmp_path_factory.mktemp("report")
    runs = [write_run(place / "first"), write_run(place / "second", half_written=True)]
    pages = {"one": place / "one.html", "two": place / "two.html"}
    subprocess.run([ATHANOR, "report", runs[0], "--out", pages["one"]], check=True, capture_output=True)
    subprocess.run([ATHANOR, "report", *runs, "--out", pages["two"]], check=True, capture_output=True)
    return pages


@pytest.fixture(scope="module")
def browser():
    with chromium.Browser() as opened:
        yield opened


@pytest.mark.parametrize("width", [360, 800, 1600])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("runs", ["one", "two"])
def test_opens_whole_and_without_a_word_on_the_console(browser, page, runs, dark, width):
    browser.look(width, 900, dark)
    browser.open(page[runs])
    assert not browser.errors
    assert browser.evaluate("document.documentElement.scrollWidth") <= width, "the page is wider than the window"
    # loss, accuracy, lr, grad_norm, items per second, memory
    assert browser.evaluate("document.querySelectorAll('figure').length") == 6
    assert browser.evaluate("[...document.querySelectorAll('figure')].every(f => f.querySelector('.plot path'))")
    outside = """[...document.querySelectorAll('.plot svg text')].filter(t => {
        const r = t.getBoundingClientRect(); return r.left < -0.5 || r.right > innerWidth + 0.5; }).map(t => t.textContent)"""
    assert browser.evaluate(outside) == []


# The figures that stand under the axes of one picture, the last of them its unit.
def axis(browser, figure=0):
    return browser.evaluate(f"[...document.querySelectorAll('figure')[{figure}].querySelectorAll('.plot svg text')].map(t => t.textContent)")


def test_controls_redraw(browser, page):
    browser.look(1280, 900)
    browser.open(page["one"])
    drawn = "document.querySelector('figure .plot').innerHTML"
    before = browser.evaluate(drawn)
    assert "step" in axis(browser)
    browser.evaluate("document.getElementById('time').click()")
    assert "min" in axis(browser)  # 3,000 s of training
    assert "50" in axis(browser)
    browser.evaluate("document.getElementById('time').click()")
    assert browser.evaluate(drawn) == before
    for control, event in (("log", "click()"), ("smooth", "value = 0, document.getElementById('smooth').oninput()")):
        browser.evaluate(f"document.getElementById('{control}').{event}")
        assert browser.evaluate(drawn) != before
    curves = "document.querySelectorAll('figure .plot')[0].querySelectorAll('path').length"
    count = browser.evaluate(curves)
    browser.evaluate("document.querySelector('.legend button').click()")
    assert browser.evaluate(curves) < count
    browser.evaluate("sessionStorage.clear()")  # where the page keeps what was chosen
    assert not browser.errors


def test_the_pointer_is_told_the_logged_value(browser, page):
    browser.look(1280, 900)
    browser.open(page["one"])
    box = browser.evaluate("(r => [r.left, r.top, r.width, r.height])(document.querySelector('figure .plot svg').getBoundingClientRect())")
    browser.ask("Input.dispatchMouseEvent", type="mouseMoved", x=box[0] + 0.5 * box[2], y=box[1] + 0.5 * box[3])
    tip = browser.evaluate("document.querySelector('figure .tip').textContent")
    step, epoch = re.search(r"step ([\d,]+), epoch (\d)", tip).groups()
    step = int(step.replace(",", ""))
    assert int(epoch) == step // 20 // 60 + 1
    t = step // 20
    assert f"{0.4 + 2 * math.exp(-t / 60) + 0.1 * math.sin(t):.5f}"[:5] in tip, tip


def test_prints(browser, page, tmp_path):
    browser.look(1280, 900)
    browser.open(page["one"])
    browser.printed(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF-")
    browser.ask("Emulation.setEmulatedMedia", media="print")
    assert browser.evaluate("getComputedStyle(document.querySelector('.controls')).display") == "none"
    browser.ask("Emulation.setEmulatedMedia", media="")
    assert not browser.errors

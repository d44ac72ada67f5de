"""cmake --install gives a package that another project finds, builds against and runs."""
import os
import subprocess
from pathlib import Path

BUILD = Path(os.environ["ATHANOR_BUILD"])
PROJECT = """
cmake_minimum_required(VERSION 3.25)
project(other LANGUAGES CXX)
find_package(athanor 0.1 REQUIRED)
add_executable(other main.cpp)
target_link_libraries(other PRIVATE athanor::athanor)
"""
MAIN = """
#include <athanor/core/Bytes.h>
#include <athanor/schedule/Decay.h>
#include <cstdio>
int main() {
  const auto rate = athanor::schedule::step({.step_size = 2, .gamma = 0.5});
  std::printf("%s %g\\n", athanor::Bytes{3 << 20}.text().c_str(), rate(4, 1.0).lr);
}
"""


def run(*command, **more):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **more)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_another_project_finds_builds_and_runs(tmp_path):
    prefix = tmp_path / "prefix"
    run("cmake", "--install", BUILD, "--prefix", prefix)
    assert "athanor" in run(prefix / "bin" / "athanor", "--version")
    assert os.access(prefix / "bin" / "athanor-cudnn", os.X_OK)  # what athanor starts to ask a cuDNN
    assert (prefix / "share" / "athanor" / "configs" / "fashion-cnn.toml").exists()
    project = tmp_path / "other"
    project.mkdir()
    (project / "CMakeLists.txt").write_text(PROJECT)
    (project / "main.cpp").write_text(MAIN)
    run("cmake", "-S", project, "-B", project / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", project / "build")
    assert run(project / "build" / "other") == "3.00 MiB 0.25\n"

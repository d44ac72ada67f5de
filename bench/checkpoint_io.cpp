// A state of 100 million parameters (400 MB), saved and loaded on command: bench/checkpoint_io.py sends lines
// "WHAT PATH" and gets the seconds back, so that ours and the peers take turns.
#include <fcntl.h>
#include <torch/torch.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <iostream>

#include "athanor/core/AtomicFile.h"
#include "athanor/store/Safetensors.h"

namespace {

using namespace athanor;

store::NamedTensors make_state() {
  torch::manual_seed(1);
  store::NamedTensors state;
  for (int i = 0; i < 100; ++i) state.emplace_back("layer." + std::to_string(i) + ".weight", torch::rand({1000, 1000}));
  return state;
}

void sync_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY);
  if (fd < 0 || ::fsync(fd) != 0) throw std::runtime_error("cannot sync " + path);
  ::close(fd);
}

void torch_save(const store::NamedTensors& state, const std::string& path) {
  torch::serialize::OutputArchive archive;
  for (const auto& [name, tensor] : state) {
    std::string key = name;
    std::ranges::replace(key, '.', '_');  // the archive's names are identifiers
    archive.write(key, tensor);
  }
  archive.save_to(path);
  sync_file(path);
}

void torch_load(const store::NamedTensors& state, const std::string& path) {
  torch::serialize::InputArchive archive;
  archive.load_from(path);
  for (const auto& [name, tensor] : state) {
    std::string key = name;
    std::ranges::replace(key, '.', '_');
    at::Tensor loaded;
    archive.read(key, loaded);
  }
}

double sum_of(const store::Loaded& loaded) {
  double total = 0;
  for (const auto& [name, tensor] : loaded.tensors) total += tensor.sum().item<double>();
  return total;
}

// The most memory this process ever had, in bytes; `reset` forgets the past.
std::int64_t peak_memory(bool reset) {
  if (reset) std::ofstream("/proc/self/clear_refs") << 5;
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (word == "VmHWM:") {
      std::int64_t kib = 0;
      status >> kib;
      return kib * 1024;
    }
  return 0;
}

}  // namespace

int main() {
  const auto state = make_state();
  std::cout << "ready" << std::endl;
  for (std::string what, path; std::cin >> what >> path;) {
    const auto before = peak_memory(/*reset=*/true);
    const auto start = std::chrono::steady_clock::now();
    if (what == "save") {
      store::save_safetensors(path, state);
    } else if (what == "save_digest") {
      store::save_safetensors(path, state, {}, {.digest = true});
    } else if (what == "torch_save") {
      torch_save(state, path);
    } else if (what == "load") {
      if (store::load_safetensors(path).tensors.size() != state.size()) return 1;
    } else if (what == "load_read") {
      if (sum_of(store::load_safetensors(path)) < 1) return 1;
    } else if (what == "torch_load") {
      torch_load(state, path);
    } else {
      return 1;
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    std::cout << took.count() << ' ' << peak_memory(false) - before << std::endl;
  }
}

// The phantom GPU as a library that a Python process loads: its torch then has a "cuda" without a GPU.
#include <torch/torch.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "athanor/gpu/Table.h"
#include "athanor/rehearse/Forecast.h"
#include "rehearse/phantom/Install.h"
#include "rehearse/phantom/Memory.h"
#include "rehearse/phantom/Products.h"

namespace {

using namespace athanor;
using rehearse::Category;
using rehearse::phantom::Recorder;

struct Lent {
  gpu::Gpu gpu;
  allocator::DeviceOptions memory;
  std::shared_ptr<rehearse::phantom::Cudnn> cudnn;
  std::unique_ptr<rehearse::phantom::Installation> installation;
  std::string answer;
};

Lent& lent() {
  static auto* all = new Lent;  // leaked: tensors may outlive everything
  return *all;
}

std::shared_ptr<Recorder> fresh() {
  return std::make_shared<Recorder>(1, lent().memory);
}

std::int64_t rounded(std::int64_t bytes) {
  constexpr std::int64_t grain = 512;
  return (bytes + grain - 1) / grain * grain;
}

// The most that tensors held at one time, each rounded up to 512 bytes; what kernels take inside is left out. At that
// moment: how much of which size, and which operators made it.
nlohmann::json tensors(const rehearse::Ledger& ledger) {
  std::int64_t now = 0, peak = 0;
  std::size_t moment = 0;
  for (std::size_t i = 0; i < ledger.events.size(); ++i) {
    const auto& block = ledger.blocks[ledger.events[i].block];
    if (block.category == Category::workspace) continue;
    now += ledger.events[i].free ? -rounded(block.requested) : rounded(block.requested);
    if (now > peak) {
      peak = now;
      moment = i;
    }
  }
  std::map<std::string, std::map<std::string, int>> held;
  for (const auto index : ledger.alive_at(static_cast<std::uint32_t>(moment))) {
    const auto& block = ledger.blocks[index];
    if (block.category != Category::workspace)
      ++held[std::to_string(rounded(block.requested))][ledger.operators[block.operator_name]];
  }
  return {{"peak", peak}, {"held", held}};
}

}  // namespace

extern "C" {

/// Makes "cuda" the phantom for as long as the process lives, with no more memory than the GPU has if `limited`. `cudnn`:
/// as in rehearse::Options. Returns "" or what is wrong.
const char* athanor_lend(const char* gpu, bool limited, int major, int minor, const char* cudnn) {
  auto& all = lent();
  try {
    all.gpu = gpu::Table::standard().find(gpu);
    all.memory.version = {major, minor};
    if (limited) all.memory.total_memory = all.gpu.usable.count;
    if (limited) all.memory.capacity = all.gpu.usable.count - all.gpu.context_bytes.count;
    rehearse::phantom::Traits traits;
    traits.compute_capability = all.gpu.compute_capability_major * 10 + all.gpu.compute_capability_minor;
    traits.sm_count = all.gpu.sm_count;
    traits.threads_per_sm = all.gpu.threads_per_sm;
    traits.cublas_workspace = rehearse::phantom::cublas_workspace(traits.compute_capability, all.memory.version);
    traits.cublaslt_workspace = rehearse::phantom::cublaslt_workspace(traits.compute_capability, all.memory.version);
    traits.cublaslt_keeps = rehearse::phantom::cublaslt_keeps(all.memory.version);
    if (*cudnn != 0) all.cudnn = std::make_shared<rehearse::phantom::Cudnn>(cudnn, all.gpu);
    all.installation = std::make_unique<rehearse::phantom::Installation>(
        rehearse::phantom::State{traits, {.floating = 0}, {}, fresh(), all.cudnn});
  } catch (const std::exception& error) {
    all.answer = error.what();
  }
  return all.answer.c_str();
}

/// From now on a new ledger is written.
void athanor_begin() {
  rehearse::phantom::Memory::instance().attach(fresh());
}

/// What is allocated from now on belongs to this step; 0 is the set-up.
void athanor_step(int step) {
  rehearse::phantom::Memory::instance().recorder()->begin_step(step);
}

void athanor_empty_cache() {
  rehearse::phantom::Memory::instance().recorder()->empty_cache();
}

/// The ledger's peaks as JSON; valid until the next call.
const char* athanor_report() {
  auto& all = lent();
  auto ledger = rehearse::phantom::Memory::instance().recorder()->finish();
  const auto held = tensors(ledger);
  auto unlimited = all.memory;
  unlimited.capacity = allocator::unlimited;
  const auto forecast = rehearse::forecast_of(std::move(ledger), all.gpu, unlimited);
  const auto range = [](const rehearse::Range& r) { return nlohmann::json{r.low, r.value, r.high}; };
  all.answer = nlohmann::json{{"tensors", held},
                              {"requested", range(forecast.peak.requested)},
                              {"allocated", range(forecast.peak.allocated)},
                              {"reserved", range(forecast.peak.reserved)},
                              {"peak_op", forecast.peak_operator},
                              {"cudnn", all.cudnn ? all.cudnn->description() : ""},
                              {"workspace", forecast.by_category[static_cast<std::size_t>(Category::workspace)]}}
                   .dump();
  return all.answer.c_str();
}

/// Every allocation (its bytes) and free (its bytes, negative) of a step, in order, by which operator and how much is
/// allocated then, as JSON; valid until the next call.
const char* athanor_events(int step) {
  auto& all = lent();
  const auto ledger = rehearse::phantom::Memory::instance().recorder()->finish();
  nlohmann::json events = nlohmann::json::array();
  for (const auto& event : ledger.events) {
    if (event.step != step) continue;
    const auto& block = ledger.blocks[event.block];
    events.push_back(
        {event.free ? -block.requested : block.requested, ledger.operators[block.operator_name], event.allocated});
  }
  all.answer = events.dump();
  return all.answer.c_str();
}

}  // extern "C"

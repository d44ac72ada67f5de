#include "athanor/rehearse/Rehearse.h"

#include <c10/core/impl/LocalDispatchKeySet.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <stdexcept>

#include "rehearse/phantom/Cudnn.h"
#include "rehearse/phantom/Install.h"
#include "rehearse/phantom/Products.h"

namespace athanor::rehearse {

struct Stage::State {
  std::shared_ptr<phantom::Recorder> recorder;
  int steps = 0;
  int step = 0;
};

Stage::Stage(std::shared_ptr<State> state) : state_(std::move(state)) {}

bool Stage::next_step() {
  if (state_->step <= state_->steps) state_->recorder->begin_step(++state_->step);
  return state_->step <= state_->steps;
}

int Stage::step() const {
  return state_->step;
}

void Stage::watch(const torch::nn::Module& module, const std::string& prefix) {
  const auto path = [&](const std::string& name) { return prefix.empty() ? name : prefix + "." + name; };
  for (const auto& item : module.named_parameters()) state_->recorder->watch(path(item.key()), item.value(), true);
  for (const auto& item : module.named_buffers()) state_->recorder->watch(path(item.key()), item.value(), false);
}

std::shared_ptr<void> Stage::phase(Phase phase) {
  state_->recorder->push_phase(phase);
  return {nullptr, [recorder = state_->recorder](void*) { recorder->pop_phase(); }};
}

// Meta is the highest of the backends, so that including it on this thread sends every tensor's factory there.
std::shared_ptr<void> Stage::without_host_memory() {
  return std::make_shared<c10::impl::IncludeDispatchKeyGuard>(c10::DispatchKey::Meta);
}

void Stage::empty_cache() {
  state_->recorder->empty_cache();
}

std::shared_ptr<void> Stage::graph_pool(int device) {
  const auto index = static_cast<c10::DeviceIndex>(device);
  const auto pool = state_->recorder->begin_pool(index);
  return {nullptr, [recorder = state_->recorder, index, pool](void*) { recorder->end_pool(index, pool); }};
}

namespace {

std::string from_environment() {
  const char* named = std::getenv("ATHANOR_CUDNN");
  return named != nullptr ? named : "";
}

// Whose word the workspaces of convolutions are; empty where there are none.
std::string note_on_convolutions(const Ledger& ledger, const phantom::Cudnn* cudnn) {
  const bool open = std::any_of(ledger.blocks.begin(), ledger.blocks.end(), [&](const Block& block) {
    return block.low != block.high && ledger.operators[block.operator_name].find("convolution") != std::string::npos;
  });
  if (const auto who = cudnn != nullptr ? cudnn->description() : ""; !who.empty())
    return fmt::format("{} said which workspaces its convolutions take{}.", who,
                       open ? "; where it has no plan, or cudnn.benchmark will try them all, they are a range" : "");
  return open ? "Workspaces of cuDNN's convolutions are bounded: the range's upper end has them. --cudnn auto "
                "(rehearse::Options::cudnn) asks the cuDNN beside LibTorch."
              : "";
}

}  // namespace

/// One rehearsal from installing the phantom to taking it away.
class Rehearsal {
 public:
  explicit Rehearsal(const Options& options) : options_(options) {
    if (options.steps < 1)
      throw std::invalid_argument(fmt::format("rehearse: steps must be > 0, got {}", options.steps));
    if (options.devices < 1 || options.devices > 64)
      throw std::invalid_argument(fmt::format("rehearse: devices must be 1 to 64, got {}", options.devices));
    gpu_ = gpu::Table::standard().find(options.gpu);
    memory_.settings = options.allocator;
    memory_.version = options.version;
    memory_.order = options.addresses;
    if (const auto where = options.cudnn.empty() ? from_environment() : options.cudnn; !where.empty())
      cudnn_ = std::make_shared<phantom::Cudnn>(where, gpu_);
    if (options.limit_memory) {
      memory_.capacity = gpu_.usable.count - gpu_.context_bytes.count;
      memory_.total_memory = gpu_.usable.count;
    }
  }

  Forecast run(const Program& program) {
    const auto start = std::chrono::steady_clock::now();
    auto recorder = std::make_shared<phantom::Recorder>(options_.devices, memory_);
    {
      const phantom::Installation installation({traits(),
                                                {options_.floating_values, options_.integral_values, options_.selected},
                                                options_.rules,
                                                recorder,
                                                cudnn_});
      auto state = std::make_shared<Stage::State>(Stage::State{recorder, options_.steps, 0});
      Stage stage(state);
      program(torch::Device(torch::kCUDA, 0), stage);
    }
    auto without_limit = memory_;
    without_limit.capacity = allocator::unlimited;
    auto forecast = forecast_of(recorder->finish(), gpu_, without_limit, options_.devices);
    if (auto note = note_on_convolutions(forecast.ledger, cudnn_.get()); !note.empty())
      forecast.notes.push_back(std::move(note));
    forecast.steps = options_.steps;
    forecast.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return forecast;
  }

 private:
  [[nodiscard]] phantom::Traits traits() const {
    phantom::Traits traits;
    traits.compute_capability = gpu_.compute_capability_major * 10 + gpu_.compute_capability_minor;
    traits.sm_count = gpu_.sm_count;
    traits.threads_per_sm = gpu_.threads_per_sm;
    traits.devices = options_.devices;
    traits.cublas_workspace = phantom::cublas_workspace(traits.compute_capability, options_.version);
    traits.cublaslt_workspace = phantom::cublaslt_workspace(traits.compute_capability, options_.version);
    traits.cublaslt_keeps = phantom::cublaslt_keeps(options_.version);
    return traits;
  }

  Options options_;
  gpu::Gpu gpu_;
  allocator::DeviceOptions memory_;
  std::shared_ptr<phantom::Cudnn> cudnn_;
};

Forecast rehearse(const Options& options, const Program& program) {
  return Rehearsal(options).run(program);
}

}  // namespace athanor::rehearse

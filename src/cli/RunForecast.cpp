#include "cli/RunForecast.h"

#include <dlfcn.h>

#include <charconv>
#include <cstdlib>

#include "athanor/cuda/Cuda.h"
#include "athanor/gpu/Table.h"
#include "cli/TrainingRehearsal.h"

namespace athanor::cli {
namespace {

// "cuda:1" -> 1; "cuda" and "auto" mean the first.
int index_of(const std::string& device) {
  int index = 0;
  if (const auto colon = device.find(':'); colon != std::string::npos)
    std::from_chars(device.data() + colon + 1, device.data() + device.size(), index);
  return index;
}

// As LibTorch reads them.
allocator::Settings allocator_settings() {
  for (const char* name : {"PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"})
    if (const char* value = std::getenv(name)) return allocator::Settings::parse(value);
  return {};
}

nlohmann::json rehearse_run(const core::Config& config, const models::Registry& models, const std::string& driver) {
  auto card = config.table("memory").text("gpu", "");
  if (card.empty()) card = cuda::card_name(index_of(config.table("run").text("device", "auto")), driver);
  if (card.empty()) return nullptr;
  const auto& gpu = gpu::Table::standard().find(card);
  const auto forecast = rehearse_training(config, models,
                                          {.rehearsal = {.gpu = gpu.name, .allocator = allocator_settings()},
                                           .form = form_of_training(config, models).form,
                                           .samples = samples_of_training(config)})
                            .forecast;
  return {{"gpu", gpu.name}, {"reserved", forecast.peak.reserved.value}, {"process", forecast.peak.process.value}};
}

}  // namespace

RunForecast::RunForecast(const std::string& path, const std::vector<std::string>& overrides,
                         const models::Registry& models, const std::string& driver) {
  const auto config = core::Config::from_file(path, overrides);
  if (config.table("run").text("device", "auto") == "cpu") return;
  if (!::dlopen(driver.c_str(), RTLD_LAZY)) return;  // no card to train on: not worth a process
  rehearsal_ = std::make_unique<Apart>("memory forecast", [&] { return rehearse_run(config, models, driver); });
}

std::optional<MemoryForecast> RunForecast::wait() {
  if (!rehearsal_) return std::nullopt;
  const auto answer = rehearsal_->wait();
  rehearsal_.reset();
  if (!answer.is_object()) return std::nullopt;
  return MemoryForecast{answer.at("gpu"), Bytes{answer.at("reserved").get<std::int64_t>()},
                        Bytes{answer.at("process").get<std::int64_t>()}};
}

}  // namespace athanor::cli

#pragma once
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "athanor/gpu/MemoryWatch.h"
#include "athanor/train/Event.h"
#include "cli/RunForecast.h"

namespace athanor::cli {

/// A training's memory beside its forecast: what the logs, the progress line, run.json and the last word get of it. Not
/// thread-safe.
class MemoryLog {
 public:
  /// `given` is the forecast of the caller; without one (0) that of `rehearsal`, which may be null, counts once it is
  /// there: the training never waits for it. `say` is told what is expected, or why nothing is.
  MemoryLog(gpu::MemoryWatch watch, Bytes given, std::unique_ptr<RunForecast> rehearsal,
            std::function<void(const std::string&)> say);

  /// A step's event with train_memory_… of now, the forecast among them. Returns whether a forecast came in.
  bool add_to(train::Event& event);
  /// The training is over: reads the last time, and waits for a forecast that is still being made.
  void finish();

  /// For run.json: {highest, forecast, rehearsed: {gpu, reserved, process}}; the latter two where there is a forecast.
  [[nodiscard]] nlohmann::json facts() const;
  /// One line where the forecast was wrong by more than 5 %; "" otherwise.
  [[nodiscard]] std::string verdict() const { return gpu::forecast_verdict(forecast_, watch_.highest()); }

 private:
  void expect();

  gpu::MemoryWatch watch_;
  Bytes forecast_;
  std::unique_ptr<RunForecast> rehearsal_;
  std::optional<MemoryForecast> rehearsed_;
  std::function<void(const std::string&)> say_;
};

}  // namespace athanor::cli

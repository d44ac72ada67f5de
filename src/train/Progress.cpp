#include "athanor/train/Progress.h"

#include <fmt/format.h>

#include <ostream>
#include <string>

#include "athanor/core/Bytes.h"
#include "athanor/core/Format.h"

namespace athanor::train {
namespace {

std::string value_text(const std::string& name, double value) {
  const bool share = name.find("accuracy") != std::string::npos || name.find("top5") != std::string::npos;
  return share ? fmt::format("{:.2f} %", 100 * value) : core::significant(value, 4);
}

std::string listed(const Metrics& metrics) {
  std::string text;
  for (const auto& [name, value] : metrics)
    text += fmt::format("{}{} {}", text.empty() ? "" : "  ", name, value_text(name, value));
  return text;
}

}  // namespace

Progress::Progress(std::ostream& out, ProgressOptions options) : out_(&out), options_(options) {}

std::string Progress::status(const Event& event) const {
  std::string text = fmt::format("epoch {}  step {}", event.epoch + 1, event.step);
  if (event.total_steps > 0)
    text += fmt::format("/{} ({:.0f} %)", event.total_steps,
                        100.0 * static_cast<double>(event.step) / static_cast<double>(event.total_steps));
  if (const auto loss = training_.find("train_loss"); loss != training_.end())
    text += fmt::format("  loss {}", core::significant(loss->second, 4));
  text += fmt::format("  lr {}", core::significant(event.lr));
  if (event.items_per_second > 0) text += fmt::format("  {} items/s", core::significant(event.items_per_second));
  const auto bytes = [&](const char* name) {
    const auto found = training_.find(name);
    return found == training_.end() ? Bytes{} : Bytes{static_cast<std::int64_t>(found->second)};
  };
  if (const auto memory = bytes("train_memory_highest"); memory.count > 0) text += "  " + memory.text();
  if (const auto forecast = bytes("train_memory_forecast"); forecast.count > 0) text += " of ~" + forecast.text();
  if (event.seconds_left > 0) text += fmt::format("  {} left", core::duration(event.seconds_left));
  return text;
}

void Progress::line(const std::string& text) {
  if (live_line_shown_) *out_ << "\r\x1b[K";
  live_line_shown_ = false;
  *out_ << text << std::endl;
}

void Progress::show(const Event& event) {
  if (!options_.live) {
    const auto now = std::chrono::steady_clock::now();
    const std::chrono::duration<double> since = now - last_line_;
    if (event.kind != Event::Kind::step || since.count() < options_.seconds_between_lines) return;
    last_line_ = now;
    return line(status(event));
  }
  std::string text = status(event);
  if (!validation_.empty()) text += "  " + listed(validation_);
  const auto room = static_cast<std::size_t>(options_.columns > 1 ? options_.columns - 1 : 1);
  *out_ << "\r\x1b[K" << text.substr(0, room) << std::flush;
  live_line_shown_ = true;
}

void Progress::operator()(const Event& event) {
  switch (event.kind) {
    case Event::Kind::started:
      last_line_ = std::chrono::steady_clock::now();
      if (!event.message.empty()) line(event.message);
      break;
    case Event::Kind::step:
      training_ = event.metrics;
      show(event);
      break;
    case Event::Kind::tick:
      show(event);
      break;
    case Event::Kind::validated:
      validation_ = event.metrics;
      line(fmt::format("epoch {}  step {}  {}", event.epoch + 1, event.step, listed(event.metrics)));
      break;
    case Event::Kind::note:
    case Event::Kind::finished:
      if (!event.message.empty()) line(event.message);
      break;
  }
}

}  // namespace athanor::train

#include "athanor/schedule/Compose.h"

#include <algorithm>
#include <numbers>

#include "athanor/core/Random.h"
#include "schedule/Rule.h"

namespace athanor::schedule {
namespace {

Traits traits_of_parts(const std::string& name, const std::vector<Schedule>& parts,
                       const std::vector<std::int64_t>& begins) {
  Traits traits{.name = name, .horizon = 0};
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const Traits& part = parts[i].rule().traits;
    traits.floor = std::max(traits.floor, part.floor);
    traits.moves_momentum = traits.moves_momentum || part.moves_momentum;
    traits.horizon = std::max(traits.horizon, saturating_add(begins[i], part.horizon));
    for (const auto& landmark : part.landmarks)
      traits.landmarks.push_back({saturating_add(begins[i], landmark.step), landmark.setting});
  }
  return traits;
}

void require_milestones(const std::vector<Schedule>& parts, const std::vector<std::int64_t>& milestones) {
  if (parts.empty()) throw std::invalid_argument("schedule::sequential: needs at least one part, got none");
  if (milestones.size() + 1 != parts.size())
    throw std::invalid_argument(fmt::format("schedule::sequential: {} parts need {} milestones, got {}", parts.size(),
                                            parts.size() - 1, milestones.size()));
  std::int64_t before = 0;
  for (const auto milestone : milestones) {
    require(milestone >= before, "sequential", "milestones", fmt::format(">= {} and not falling", before), milestone);
    before = milestone;
  }
}

// No part may be asked past its end, nor be left before something its settings promise.
void require_room(const Schedule& part, std::int64_t length) {
  if (length == 0) return;  // left out on purpose
  try {
    part.check_length(length);
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(
        fmt::format("schedule::sequential: part '{}' has {} steps before the next one begins: {}", part.name(), length,
                    error.what()));
  }
}

double draw(const NoiseOptions& options, std::int64_t step) {
  core::RandomStream random(options.seed, static_cast<std::uint64_t>(step));
  if (options.kind == NoiseKind::uniform)
    return std::clamp((2.0 * random.uniform() - 1.0) * options.amount, -options.limit, options.limit);
  // Normal, drawn again while beyond the limit; after so many refusals the limit is far inside one deviation.
  for (int attempt = 0; attempt < 1000; ++attempt) {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - random.uniform()));
    const double normal = radius * std::cos(2.0 * std::numbers::pi * random.uniform()) * options.amount;
    if (std::abs(normal) <= options.limit) return normal;
  }
  return (2.0 * random.uniform() - 1.0) * options.limit;
}

}  // namespace

namespace {

Schedule in_sequence(const std::string& kind, std::vector<Schedule> parts, std::vector<std::int64_t> milestones) {
  require_milestones(parts, milestones);
  std::vector<std::int64_t> begins{0};
  begins.insert(begins.end(), milestones.begin(), milestones.end());
  for (std::size_t i = 0; i + 1 < parts.size(); ++i) require_room(parts[i], begins[i + 1] - begins[i]);
  Traits traits{.name = kind};
  {
    // Parts without a step say nothing of the whole.
    std::vector<Schedule> used;
    std::vector<std::int64_t> from;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      if (i + 1 < parts.size() && begins[i] == begins[i + 1]) continue;
      used.push_back(parts[i]);
      from.push_back(begins[i]);
    }
    traits = traits_of_parts(kind, used, from);
  }
  for (std::size_t i = 0; i < milestones.size(); ++i)
    traits.landmarks.push_back({milestones[i], fmt::format("{}: milestone {}", kind, milestones[i])});
  traits.horizon = saturating_add(begins.back(), parts.back().horizon());
  if (const auto last = parts.back().last_step()) traits.last_step = saturating_add(begins.back(), *last);
  return make(std::move(traits),
              [parts = std::move(parts), begins = std::move(begins)](std::int64_t t, double base_lr) {
                const auto part = std::upper_bound(begins.begin(), begins.end(), t) - begins.begin() - 1;
                const auto i = static_cast<std::size_t>(part);
                return parts[i].rule().at(t - begins[i], base_lr);
              });
}

}  // namespace

Schedule sequential(std::vector<Schedule> parts, std::vector<std::int64_t> milestones) {
  return in_sequence("sequential", std::move(parts), std::move(milestones));
}

Schedule join(std::vector<Leg> legs) {
  if (legs.empty()) throw std::invalid_argument("schedule::join: needs at least one leg, got none");
  std::vector<Schedule> parts;
  std::vector<std::int64_t> milestones;
  std::int64_t end = 0;
  for (std::size_t i = 0; i < legs.size(); ++i) {
    require(legs[i].length >= 0, "join", "length", ">= 0", legs[i].length);
    parts.push_back(legs[i].schedule);
    end = saturating_add(end, legs[i].length);
    if (i + 1 < legs.size()) milestones.push_back(end);
  }
  return in_sequence("join", std::move(parts), std::move(milestones));
}

Schedule chained(std::vector<Schedule> parts) {
  if (parts.empty()) throw std::invalid_argument("schedule::chained: needs at least one part, got none");
  Traits traits = traits_of_parts("chained", parts, std::vector<std::int64_t>(parts.size(), 0));
  for (const auto& part : parts)
    if (const auto last = part.last_step()) traits.last_step = std::min(traits.last_step.value_or(*last), *last);
  if (traits.last_step) traits.horizon = std::min(traits.horizon, *traits.last_step);
  return make(std::move(traits), [parts = std::move(parts)](std::int64_t t, double base_lr) {
    Point whole{base_lr, std::nullopt};
    for (const auto& part : parts) {
      const Point point = part.rule().at(t, base_lr);
      whole.lr = base_lr > 0.0 ? whole.lr * (point.lr / base_lr) : 0.0;
      if (point.momentum) whole.momentum = point.momentum;
    }
    return whole;
  });
}

Schedule noise(Schedule schedule, NoiseOptions options) {
  require(std::isfinite(options.amount) && options.amount > 0.0, "noise", "amount", "> 0", options.amount);
  require(options.limit > 0.0 && options.limit < 1.0, "noise", "limit", "in (0, 1)", options.limit);
  require(options.begin >= 0, "noise", "begin", ">= 0", options.begin);
  require(options.end > options.begin, "noise", "end", "> begin", options.end);
  Traits traits = schedule.rule().traits;
  traits.name = "noise";
  return make(std::move(traits), [schedule = std::move(schedule), options](std::int64_t t, double base_lr) {
    Point point = schedule.rule().at(t, base_lr);
    if (t >= options.begin && t < options.end) point.lr *= 1.0 + draw(options, t);
    return point;
  });
}

}  // namespace athanor::schedule

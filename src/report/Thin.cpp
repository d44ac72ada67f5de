#include "athanor/report/Thin.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>

namespace athanor::report {
namespace {

constexpr std::size_t kNone = SIZE_MAX;

// What stays of the points [begin, end), in order.
void keep_bucket(const Points& series, std::size_t begin, std::size_t end, Thinned& thinned) {
  std::size_t lowest = kNone, highest = kNone, broken = kNone;
  double sum = 0;
  std::size_t finite = 0;
  for (std::size_t i = begin; i < end; ++i) {
    const double value = series.values[i];
    if (!std::isfinite(value)) {
      if (broken == kNone) broken = i;
      continue;
    }
    sum += value;
    ++finite;
    if (lowest == kNone || value < series.values[lowest]) lowest = i;
    if (highest == kNone || value > series.values[highest]) highest = i;
  }
  std::array<std::size_t, 5> kept{begin, lowest, highest, broken, end - 1};
  std::sort(kept.begin(), kept.end());
  std::size_t last = kNone;
  for (const std::size_t i : kept) {
    if (i == kNone || i == last) continue;
    thinned.points.steps.push_back(series.steps[i]);
    thinned.points.values.push_back(series.values[i]);
    last = i;
  }
  if (finite == 0) return;
  thinned.means.steps.push_back(series.steps[begin + (end - begin) / 2]);
  thinned.means.values.push_back(sum / static_cast<double>(finite));
}

}  // namespace

Thinned thin(const Points& series, std::size_t limit) {
  if (limit < 8) throw std::invalid_argument("report::thin: limit must be at least 8");
  if (series.size() <= limit) return {.points = series, .means = {}};
  const std::size_t buckets = limit / 4;
  Thinned thinned;
  for (std::size_t bucket = 0; bucket < buckets; ++bucket) {
    // Products of counts below 2^32 fit.
    const std::size_t begin = series.size() * bucket / buckets;
    const std::size_t end = series.size() * (bucket + 1) / buckets;
    keep_bucket(series, begin, end, thinned);
  }
  return thinned;
}

}  // namespace athanor::report

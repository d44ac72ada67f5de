#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace athanor::report {

/// A metric over the steps of a run, as metrics.csv has it. Steps do not fall; values may be nan or inf.
struct Points {
  std::vector<std::int64_t> steps;
  std::vector<double> values;

  [[nodiscard]] std::size_t size() const { return steps.size(); }
};

/// A long series made small enough to draw: in each of equally many points' buckets the first, lowest, highest and last
/// point stay, exactly as they were, and the first that is not finite; so no peak, dip or nan is lost. `means` is the
/// mean of the finite values of each bucket at its middle step: what a smoothed line goes through.
struct Thinned {
  Points points;
  Points means;  ///< Empty where nothing was left out.
};

/// At most about `limit` points (and a nan a bucket). limit >= 8, else std::invalid_argument.
Thinned thin(const Points& series, std::size_t limit);

}  // namespace athanor::report

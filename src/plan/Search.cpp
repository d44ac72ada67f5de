#include "athanor/plan/Search.h"

#include <algorithm>
#include <array>
#include <functional>
#include <limits>
#include <stdexcept>
#include <tuple>

namespace athanor::plan {
namespace {

// The lists that are marked leaner, as coordinates: a larger number needs no more memory and no less time.
using Place = std::array<std::size_t, 4>;  // micro-batch, checkpointing, offload, optimizer in backward

bool leaner_or_equal(const Place& a, const Place& b) {
  return std::ranges::equal(a, b, std::greater_equal<>());
}

/// One combination of the lists that promise nothing; in it memory falls and time rises from corner to corner.
struct Slice {
  std::string precision;
  bool chunked_loss;
  std::string optimizer_states;
};

struct Known {
  Place place;
  double seconds;
  bool fits;
};

auto order(const Candidate& candidate, const Settings& preferred) {
  return std::tuple(candidate.cost.seconds_per_step, candidate.settings.changes(preferred).size(),
                    candidate.cost.process.count);
}

class Searcher {
 public:
  Searcher(const Space& space, const Step& step, const Budget& budget) : space_(space), step_(step), budget_(budget) {}

  Plan run() {
    for (const auto& precision : space_.precisions)
      for (const auto& states : space_.optimizer_states)
        for (const bool chunked : space_.chunked_loss) search_slice({precision, chunked, states});
    return finish();
  }

 private:
  [[nodiscard]] Settings settings_at(const Slice& slice, const Place& at) const {
    const auto micro = space_.micro_batches[at[0]];
    return {micro,
            space_.effective_batch / micro,
            slice.precision,
            space_.checkpointing[at[1]],
            slice.chunked_loss,
            space_.optimizer_in_backward[at[3]],
            slice.optimizer_states,
            space_.offload[at[2]]};
  }

  // The leanest place of the slice with one choice of optimizer_in_backward, which may forbid the others' leanest.
  [[nodiscard]] std::optional<Place> leanest(const Slice& slice, std::size_t in_backward) const {
    std::optional<Place> found;
    for (const auto& line : lines())
      for (std::size_t i = 0; i < space_.checkpointing.size(); ++i) {
        const Place at{line[0], i, line[2], line[3]};
        if (line[3] != in_backward || !space_.allows(settings_at(slice, at))) continue;
        if (!found || leaner_or_equal(at, *found)) found = at;
      }
    return found;
  }

  // Lines run along checkpointing, the longest list. The least lean ones come first, so that a fit found early rules
  // out what is leaner and slower.
  [[nodiscard]] std::vector<Place> lines() const {
    std::vector<Place> result;
    for (std::size_t micro = 0; micro < space_.micro_batches.size(); ++micro)
      for (std::size_t offload = 0; offload < space_.offload.size(); ++offload)
        for (std::size_t in_backward = 0; in_backward < space_.optimizer_in_backward.size(); ++in_backward)
          result.push_back({micro, 0, offload, in_backward});
    std::ranges::stable_sort(result, {}, [](const Place& p) { return p[0] + p[2] + p[3]; });
    return result;
  }

  void search_slice(const Slice& slice) {
    known_.clear();
    // The least lean corner bounds the time of the whole slice, the leanest ones its memory.
    const Place least{};
    if (space_.allows(settings_at(slice, least)) && (fits(slice, least) || hopeless(least))) return;
    for (std::size_t in_backward = 0; in_backward < space_.optimizer_in_backward.size(); ++in_backward)
      if (const auto at = leanest(slice, in_backward); at && !decided(*at)) fits(slice, *at);
    for (const auto& line : lines()) search_line(slice, line);
  }

  // Finds the first point of the line that fits: those before it do not, those after it are slower.
  void search_line(const Slice& slice, const Place& line) {
    std::vector<Place> points;
    for (std::size_t i = 0; i < space_.checkpointing.size(); ++i) {
      const Place at{line[0], i, line[2], line[3]};
      if (space_.allows(settings_at(slice, at)) && !decided(at)) points.push_back(at);
    }
    if (points.empty() || stopped_) return;
    std::size_t low = 0, high = points.size();
    if (!fits(slice, points.back())) return;
    high -= 1;
    while (low < high && !stopped_) {
      const std::size_t middle = low + (high - low) / 2;
      if (hopeless(points[middle]) || fits(slice, points[middle]))
        high = middle;
      else
        low = middle + 1;
    }
  }

  // Slower than the best so far, seen from what was rehearsed of the less lean.
  [[nodiscard]] bool hopeless(const Place& at) const {
    return std::ranges::any_of(
        known_, [&](const Known& known) { return known.seconds >= best_seconds_ && leaner_or_equal(at, known.place); });
  }

  // Needs no rehearsal: something less lean fits already, something leaner does not, or it is too slow.
  [[nodiscard]] bool decided(const Place& at) const {
    return hopeless(at) || std::ranges::any_of(known_, [&](const Known& known) {
             return known.fits ? leaner_or_equal(at, known.place) : leaner_or_equal(known.place, at);
           });
  }

  bool fits(const Slice& slice, const Place& at) {
    for (const auto& known : known_)
      if (known.place == at) return known.fits;
    if (stopped_) return false;
    Candidate candidate{settings_at(slice, at), {}, false};
    candidate.cost = step_(candidate.settings);
    candidate.fits = candidate.cost.process <= budget_.process;
    known_.push_back({at, candidate.cost.seconds_per_step, candidate.fits});
    if (candidate.fits) best_seconds_ = std::min(best_seconds_, candidate.cost.seconds_per_step);
    plan_.candidates.push_back(std::move(candidate));
    if (budget_.progress && !budget_.progress(plan_.searched())) stopped_ = true;
    return plan_.candidates.back().fits;
  }

  Plan finish() {
    std::ranges::stable_sort(plan_.candidates, [&](const Candidate& a, const Candidate& b) {
      if (a.fits != b.fits) return a.fits;
      if (!a.fits) return a.cost.process < b.cost.process;
      return order(a, budget_.preferred) < order(b, budget_.preferred);
    });
    plan_.budget = budget_.process;
    plan_.combinations = static_cast<std::int64_t>(space_.all().size());
    plan_.complete = !stopped_;
    if (!plan_.candidates.empty() && plan_.candidates.front().fits) plan_.chosen = plan_.candidates.front();
    return std::move(plan_);
  }

  const Space& space_;
  const Step& step_;
  const Budget& budget_;
  std::vector<Known> known_;
  Plan plan_;
  double best_seconds_ = std::numeric_limits<double>::infinity();
  bool stopped_ = false;
};

}  // namespace

const Candidate* Plan::nearest_miss() const {
  const auto found = std::ranges::find(candidates, false, &Candidate::fits);
  return found == candidates.end() ? nullptr : &*found;
}

Plan search(const Space& space, const Step& step, const Budget& budget) {
  if (space.all().empty())
    throw std::invalid_argument(
        "plan: no combination of the space is allowed (optimizer_in_backward needs accumulate = 1)");
  return Searcher(space, step, budget).run();
}

}  // namespace athanor::plan

#pragma once
#include <cstdint>
#include <vector>

#include "optim/engine/Kernel.h"

namespace athanor::optim::engine {

/// Rows to update, cut into pieces of equal work. The cut is kept from step to step while the same rows take part.
class Table {
 public:
  std::vector<Row> rows;
  std::vector<Kernel> kernels;
  std::vector<std::int64_t> sizes;  ///< Elements of each row.

  void resize(std::size_t count);
  /// Which rows take part from now on.
  void activate(const std::vector<std::uint32_t>& active);
  void run(int threads) const;

 private:
  struct Piece {
    std::uint32_t row;
    std::int64_t begin;
    std::int64_t end;
  };
  std::vector<std::uint32_t> active_;
  std::vector<std::int64_t> active_sizes_;
  std::vector<Piece> pieces_;
  std::vector<std::size_t> tasks_;  // task t is pieces [tasks_[t], tasks_[t + 1])
};

}  // namespace athanor::optim::engine

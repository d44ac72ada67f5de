#pragma once
#include <cstdint>
#include <vector>

#include "optim/engine/Kernel.h"
#include "optim/engine/Threads.h"

namespace athanor::optim::engine {

/// What the engine knows of each tensor; entry k of each is of tensor k.
struct Table {
  std::vector<Row> rows;
  std::vector<Kernel> kernels;
  std::vector<std::int64_t> sizes;  ///< Elements.

  void resize(std::size_t count);
};

/// Rows to update, cut into pieces of equal work. The cut is kept from step to step while the same rows take part.
///
/// What changes from step to step is looked up in a Source by the thread that is about to use it:
///   stages                    how many look-ups lead to a row's arrays
///   Link                      what one look-up hands to the next, default-constructible
///   fetch(stage, row, link)   brings near what the next stage reads: once for every stage, some rows before ready()
///   ready(row, link)          completes the row; false: its elements are left as they are
/// Both are called from several threads, ready() once for a row; fetch() changes nothing but the link. Neither throws.
class Cut {
 public:
  /// Which rows of the table take part from now on.
  void follow(const Table& table, const std::vector<std::uint32_t>& rows);
  /// Updates the rows that are ready.
  template <class Source>
  void run(const Table& table, int threads, Source& source) {
    for (const auto row : shared_) {
      typename Source::Link link;
      for (std::size_t stage = 0; stage < Source::stages; ++stage) source.fetch(stage, row, link);
      ready_[row] = source.ready(row, link) ? 1 : 0;
    }
    parallel(static_cast<std::int64_t>(tasks_.size()) - 1, threads,
             [&](std::int64_t task) { work(table, static_cast<std::size_t>(task), source); });
  }

 private:
  struct Piece {
    std::uint32_t row;
    bool whole;  // the row's only piece
    std::int64_t begin, end;
  };
  void cut(std::uint32_t row, std::int64_t size, std::int64_t wanted, std::int64_t& filled);

  template <class Source>
  void work(const Table& table, std::size_t task, Source& source) const {
    constexpr std::size_t ahead = Source::stages;
    typename Source::Link links[ahead + 1];
    const auto fetch = [&](std::size_t stage, std::size_t piece) {
      if (piece < pieces_.size() && pieces_[piece].whole)
        source.fetch(stage, pieces_[piece].row, links[piece % (ahead + 1)]);
    };
    // A piece is looked up a stage at a time while those before it are worked on, so that no thread waits for memory.
    // The last ones of a task bring near what the next needs, which most often is the same thread's.
    const std::size_t first = tasks_[task];
    for (std::size_t k = 0; k < ahead; ++k)
      for (std::size_t stage = 0; stage + k < ahead; ++stage) fetch(stage, first + k);
    for (std::size_t i = first; i < tasks_[task + 1]; ++i) {
      for (std::size_t stage = 0; stage < ahead; ++stage) fetch(stage, i + ahead - stage);
      const Piece& piece = pieces_[i];
      if (piece.whole ? source.ready(piece.row, links[i % (ahead + 1)]) : ready_[piece.row] != 0)
        table.kernels[piece.row](table.rows[piece.row], piece.begin, piece.end);
    }
  }

  std::vector<std::uint32_t> rows_;
  std::vector<std::int64_t> sizes_;
  std::vector<Piece> pieces_;
  std::vector<std::size_t> tasks_ = {0};  // task t is pieces [tasks_[t], tasks_[t + 1])
  std::vector<std::uint32_t> shared_;     // rows of several pieces, which may be several threads'
  std::vector<char> ready_;               // of every row of the table; set for shared ones
};

}  // namespace athanor::optim::engine

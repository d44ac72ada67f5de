#include "cli/Picture.h"

#include <algorithm>
#include <ostream>

#include "athanor/core/AtomicFile.h"
#include "athanor/core/Terminal.h"

namespace athanor::cli {

void print_picture(const plot::Chart& chart, const Context& context) {
  const auto terminal = core::Terminal::of(*context.out);
  *context.out << chart.terminal({.columns = terminal.interactive ? std::clamp(terminal.columns, 40, 120) : 80,
                                  .rows = terminal.interactive ? std::clamp(terminal.rows - 4, 12, 24) : 20,
                                  .unicode = terminal.unicode,
                                  .colour = terminal.colour});
}

void write_picture(const plot::Chart& chart, const std::string& path, const Context& context) {
  core::write_atomically(path, chart.svg());
  if (!context.quiet) *context.err << "wrote " << path << '\n';
}

}  // namespace athanor::cli

#include "rehearse/phantom/Selection.h"

#include <algorithm>

#include "rehearse/phantom/Install.h"
#include "rehearse/phantom/Unknown.h"

namespace athanor::rehearse::phantom {
namespace {

thread_local int all_selected = 0;

}  // namespace

std::int64_t selected(std::string_view op, std::int64_t of) {
  if (all_selected > 0) return of;
  if (assumptions().selected < 0)
    throw_data_dependent(op,
                         "Its result has as many elements as are selected: state an upper bound in "
                         "rehearse::Options::selected (--selected on the command line).");
  return std::min(of, assumptions().selected);
}

AllSelected::AllSelected() {
  ++all_selected;
}
AllSelected::~AllSelected() {
  --all_selected;
}

}  // namespace athanor::rehearse::phantom

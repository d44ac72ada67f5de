#include "rehearse/phantom/Table.h"

namespace athanor::rehearse::phantom {

void add_linear_algebra(Table&) {}

}  // namespace athanor::rehearse::phantom

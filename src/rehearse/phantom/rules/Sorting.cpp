#include "rehearse/phantom/Table.h"

namespace athanor::rehearse::phantom {

void add_sorting(Table&) {}

}  // namespace athanor::rehearse::phantom

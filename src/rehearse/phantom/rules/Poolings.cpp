#include "rehearse/phantom/Table.h"

namespace athanor::rehearse::phantom {

void add_poolings(Table&) {}

}  // namespace athanor::rehearse::phantom

#include "rehearse/phantom/Table.h"

namespace athanor::rehearse::phantom {

void add_sampling(Table&) {}

}  // namespace athanor::rehearse::phantom

#include "rehearse/phantom/Table.h"

namespace athanor::rehearse::phantom {

void add_recurrent(Table&) {}

}  // namespace athanor::rehearse::phantom

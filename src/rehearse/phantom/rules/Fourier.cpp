#include "rehearse/phantom/Table.h"

namespace athanor::rehearse::phantom {

void add_fourier(Table&) {}

}  // namespace athanor::rehearse::phantom

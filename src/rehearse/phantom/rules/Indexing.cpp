// Reading and writing at indices.
#include <ATen/WrapDimUtils.h>

#include "rehearse/phantom/Sorts.h"
#include "rehearse/phantom/Table.h"

namespace athanor::rehearse::phantom {
namespace {

// index_select(self, dim, index)
void index_select(Call& call) {
  const auto& self = call.tensor(0);
  auto sizes = self.sizes().vec();
  if (!sizes.empty())
    sizes[static_cast<std::size_t>(at::maybe_wrap_dim(call.integer(1), self.dim()))] = call.tensor(2).numel();
  call.returns({call.empty(sizes, self.scalar_type())});
}

}  // namespace

void add_indexing(Table& table) {
  table.rule("index_select", &index_select, "aten/src/ATen/native/cuda/Indexing.cu");
}

}  // namespace athanor::rehearse::phantom

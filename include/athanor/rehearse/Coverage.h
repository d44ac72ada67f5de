#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/rehearse/Ledger.h"

namespace athanor::rehearse {

/// How an operator of PyTorch's CUDA build is served on the phantom.
enum class Service : std::uint8_t {
  rule,       ///< A rule says what its kernel allocates.
  shared,     ///< PyTorch's own function, the one its CUDA build runs too.
  in_place,   ///< Writes its arguments and allocates nothing outside.
  out,        ///< Its form without out= arguments is served, and writes into them.
  shape,      ///< PyTorch's shape function (Meta) makes the results; the kernel is taken to allocate nothing inside.
  composite,  ///< PyTorch's own decomposition into other operators.
  unknown,    ///< Throws, and says where its rule goes.
};
std::string_view name(Service service);

struct Covered {
  std::string op;  ///< Without "aten::".
  Service service = Service::unknown;
  Confidence confidence = Confidence::source;
  std::string source;  ///< From where it is known; of an unknown one, why nothing is known.
};

/// One row for every operator that has a CUDA kernel of its own, by name.
std::vector<Covered> coverage();

/// Likewise for sparse tensors (COO).
std::vector<Covered> sparse_coverage();

/// The same as a page of documentation (Markdown).
std::string coverage_page(const std::vector<Covered>& rows, const std::vector<Covered>& sparse);

}  // namespace athanor::rehearse

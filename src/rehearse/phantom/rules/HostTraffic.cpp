// What crosses between GPU and host: copies, and values that a program reads to decide.
#include <ATen/WrapDimUtils.h>
#include <ATen/ops/empty_like.h>

#include "rehearse/phantom/Install.h"
#include "rehearse/phantom/Memory.h"
#include "rehearse/phantom/Selection.h"
#include "rehearse/phantom/Table.h"

namespace athanor::rehearse::phantom {
namespace {

void fill_host(at::Tensor& host) {
  if (host.is_floating_point() || host.is_complex())
    host.fill_(assumptions().floating);
  else
    host.fill_(assumptions().integral);
}

void note_read(const char* op, const at::Tensor& of) {
  const bool floating = of.is_floating_point() || of.is_complex();
  const auto& wanted = assumptions();
  Memory::instance().recorder()->note_read(op, floating,
                                           floating ? wanted.floating : static_cast<double>(wanted.integral));
}

// Host to device converts on the host; a destination that is not contiguous is staged. Device to device allocates
// nothing. Whatever goes to the host holds what the rehearsal assumes.
at::Tensor& copy(at::Tensor& self, const at::Tensor& source, bool non_blocking) {
  if (!is_phantom(self)) {
    // Nothing reads a large copy that the host does not wait for: offloaded activations stay pages that were never
    // touched, so that more of them than the host has memory can be rehearsed.
    constexpr std::int64_t small = 4096;
    if (!non_blocking) note_read("aten::copy_", source);
    if (!non_blocking || self.numel() <= small) fill_host(self);
    return self;
  }
  auto& recorder = *Memory::instance().recorder();
  recorder.adopt(self);
  if (is_phantom(source)) return self;
  if (!self.is_contiguous() && !self.is_non_overlapping_and_dense())
    static_cast<void>(at::empty_like(self, at::MemoryFormat::Contiguous));
  else if (!source.is_meta() && self.strides() != source.strides() && !self.is_contiguous())
    static_cast<void>(at::empty_like(self, at::MemoryFormat::Contiguous));
  recorder.mark_input(self);
  return self;
}

c10::Scalar item(const at::Tensor& self) {
  if (Memory::instance().recorder()->is_flag(self)) return c10::Scalar(0.0);
  const auto& wanted = assumptions();
  note_read("aten::_local_scalar_dense", self);
  if (self.is_complex()) return c10::Scalar(c10::complex<double>(wanted.floating, 0));
  if (self.is_floating_point()) return c10::Scalar(wanted.floating);
  if (self.scalar_type() == at::kBool) return c10::Scalar(wanted.integral != 0);
  return c10::Scalar(wanted.integral);
}

// record_stream(self, stream): the block is held until that stream is synchronised with.
void record_stream(at::Tensor& self, c10::Stream stream) {
  Memory::instance().record_stream(self.storage().data_ptr(), static_cast<std::uint64_t>(stream.id()));
}

// Whether a flag is set is asked as whether it equals one that is.
bool equal(const at::Tensor& self, const at::Tensor&) {
  if (self.dim() == 0 && self.scalar_type() == at::kBool) {
    note_read("aten::equal", self);
    return assumptions().integral != 0;
  }
  Memory::instance().recorder()->note_read("aten::equal", false, 1);
  return true;
}

void nonzero(Call& call) {
  const auto& self = call.tensor(0);
  call.returns({call.empty({selected("nonzero", self.numel()), self.dim()}, at::kLong)});
}

void masked_select(Call& call) {
  const auto& self = call.tensor(0);
  call.returns({call.empty({selected("masked_select", self.numel())}, self.scalar_type())});
}

// unique: the sorted values, and per element the place of its value, per value its count.
void unique(Call& call, const char* name, std::size_t inverse, std::optional<std::size_t> counts) {
  const auto& self = call.tensor(0);
  const auto found = selected(name, self.numel());
  std::vector<c10::IValue> results{call.empty({found}, self.scalar_type())};
  results.emplace_back(call.empty(call.flag(inverse) ? self.sizes().vec() : std::vector<std::int64_t>{0}, at::kLong));
  if (counts) results.emplace_back(call.empty({call.flag(*counts) ? found : 0}, at::kLong));
  call.returns(std::move(results));
}

// unique_dim(self, dim, sorted, return_inverse, return_counts): whole slices, compared with one another.
void unique_slices(Call& call, const char* name) {
  const at::Tensor self = call.tensor(0);
  const auto dim = at::maybe_wrap_dim(call.integer(1), self.dim());
  auto sizes = self.sizes().vec();
  const auto found = selected(name, self.size(dim));
  sizes[static_cast<std::size_t>(dim)] = found;
  auto result = call.empty(sizes, self.scalar_type());
  auto inverse = call.empty({self.size(dim)}, at::kLong);
  call.returns({result, inverse, call.empty({found}, at::kLong)});
}

}  // namespace

void add_host_traffic(Table& table) {
  constexpr auto nonzeros = "aten/src/ATen/native/cuda/Nonzero.cu; the count is the stated bound";
  constexpr auto uniques = "aten/src/ATen/native/cuda/Unique.cu; the count is the stated bound";
  table.typed<&copy>("copy_", "aten/src/ATen/native/cuda/Copy.cu");
  table.typed<&item>("_local_scalar_dense", "assumed value: rehearse::Options");
  table.typed<&record_stream>("record_stream", "aten/src/ATen/native/cuda/RecordStream.cu");
  table.typed<&equal>("equal", "assumed: equal");
  table.rule("nonzero", &nonzero, nonzeros, Confidence::estimate);
  table.rule("masked_select", &masked_select, "aten/src/ATen/native/cuda/IndexKernel.cpp", Confidence::estimate);
  table.rule(
      "_unique", [](Call& call) { unique(call, "unique", 2, {}); }, uniques, Confidence::estimate);
  table.rule(
      "_unique2", [](Call& call) { unique(call, "unique", 2, 3); }, uniques, Confidence::estimate);
  table.rule(
      "unique_consecutive", [](Call& call) { unique(call, "unique_consecutive", 1, 2); }, uniques,
      Confidence::estimate);
  table.rule(
      "unique_dim", [](Call& call) { unique_slices(call, "unique_dim"); }, uniques, Confidence::estimate);
  table.rule(
      "unique_dim_consecutive", [](Call& call) { unique_slices(call, "unique_dim_consecutive"); }, uniques,
      Confidence::estimate);
  table.rule(
      "_assert_async _assert_async.msg", [](Call& call) { call.returns({}); },
      "aten/src/ATen/native/cuda/TensorCompare.cu");
}

}  // namespace athanor::rehearse::phantom

// Fused attention. Which kernel PyTorch picks depends on dtype, shape, mask and GPU; each keeps something else.
#include <ATen/Context.h>
#include <ATen/native/DispatchStub.h>
#include <ATen/native/transformers/attention.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <cmath>

#include "rehearse/phantom/Attention.h"
#include "rehearse/phantom/Install.h"
#include "rehearse/phantom/Products.h"
#include "rehearse/phantom/Table.h"

namespace athanor::rehearse::phantom {
namespace {

constexpr std::int64_t round_up(std::int64_t n, std::int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

bool half(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kHalf || tensor.scalar_type() == at::kBFloat16;
}

// B×H×S×D in memory B×S×H×D: what flash and the memory-efficient kernel write.
at::Tensor heads_inside(const at::Tensor& like, std::int64_t width) {
  return make({like.size(0), like.size(2), like.size(1), width}, like.scalar_type()).transpose(1, 2);
}

// Flash attention's kernels are compiled for these widths.
std::int64_t padded_width(std::int64_t width) {
  return width <= 192 ? round_up(width, 32) : 256;
}

// Into how many parts flash attention splits the keys so that few queries fill the GPU: the fewest that use it at least
// 85 % as well as the best number does. Source: num_splits_heuristic in flash_attn/flash_api.cpp.
std::int64_t key_splits(const at::Tensor& q, std::int64_t keys) {
  const auto up = [](std::int64_t n, std::int64_t size) { return (n + size - 1) / size; };
  const auto width = q.size(3);
  const auto key_blocks = up(keys, width <= 64 ? 256 : width <= 128 ? 128 : 64);
  const auto blocks = q.size(0) * q.size(1) * up(q.size(2), 64);
  const auto processors = std::int64_t{2} * traits().sm_count;
  if (static_cast<double>(blocks) >= 0.8 * static_cast<double>(processors)) return 1;
  const auto most = std::min({std::int64_t{128}, processors, key_blocks});
  const auto pays = [&](std::int64_t n) { return n == 1 || up(key_blocks, n) != up(key_blocks, n - 1); };
  const auto use = [&](std::int64_t n) {
    const auto waves = static_cast<double>(blocks * n) / static_cast<double>(processors);
    return waves / std::ceil(waves);
  };
  double best = 0;
  for (std::int64_t n = 1; n <= most; ++n)
    if (pays(n)) best = std::max(best, use(n));
  for (std::int64_t n = 1; n <= most; ++n)
    if (pays(n) && use(n) >= 0.85 * best) return n;
  return 1;
}

// Where few queries split the keys, each part keeps its sums and its outputs.
struct Parts {
  c10::DataPtr sums, outputs;
};
Parts split_keys(const Call& call, const at::Tensor& q, std::int64_t keys, double dropout) {
  const auto splits = dropout == 0 ? key_splits(q, keys) : 1;
  if (splits == 1) return {};
  const auto rows = splits * q.size(0) * q.size(1) * q.size(2) * 4;
  auto sums = call.scratch(rows);
  return {std::move(sums), call.scratch(rows * padded_width(q.size(3)))};
}

// _scaled_dot_product_flash_attention(q, k, v, dropout_p, is_causal, return_debug_mask, scale)
void flash(Call& call) {
  const auto& q = call.tensor(0);
  const auto& k = call.tensor(1);
  auto output = heads_inside(q, q.size(3));
  auto logsumexp = call.empty({q.size(0), q.size(1), q.size(2)}, at::kFloat);
  const auto parts = split_keys(call, q, k.size(2), call.number(3));
  auto random = call.empty({2}, at::kUInt64);
  auto unused = call.empty({}, at::kUInt64);
  auto debug_mask = call.empty({0}, q.scalar_type());
  call.returns({output, logsumexp, at::Tensor(), at::Tensor(), q.size(2), k.size(2), random, unused, debug_mask});
}

// _scaled_dot_product_flash_attention_backward(grad_out, q, k, v, out, logsumexp, …): gradients of q are summed in
// fp32, and where k has fewer heads its gradient is made for every head first.
void flash_backward(Call& call) {
  const auto& q = call.tensor(1);
  const auto& k = call.tensor(2);
  const auto& v = call.tensor(3);
  auto dq = heads_inside(q, q.size(3));
  auto dk = heads_inside(k, k.size(3));
  auto dv = heads_inside(v, v.size(3));
  const auto rows = round_up(q.size(2), 128);
  const auto softmax = call.empty({q.size(0), q.size(1), rows}, at::kFloat);
  const auto accumulated = call.empty({q.size(0), rows, q.size(1), padded_width(q.size(3))}, at::kFloat);
  at::Tensor wide_k;
  at::Tensor wide_v;
  if (k.size(1) != q.size(1)) {
    wide_k = call.empty({k.size(0), k.size(2), q.size(1), k.size(3)}, k.scalar_type());
    wide_v = call.empty({v.size(0), v.size(2), q.size(1), v.size(3)}, v.scalar_type());
  }
  call.returns({dq, dk, dv});
}

// _flash_attention_forward(q, k, v, cum_seq_q, cum_seq_k, max_q, max_k, dropout_p, …): batch × length × heads × width,
// or sequences one after the other, without a batch.
void flash_by_length(Call& call) {
  const auto& q = call.tensor(0);
  const bool packed = call.has(3);
  auto output = call.empty_like(q);
  auto logsumexp = packed ? call.empty({q.size(1), q.size(0)}, at::kFloat)
                          : call.empty({q.size(0), q.size(2), q.size(1)}, at::kFloat);
  const auto parts = packed ? Parts{} : split_keys(call, q.transpose(1, 2), call.tensor(1).size(1), call.number(7));
  auto random = call.empty({2}, at::kUInt64);
  auto unused = call.empty({}, at::kUInt64);
  call.returns({output, logsumexp, random, unused, call.empty({0}, q.scalar_type())});
}

// _flash_attention_backward(grad_out, q, k, v, out, logsumexp, cum_seq_q, …): as above; packed sequences each begin at
// a multiple of 128 rows.
void flash_by_length_backward(Call& call) {
  const auto& q = call.tensor(1);
  const auto& k = call.tensor(2);
  const bool packed = call.has(6);
  auto dq = call.empty_like(q);
  auto dk = call.empty_like(k);
  auto dv = call.empty_like(call.tensor(3));
  const auto heads = q.size(-2);
  const auto width = padded_width(q.size(-1));
  const auto rows = packed ? q.size(0) + 128 * (call.tensor(6).numel() - 1) : q.size(0) * round_up(q.size(1), 128);
  const auto softmax = call.empty({heads, rows}, at::kFloat);
  const auto accumulated = call.empty({rows, heads, width}, at::kFloat);
  at::Tensor wide_k;
  at::Tensor wide_v;
  if (k.size(-2) != heads) {
    auto sizes = k.sizes().vec();
    sizes[sizes.size() - 2] = heads;
    wide_k = call.empty(sizes, k.scalar_type());
    wide_v = call.empty(sizes, k.scalar_type());
  }
  call.returns({dq, dk, dv});
}

// Half results wider than a block of keys are summed in fp32.
at::Tensor wide_sums(const Call& call, const at::Tensor& q, std::int64_t queries, std::int64_t heads,
                     std::int64_t width) {
  return half(q) && width > 128 ? call.empty({q.size(0), queries, heads, width}, at::kFloat) : at::Tensor();
}

// _efficient_attention_forward(q, k, v, bias, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, dropout_p,
// mask, compute_log_sumexp, …): batch × length × heads × width.
void efficient_by_length(Call& call) {
  const auto& q = call.tensor(0);
  const auto& v = call.tensor(2);
  const auto batch = call.has(4) ? call.tensor(4).size(0) - 1 : q.size(0);
  const auto queries = call.has(4) ? call.integer(6) : q.size(1);
  const auto keys = call.has(7) ? call.integer(7) : call.tensor(1).size(1);
  auto output = call.empty({q.size(0), q.size(1), q.size(2), v.size(3)}, q.scalar_type());
  auto logsumexp = call.empty({batch, q.size(2), call.flag(10) ? round_up(queries, 32) : 0}, at::kFloat);
  const auto sums = wide_sums(call, q, q.size(1), q.size(2), v.size(3));
  call.returns({output, logsumexp, at::empty({}, at::kLong), at::empty({}, at::kLong), queries, keys});
}

// _scaled_dot_product_efficient_attention(q, k, v, attn_bias, compute_log_sumexp, …): rows in blocks of 32.
void efficient(Call& call) {
  const auto& q = call.tensor(0);
  const auto& v = call.tensor(2);
  auto output = heads_inside(q, v.size(3));
  auto logsumexp = call.empty({q.size(0), q.size(1), call.flag(4) ? round_up(q.size(2), 32) : 0}, at::kFloat);
  const auto sums = wide_sums(call, q, q.size(2), q.size(1), v.size(3));
  // Seed and offset of dropout, on the host unless a graph is being captured.
  auto seed = at::empty({}, at::kLong);
  auto offset = at::empty({}, at::kLong);
  call.returns({output, logsumexp, seed, offset});
}

// Blocks of keys add their part of the queries' gradient one after the other in here; narrow dtypes keep that of keys
// and values in fp32 too where registers do not hold it. Source: Params::workspace_size in kernel_backward.h; measured
// to the byte in fp32 at width 64.
std::int64_t backward_workspace(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const auto width = std::max(q.size(3), v.size(3));
  const auto tile = backward_tile(traits().compute_capability, half(q), width);
  const auto heads = q.size(0) * q.size(1);
  const auto blocks = [](std::int64_t n, std::int64_t size) { return (n + size - 1) / size; };
  constexpr std::int64_t lock = 16;
  auto bytes = blocks(q.size(2), tile.queries) * blocks(q.size(3), tile.keys) * (lock + 4 * tile.queries * tile.keys);
  if (half(q) && width > tile.queries) {
    const auto splits = std::max<std::int64_t>(1, std::min(blocks(k.size(2), tile.keys), 200 / heads));
    bytes += 4 * splits * tile.keys * (round_up(q.size(3), tile.queries) + round_up(v.size(3), tile.queries));
  }
  return heads * round_up(bytes, 16);
}

// What each query's row of grad_out * out sums to: half precision leaves it to the kernel.
at::Tensor backward_delta(const Call& call, const at::Tensor& q, const at::Tensor& v) {
  if (half(q)) return call.empty({q.size(0), q.size(1), q.size(2)}, at::kFloat);
  const auto product = heads_inside(q, v.size(3));
  const auto sums = call.empty({q.size(0), q.size(2), q.size(1)}, at::kFloat);
  return call.empty({q.size(0), q.size(1), q.size(2)}, at::kFloat);
}

// Rows of a multiple of 16.
at::Tensor bias_gradient(const Call& call) {
  auto sizes = call.tensor(4).sizes().vec();
  const auto last = sizes.back();
  sizes.back() = round_up(last, 16);
  return call.empty(sizes, call.tensor(4).scalar_type()).slice(-1, 0, last);
}

// …_efficient_attention_backward(grad_out, q, k, v, attn_bias, out, logsumexp, seed, offset, dropout_p, mask, …)
void efficient_backward(Call& call) {
  if (!call.has(0)) return call.returns({at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()});
  const auto& q = call.tensor(1);
  auto dq = heads_inside(q, q.size(3));
  auto dk = heads_inside(call.tensor(2), call.tensor(2).size(3));
  auto dv = heads_inside(call.tensor(3), call.tensor(3).size(3));
  const auto bias = call.has(4) && call.flags(10)[3] ? bias_gradient(call) : at::Tensor();
  const auto delta = backward_delta(call, q, call.tensor(3));
  const auto workspace = call.scratch(backward_workspace(q, call.tensor(2), call.tensor(3)));
  call.returns({dq, dk, dv, bias});
}

// _efficient_attention_backward(grad_out, q, k, v, bias, out, …, bias_requires_grad at 15, shared_storage_dqdkdv at 19)
void efficient_by_length_backward(Call& call) {
  const auto& q = call.tensor(1);
  at::Tensor gradients[3];
  if (call.flag(19)) {
    const auto together = call.empty({q.size(0), q.size(1), 3, q.size(2), q.size(3)}, q.scalar_type());
    for (std::int64_t i = 0; i < 3; ++i) gradients[i] = together.select(2, i);
  } else {
    for (std::size_t i = 0; i < 3; ++i) gradients[i] = call.empty_like(call.tensor(1 + i));
  }
  const auto bias = call.has(4) && call.flag(15) ? bias_gradient(call) : at::Tensor();
  const auto heads = [&](std::size_t argument) { return call.tensor(argument).transpose(1, 2); };
  const auto delta = backward_delta(call, heads(1), heads(3));
  const auto workspace = call.scratch(backward_workspace(heads(1), heads(2), heads(3)));
  call.returns({gradients[0], gradients[1], gradients[2], bias});
}

// _masked_softmax(self, mask, …) and _masked_softmax_backward(grad_output, output, mask, …)
void masked_softmax(Call& call) {
  const auto input = call.tensor(0).contiguous();
  call.returns({call.empty(input.sizes(), input.scalar_type())});
}

// _scaled_dot_product_cudnn_attention(q, k, v, attn_bias, compute_log_sumexp, …): laid out as q is.
void cudnn_attention(Call& call) {
  const auto& q = call.tensor(0);
  auto seed = call.empty({}, at::kLong);
  auto offset = call.empty({}, at::kLong);
  const auto width = call.tensor(2).size(3);
  auto output = q.stride(1) < q.stride(2) ? heads_inside(q, width)
                                          : call.empty({q.size(0), q.size(1), q.size(2), width}, q.scalar_type());
  at::Tensor logsumexp;
  if (call.flag(4)) logsumexp = call.empty({q.size(0), q.size(1), q.size(2), 1}, at::kFloat);
  call.returns(
      {output, logsumexp, at::Tensor(), at::Tensor(), q.size(2), call.tensor(1).size(2), seed, offset, at::Tensor()});
}

void cudnn_attention_backward(Call& call) {
  const auto& q = call.tensor(1);
  auto dq = call.empty_like(q);
  auto dk = call.empty_like(call.tensor(2));
  auto dv = call.empty_like(call.tensor(3));
  // The plan keeps a row sum per query and dq in fp32.
  const auto bound = q.numel() * 4 + q.size(0) * q.size(1) * q.size(2) * 4;
  static_cast<void>(call.scratch(bound, Confidence::estimate, 0, 2 * bound));
  call.returns({dq, dk, dv});
}

bool flash_fits(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool masked) {
  return half(q) && traits().compute_capability >= 80 && !masked && q.dim() == 4 && q.size(-1) <= 256 &&
         q.size(-1) == k.size(-1) && q.size(-1) == v.size(-1) && q.size(-1) % 8 == 0;
}

bool cudnn_preferred(const at::Tensor& q, const at::Tensor& v) {
  const int capability = traits().compute_capability;
  return (capability == 90 || capability == 100) && half(q) && q.dim() == 4 && q.size(-1) % 8 == 0 &&
         q.size(-1) <= 128 && v.size(-1) == q.size(-1) && q.size(2) > 1;
}

bool efficient_fits(const at::Tensor& q, const at::Tensor& v) {
  const std::int64_t step = half(q) ? 8 : 4;
  return q.scalar_type() != at::kDouble && q.dim() == 4 && q.size(-1) % step == 0 && v.size(-1) % step == 0;
}

}  // namespace

// Wide tiles want more shared memory than most GPUs have.
Tile backward_tile(int compute_capability, bool half, std::int64_t width) {
  const bool roomy = compute_capability == 80 || compute_capability == 90 || compute_capability == 100;
  if (width <= 64 || !roomy) return {};
  if (half && width > 96 && width <= 128) return {128, 128};
  return {128, 64};
}

// Source: aten/src/ATen/native/transformers/cuda/sdp_utils.cpp, with the default order of preference.
std::int64_t choose_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                              const std::optional<at::Tensor>& mask, double, bool, std::optional<double>,
                              bool grouped) {
  enum Backend : std::int64_t { math = 0, flash = 1, efficient = 2, cudnn = 3 };
  const bool masked = mask && mask->defined();
  const bool same_heads = q.dim() == 4 && k.dim() == 4 && q.size(1) == k.size(1);
  const auto& context = at::globalContext();
  if (q.dim() != 4 || (!same_heads && !grouped)) return math;
  if (context.userEnabledCuDNNSDP() && cudnn_preferred(q, v)) return cudnn;
  if (context.userEnabledFlashSDP() && flash_fits(q, k, v, masked)) return flash;
  if (context.userEnabledMemEfficientSDP() && same_heads && efficient_fits(q, v)) return efficient;
  return math;
}

void add_attention(Table& table) {
  constexpr auto source = "aten/src/ATen/native/transformers/cuda/attention.cu";
  constexpr auto backward = "aten/src/ATen/native/transformers/cuda/attention_backward.cu";
  table.rule("_scaled_dot_product_flash_attention", &flash, source);
  table.rule("_scaled_dot_product_flash_attention_backward", &flash_backward, backward);
  table.rule("_scaled_dot_product_efficient_attention", &efficient, source);
  table.rule("_scaled_dot_product_efficient_attention_backward", &efficient_backward, backward);
  table.rule("_flash_attention_forward", &flash_by_length, source);
  table.rule("_flash_attention_backward", &flash_by_length_backward, backward);
  table.rule("_efficient_attention_forward", &efficient_by_length, source);
  table.rule("_efficient_attention_backward", &efficient_by_length_backward, backward);
  table.rule("_masked_softmax _masked_softmax_backward", &masked_softmax, "aten/src/ATen/native/cuda/SoftMax.cu");
  table.rule("_scaled_dot_product_cudnn_attention", &cudnn_attention, "aten/src/ATen/native/cudnn/MHA.cpp");
  table.rule("_scaled_dot_product_cudnn_attention_backward", &cudnn_attention_backward,
             "aten/src/ATen/native/cudnn/MHA.cpp; the plan's workspace is cuDNN's choice", Confidence::estimate);
}

}  // namespace athanor::rehearse::phantom

// bench_optimizers SHAPES(a|b|c) KIND(adamw|sgd) THREADS ROUNDS: one step's time of ours and of the C++ peers,
// interleaved on the same parameters and gradients; prints {"name": [milliseconds, one a round], …}.
// bench/optimizers.py adds Python's.
#include <omp.h>
#include <torch/torch.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "athanor/optim/Adam.h"
#include "athanor/optim/SGD.h"

namespace {

using Tensors = std::vector<at::Tensor>;

std::vector<std::vector<std::int64_t>> resnet50() {
  std::vector<std::vector<std::int64_t>> shapes;
  const auto conv = [&](std::int64_t out, std::int64_t in, std::int64_t k) {
    shapes.push_back({out, in, k, k});
    shapes.push_back({out});
    shapes.push_back({out});
  };
  conv(64, 3, 7);
  std::int64_t in = 64;
  const int blocks[] = {3, 4, 6, 3};
  for (int stage = 0; stage < 4; ++stage) {
    const std::int64_t width = 64LL << stage;
    for (int block = 0; block < blocks[stage]; ++block) {
      conv(width, in, 1);
      conv(width, width, 3);
      conv(4 * width, width, 1);
      if (block == 0) conv(4 * width, in, 1);
      in = 4 * width;
    }
  }
  shapes.push_back({1000, 2048});
  shapes.push_back({1000});
  return shapes;
}

std::vector<std::vector<std::int64_t>> shapes_of(const std::string& name) {
  if (name == "a") return std::vector<std::vector<std::int64_t>>(1000, {1024});
  if (name == "b") return resnet50();
  return std::vector<std::vector<std::int64_t>>(8, {1 << 22});
}

Tensors like(const Tensors& tensors, double value) {
  Tensors result;
  for (const auto& tensor : tensors) result.push_back(at::full_like(tensor.detach(), value));
  return result;
}

// The loop one would write by hand: all tensors end to end, an equal span of elements for each thread.
template <class Body>
void by_hand(const Tensors& params, std::int64_t total, Body body) {
#pragma omp parallel
  {
    const std::int64_t threads = omp_get_num_threads();
    const std::int64_t thread = omp_get_thread_num();
    std::int64_t begin = total * thread / threads;
    const std::int64_t end = total * (thread + 1) / threads;
    std::int64_t offset = 0;
    for (std::size_t i = 0; i < params.size() && begin < end; ++i) {
      const std::int64_t size = params[i].numel();
      if (begin < offset + size) {
        const std::int64_t stop = std::min(end, offset + size);
        body(i, begin - offset, stop - offset);
        begin = stop;
      }
      offset += size;
    }
  }
}

float* data(const at::Tensor& tensor) {
  return static_cast<float*>(tensor.unsafeGetTensorImpl()->mutable_data());
}

struct Contender {
  std::string name;
  std::function<void()> step;
};

constexpr float lr = 1e-5F;

std::vector<Contender> adamw(const Tensors& params, const Tensors& grads, std::int64_t total) {
  std::vector<Contender> all;
  auto ours = std::make_shared<athanor::optim::AdamW>(params, athanor::optim::AdamWOptions{.lr = lr});
  all.push_back({"athanor", [ours] { ours->step(); }});
  auto torchs = std::make_shared<torch::optim::AdamW>(params, torch::optim::AdamWOptions(lr));
  all.push_back({"torch::optim", [torchs] { torchs->step(); }});
  auto m = like(params, 0);
  auto v = like(params, 0);
  Tensors steps(params.size());
  for (auto& step : steps) step = at::zeros({});
  all.push_back({"at::_fused_adamw_", [=]() mutable {
                   const at::NoGradGuard no_grad;
                   at::_foreach_add_(steps, 1);
                   at::_fused_adamw_(params, grads, m, v, Tensors{}, steps, lr, 0.9, 0.999, 1e-2, 1e-8, false, false);
                 }});
  auto hm = like(params, 0);
  auto hv = like(params, 0);
  auto count = std::make_shared<int>(0);
  all.push_back({"hand-written OpenMP loop", [=] {
                   ++*count;
                   const float step_size = lr / (1 - std::pow(0.9F, static_cast<float>(*count)));
                   const float bias2_root = std::sqrt(1 - std::pow(0.999F, static_cast<float>(*count)));
                   by_hand(params, total, [&](std::size_t i, std::int64_t begin, std::int64_t end) {
                     float* __restrict p = data(params[i]);
                     const float* __restrict g = data(grads[i]);
                     float* __restrict m1 = data(hm[i]);
                     float* __restrict m2 = data(hv[i]);
#pragma omp simd
                     for (std::int64_t k = begin; k < end; ++k) {
                       m1[k] += 0.1F * (g[k] - m1[k]);
                       m2[k] = 0.999F * m2[k] + 0.001F * g[k] * g[k];
                       p[k] = p[k] * (1 - lr * 1e-2F) - step_size * m1[k] / (std::sqrt(m2[k]) / bias2_root + 1e-8F);
                     }
                   });
                 }});
  // The same streams of memory with next to no arithmetic: what the machine's bandwidth allows.
  all.push_back({"memory bandwidth", [=] {
                   by_hand(params, total, [&](std::size_t i, std::int64_t begin, std::int64_t end) {
                     float* __restrict p = data(params[i]);
                     const float* __restrict g = data(grads[i]);
                     float* __restrict m1 = data(hm[i]);
                     float* __restrict m2 = data(hv[i]);
#pragma omp simd
                     for (std::int64_t k = begin; k < end; ++k) {
                       m1[k] += g[k] * 1e-6F;
                       m2[k] += g[k] * 1e-6F;
                       p[k] += g[k] * 1e-6F;
                     }
                   });
                 }});
  return all;
}

std::vector<Contender> sgd(const Tensors& params, const Tensors& grads, std::int64_t total) {
  std::vector<Contender> all;
  auto ours = std::make_shared<athanor::optim::SGD>(params, athanor::optim::SGDOptions{.lr = lr, .momentum = 0.9});
  all.push_back({"athanor", [ours] { ours->step(); }});
  auto torchs = std::make_shared<torch::optim::SGD>(params, torch::optim::SGDOptions(lr).momentum(0.9));
  all.push_back({"torch::optim", [torchs] { torchs->step(); }});
  auto buffers = like(params, 0);
  all.push_back({"at::_fused_sgd_", [=]() mutable {
                   const at::NoGradGuard no_grad;
                   at::_fused_sgd_(params, grads, buffers, 0.0, 0.9, lr, 0.0, false, false, false);
                 }});
  auto hand = like(params, 0);
  all.push_back({"hand-written OpenMP loop", [=] {
                   by_hand(params, total, [&](std::size_t i, std::int64_t begin, std::int64_t end) {
                     float* __restrict p = data(params[i]);
                     const float* __restrict g = data(grads[i]);
                     float* __restrict b = data(hand[i]);
#pragma omp simd
                     for (std::int64_t k = begin; k < end; ++k) {
                       b[k] = 0.9F * b[k] + g[k];
                       p[k] -= lr * b[k];
                     }
                   });
                 }});
  return all;
}

double milliseconds(const std::function<void()>& step, int repeats) {
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < repeats; ++i) step();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count() / repeats;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: bench_optimizers a|b|c adamw|sgd THREADS ROUNDS\n");
    return 2;
  }
  at::set_num_threads(std::stoi(argv[3]));
  Tensors params;
  Tensors grads;
  std::int64_t total = 0;
  for (const auto& shape : shapes_of(argv[1])) {
    params.push_back(at::randn(shape).requires_grad_());
    params.back().mutable_grad() = at::randn(shape);
    grads.push_back(params.back().grad());
    total += params.back().numel();
  }
  const bool is_adamw = std::string(argv[2]) == "adamw";
  auto contenders = is_adamw ? adamw(params, grads, total) : sgd(params, grads, total);
  nlohmann::json times;
  const int repeats = std::string(argv[1]) == "a" ? 10 : 2;
  for (auto& each : contenders) each.step();
  for (int round = 0; round < std::stoi(argv[4]); ++round)
    for (auto& each : contenders) times[each.name].push_back(milliseconds(each.step, repeats));
  std::puts(times.dump().c_str());
}

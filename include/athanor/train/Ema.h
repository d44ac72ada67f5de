#pragma once
#include <torch/nn/module.h>

#include <string>
#include <utility>
#include <vector>

#include "athanor/memory/Release.h"
#include "athanor/store/Safetensors.h"

namespace athanor::train {

/// An exponential moving average of a model's weights: average <- decay · average + (1 − decay) · weights after every
/// optimizer step; buffers are taken as they are. Starts from the weights it is given. One pass over all tensors a
/// step. Source: Polyak and Juditsky, 1992; PyTorch's get_ema_multi_avg_fn.
class Ema {
 public:
  /// Throws std::invalid_argument unless 0 <= decay < 1.
  Ema(const torch::nn::Module& model, double decay);

  void update();

  /// The averaged weights by the model's names; live tensors.
  [[nodiscard]] store::NamedTensors weights() const;

  /// For memory::release: it keeps a handle of every weight, and the averages.
  [[nodiscard]] memory::Suspect suspect(std::string name = "the EMA") const;

  /// While it lives, the model computes with the average. No copies: the two exchange their memory, and exchange it
  /// back.
  class Applied {
   public:
    explicit Applied(Ema& ema);
    ~Applied();
    Applied(const Applied&) = delete;
    Applied& operator=(const Applied&) = delete;

   private:
    Ema& ema_;
  };

 private:
  void exchange();

  double decay_;
  std::vector<std::string> names_;
  std::vector<at::Tensor> weights_;  // the model's parameters
  std::vector<at::Tensor> averages_;
  std::vector<at::Tensor> buffers_;  // the model's
  std::vector<at::Tensor> buffer_copies_;
};

}  // namespace athanor::train

#pragma once
#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <cstdint>
#include <memory>

#include "athanor/nn/Blocks.h"

namespace athanor::models {

struct VitOptions {
  std::int64_t channels = 3;
  std::int64_t image = 224;  ///< Height and width; divisible by patch.
  std::int64_t patch = 16;
  std::int64_t classes = 10;
  std::int64_t layers = 12;
  std::int64_t heads = 12;
  std::int64_t width = 768;  ///< Divisible by heads.
  std::int64_t mlp = 3072;   ///< Width inside each block's feed-forward part.
  double dropout = 0.0;      ///< On embeddings and both residual branches.
};

/// A vision transformer after Dosovitskiy et al., "An Image is Worth 16x16 Words", 2020; the defaults are ViT-B/16.
/// [N, channels, image, image] -> [N, classes]. Parameters are named as torchvision's: class_token, conv_proj,
/// encoder.pos_embedding, encoder.layers.encoder_layer_I.{ln_1,self_attention,ln_2,mlp}, encoder.ln, heads.head.
class VitImpl : public torch::nn::Module, public nn::Blocks {
 public:
  /// Throws std::invalid_argument if image is not divisible by patch, or width by heads.
  explicit VitImpl(VitOptions options);
  at::Tensor forward(at::Tensor x);
  [[nodiscard]] std::int64_t block_count() const override { return options_.layers; }

 private:
  struct Parts;
  VitOptions options_;
  std::shared_ptr<Parts> parts_;
};
TORCH_MODULE(Vit);

}  // namespace athanor::models

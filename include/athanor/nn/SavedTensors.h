#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>

namespace athanor::nn {

/// Gives a saved tensor back when backward asks for it; may be asked more than once (retain_graph).
using Unpack = std::function<at::Tensor()>;
/// Takes a tensor that autograd is about to save and says how it is given back. Called without gradients; must keep
/// `tensor.detach()`, never the tensor itself (a saved output would keep its own graph alive for ever).
using Pack = std::function<Unpack(const at::Tensor& tensor)>;

/// While one is alive, `pack` decides what becomes of every tensor that autograd saves on this thread; the innermost
/// scope counts. Python's torch.autograd.graph.saved_tensors_hooks in C++. Made and destroyed on the same thread.
class SavedTensorScope {
 public:
  /// Throws athanor::Error if another autograd engine (a Python interpreter's) has replaced ours.
  explicit SavedTensorScope(Pack pack);
  ~SavedTensorScope();
  SavedTensorScope(const SavedTensorScope&) = delete;
  SavedTensorScope& operator=(const SavedTensorScope&) = delete;

  /// Saves `tensor` as autograd would here: through the innermost scope, or as it is where there is none.
  static Unpack save(const at::Tensor& tensor);
};

}  // namespace athanor::nn

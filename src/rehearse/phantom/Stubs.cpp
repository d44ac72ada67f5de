// Native functions of LibTorch that its CUDA build runs too end in a dispatch stub; here its CUDA kernel does nothing.
#include <ATen/native/ConvUtils.h>
#include <ATen/native/DispatchStub.h>
#include <ATen/native/transformers/attention.h>

#include <array>
#include <tuple>

#include "rehearse/phantom/Attention.h"
#include "rehearse/phantom/Convolutions.h"
#include "rehearse/phantom/Install.h"
#include "rehearse/phantom/Recurrent.h"
#include "rehearse/phantom/Sparse.h"

namespace athanor::rehearse::phantom {

void install_stubs(bool on) {
  namespace native = at::native;
  native::_fused_sdp_choice_stub.set_cuda_dispatch_ptr(on ? &choose_attention : nullptr);
  native::cudnn_convolution_backward_stub.set_cuda_dispatch_ptr(on ? &cudnn_backward : nullptr);
  native::cudnn_convolution_transpose_backward_stub.set_cuda_dispatch_ptr(on ? &cudnn_transpose_backward : nullptr);
  native::conv_depthwise2d_backward_stub.set_cuda_dispatch_ptr(on ? &depthwise2d_backward : nullptr);
  native::conv_depthwise3d_backward_stub.set_cuda_dispatch_ptr(on ? &depthwise3d_backward : nullptr);
  native::slow_conv_dilated2d_backward_stub.set_cuda_dispatch_ptr(on ? &dilated_backward : nullptr);
  native::slow_conv_dilated3d_backward_stub.set_cuda_dispatch_ptr(on ? &dilated_backward : nullptr);
  install_recurrent_stubs(on);
  install_sparse_stubs(on);
}

}  // namespace athanor::rehearse::phantom

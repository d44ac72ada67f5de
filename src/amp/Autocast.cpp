#include "athanor/amp/Autocast.h"

#include <ATen/autocast_mode.h>

#include <stdexcept>
#include <string>

namespace athanor::amp {

Autocast::Autocast(c10::Device device, at::ScalarType dtype, bool keep_casts)
    : device_(device.type()),
      was_enabled_(at::autocast::is_autocast_enabled(device_)),
      was_caching_(at::autocast::is_autocast_cache_enabled()),
      was_dtype_(at::autocast::get_autocast_dtype(device_)) {
  if (dtype != at::kFloat && dtype != at::kBFloat16 && dtype != at::kHalf)
    throw std::invalid_argument(std::string("amp::Autocast: dtype must be Float, BFloat16 or Half, got ") +
                                c10::toString(dtype));
  at::autocast::set_autocast_enabled(device_, dtype != at::kFloat);
  if (dtype != at::kFloat) at::autocast::set_autocast_dtype(device_, dtype);
  at::autocast::set_autocast_cache_enabled(keep_casts);
  at::autocast::increment_nesting();
}

Autocast::~Autocast() {
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  at::autocast::set_autocast_cache_enabled(was_caching_);
  at::autocast::set_autocast_dtype(device_, was_dtype_);
  at::autocast::set_autocast_enabled(device_, was_enabled_);
}

}  // namespace athanor::amp

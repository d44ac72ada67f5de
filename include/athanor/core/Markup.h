#pragma once
#include <string>
#include <string_view>

namespace athanor::core {

/// Text as HTML and XML: & < > " ' written as references; control characters that XML forbids are left out.
std::string escaped(std::string_view text);

}  // namespace athanor::core

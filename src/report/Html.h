#pragma once
#include <string>

namespace athanor::report {

/// The text of a <script type="application/json"> element: JSON with every '<' as \u003c, so that nothing in it ends
/// the element.
std::string inside_script(std::string json);

}  // namespace athanor::report

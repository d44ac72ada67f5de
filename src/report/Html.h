#pragma once
#include <string>
#include <string_view>

namespace athanor::report {

/// Text as HTML: & < > " ' written as references.
std::string escaped(std::string_view text);

/// The text of a <script type="application/json"> element: JSON with every '<' as \u003c, so that nothing in it ends
/// the element.
std::string inside_script(std::string json);

}  // namespace athanor::report

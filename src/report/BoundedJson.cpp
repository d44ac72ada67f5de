#include "report/BoundedJson.h"

#include <string_view>

#include "athanor/core/AtomicFile.h"
#include "athanor/core/Error.h"

namespace athanor::report {
namespace {

constexpr int kDeepest = 64;

bool too_deep(std::string_view text) {
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted && c == '\\')
      ++i;
    else if (c == '"')
      quoted = !quoted;
    else if (!quoted && (c == '{' || c == '['))
      ++depth;
    else if (!quoted && (c == '}' || c == ']'))
      --depth;
    if (depth > kDeepest) return true;
  }
  return false;
}

}  // namespace

nlohmann::json read_json(const std::filesystem::path& path, std::size_t limit) {
  try {
    const std::string text = core::read_file(path, limit);
    if (too_deep(text)) return nlohmann::json::value_t::discarded;
    return nlohmann::json::parse(text, nullptr, false);
  } catch (const Error&) {
    return nlohmann::json::value_t::discarded;
  }
}

}  // namespace athanor::report

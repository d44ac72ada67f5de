#include "report/Html.h"

namespace athanor::report {

std::string inside_script(std::string json) {
  for (auto at = json.find('<'); at != std::string::npos; at = json.find('<', at)) json.replace(at, 1, "\\u003c");
  return json;
}

}  // namespace athanor::report

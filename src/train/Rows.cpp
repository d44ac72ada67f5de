#include "train/Rows.h"

namespace athanor::train {

std::vector<Row> rows_of(const Event& event) {
  std::vector<Row> rows;
  if (event.kind != Event::Kind::step && event.kind != Event::Kind::validated) return rows;
  for (const auto& [metric, value] : event.metrics) {
    const auto underscore = metric.find('_');
    if (underscore == std::string::npos) continue;
    rows.push_back({metric.substr(0, underscore), metric.substr(underscore + 1), value});
  }
  if (event.kind == Event::Kind::step) {
    rows.push_back({"train", "lr", event.lr});
    rows.push_back({"train", "items_per_second", event.items_per_second});
  }
  return rows;
}

}  // namespace athanor::train

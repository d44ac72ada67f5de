#pragma once
#include <string>
#include <vector>

#include "athanor/train/Event.h"

namespace athanor::train {

/// One value of an event, as logs keep it.
struct Row {
  std::string split, name;
  double value;
};

/// The values that an event brings to a log; none for ticks and notes.
std::vector<Row> rows_of(const Event& event);

}  // namespace athanor::train

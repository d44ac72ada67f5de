#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "athanor/core/Terminal.h"
#include "athanor/gpu/Nvml.h"
#include "athanor/gpu/Table.h"

namespace athanor::gpu {

/// A reading for people: one line a card that fits 80 columns (bars on a terminal), MIG parts, processes, and what the
/// figures mean. More stands in the same line where the terminal is wide.
std::string describe(const Reading& reading, const core::Terminal& terminal);

/// The table of GPUs for people, one line each.
std::string describe(const Table& table, const core::Terminal& terminal);

/// Everything, sizes in bytes; what is not known is null. Keys: driver, cuda, message, gpus.
nlohmann::json to_json(const Reading& reading);
nlohmann::json to_json(const Table& table);

}  // namespace athanor::gpu

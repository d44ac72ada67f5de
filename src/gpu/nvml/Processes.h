#pragma once
#include <vector>

#include "gpu/nvml/Api.h"

namespace athanor::gpu::nvml {

struct ProcessRecord {
  Count pid = 0;
  Long used_bytes = kLongNotAvailable;
  Count gpu_instance = kNoInstance;
};

/// The processes a query (compute or graphics) reports. The size of a record is measured, not assumed: it is 16 bytes
/// of the first version, 24 of the second and third, but 32 in drivers 535.43 to 535.86, which changed the third
/// version's record without a new name. Returns the library's result.
Return list_processes(Return (*query)(Device, Count*, void*), Device device, std::vector<ProcessRecord>& processes);

}  // namespace athanor::gpu::nvml

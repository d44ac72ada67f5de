// A stand-in for libcudnn: the entry points that athanor-cudnn uses, and plans whose workspaces say what was asked.
// Bytes of a plan: pass + rank + 8 MiB if channels-last + 512 × channels of the input + channels of the output.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

namespace {

struct Descriptor {
  int kind = 0;
  std::map<int, std::string> values;
  std::map<int, const Descriptor*> parts;
  std::vector<int> notes;
  std::int64_t workspace = 0;
  bool plannable = true;
};

enum { engine = 2, configuration = 3, heuristics = 4, plan = 5, forward = 10, filter = 11, data = 12, device = 38 };
constexpr int descriptor_type = 15;
constexpr int bad_parameter = 2000;
constexpr std::int64_t mib = 1 << 20;
std::string last_error;

std::string mode() {
  const char* text = std::getenv("STAND_IN");
  return text != nullptr ? text : "";
}

int fail(const char* why) {
  last_error = why;
  return bad_parameter;
}

std::int64_t integer(const Descriptor& descriptor, int attribute, std::size_t index) {
  std::int64_t value = 0;
  std::memcpy(&value, descriptor.values.at(attribute).data() + index * sizeof value, sizeof value);
  return value;
}

// Every pass numbers its tensors in its own way.
std::int64_t base_of(const Descriptor& operation) {
  const bool is_forward = operation.kind == forward;
  const bool is_data = operation.kind == data;
  const auto& input = *operation.parts.at(is_forward ? 704 : is_data ? 710 : 716);
  const auto& output = *operation.parts.at(is_forward ? 705 : is_data ? 711 : 717);
  constexpr int dimensions = 902;
  constexpr int strides = 903;
  const bool channels_last = integer(input, strides, 1) == 1 && integer(input, dimensions, 1) > 1;
  return (is_forward ? 16
          : is_data  ? 32
                     : 64) *
             mib +
         (channels_last ? 8 * mib : 0) + 512 * integer(input, dimensions, 1) + integer(output, dimensions, 1);
}

// The instant heuristics: down-converting, tensor cores, nondeterministic, impossible, plain. The fallback: no scratch.
std::vector<Descriptor> results_of(const Descriptor& asked) {
  const auto base = base_of(*asked.parts.at(201)->parts.at(801));
  const bool huge = mode() == "huge";
  int instant = 0;
  std::memcpy(&instant, asked.values.at(200).data(), sizeof instant);
  std::vector<Descriptor> results;
  const auto add = [&](std::int64_t workspace, std::vector<int> notes, bool plannable = true) {
    results.push_back({configuration, {}, {}, std::move(notes), workspace, plannable});
  };
  if (instant != 0) {
    add(0, {});
    return results;
  }
  add(base + 4 * mib, {1});
  add(huge ? mib << 20 : base + 3 * mib, {9, 0});
  add(huge ? 10 * mib << 10 : base + 2 * mib, {4});
  add(base + 5 * mib, {}, false);
  add(base + mib, {});
  return results;
}

}  // namespace

extern "C" {

std::size_t cudnnGetVersion() {
  return mode() == "old" ? 90100 : 92600;
}
const char* cudnnGetErrorString(int) {
  return "CUDNN_STATUS_BAD_PARAM";
}
void cudnnGetLastErrorString(char* text, std::size_t room) {
  last_error.copy(text, room - 1);
}
int cudnnBackendCreateDescriptor(int kind, void** made) {
  *made = new Descriptor{kind, {}, {}, {}, 0, true};
  return 0;
}
int cudnnBackendDestroyDescriptor(void* gone) {
  delete static_cast<Descriptor*>(gone);
  return 0;
}

int cudnnBackendSetAttribute(void* to, int attribute, int type, std::int64_t count, const void* values) {
  auto& descriptor = *static_cast<Descriptor*>(to);
  if (type == descriptor_type) {
    const Descriptor* part = nullptr;
    std::memcpy(&part, values, sizeof part);
    descriptor.parts[attribute] = new Descriptor(*part);  // leaked: this process answers a few questions
    return 0;
  }
  const auto size = type == 3 || type == 5 ? 8 : type == 24 ? 1 : 4;
  descriptor.values[attribute].assign(static_cast<const char*>(values), static_cast<std::size_t>(count * size));
  return 0;
}

int cudnnBackendFinalize(void* made) {
  auto& descriptor = *static_cast<Descriptor*>(made);
  if (descriptor.kind == device && descriptor.values[2702].find("\"deviceVer\":860") == std::string::npos)
    return fail("not the GPU of the tests");
  if (descriptor.kind == heuristics && mode() == "crash") std::abort();
  if (descriptor.kind == heuristics && mode() == "refuse") return fail("no such convolution\nhere");
  if (descriptor.kind == heuristics && descriptor.parts.count(204) == 0) return fail("no device");
  if (descriptor.kind == plan && !descriptor.parts.at(401)->plannable) return fail("cannot be planned");
  return 0;
}

int cudnnBackendGetAttribute(void* of, int attribute, int, std::int64_t room, std::int64_t* count, void* values) {
  const auto& descriptor = *static_cast<Descriptor*>(of);
  if (attribute == 202) {
    const auto results = results_of(descriptor);
    *count = static_cast<std::int64_t>(results.size());
    if (mode() == "endless") *count = std::int64_t{1} << 40;
    for (std::int64_t i = 0; i < room && i < *count; ++i)
      *static_cast<Descriptor**>(values)[i] = results[static_cast<std::size_t>(i)];
  } else if (attribute == 300) {
    *count = 1;
    if (room > 0) *static_cast<Descriptor**>(values)[0] = {engine, {}, {}, descriptor.notes, 0, true};
  } else if (attribute == 1303) {
    *count = static_cast<std::int64_t>(descriptor.notes.size());
    std::memcpy(values, descriptor.notes.data(), descriptor.notes.size() * sizeof(int));
  } else if (attribute == 402) {
    *count = 1;
    std::memcpy(values, &descriptor.parts.at(401)->workspace, sizeof(std::int64_t));
  } else {
    return fail("unknown attribute");
  }
  return 0;
}

}  // extern "C"

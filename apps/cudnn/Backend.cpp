#include "Backend.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

namespace athanor::cudnn {
namespace {

template <typename Function>
void find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (function == nullptr) throw std::runtime_error(std::string("has no ") + name + ": not a cuDNN 9");
}

}  // namespace

// Never unloaded: the library's own threads may outlive this.
Library::Library(const std::string& path) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw std::runtime_error(dlerror());
  find(library, "cudnnGetVersion", version_);
  find(library, "cudnnGetErrorString", error_string_);
  find(library, "cudnnGetLastErrorString", last_error_);
  find(library, "cudnnBackendCreateDescriptor", create_);
  find(library, "cudnnBackendDestroyDescriptor", destroy_);
  find(library, "cudnnBackendSetAttribute", set_);
  find(library, "cudnnBackendGetAttribute", get_);
  find(library, "cudnnBackendFinalize", finalize_);
  // Before 9.8 a plan takes a real device.
  if (version_() < 90800)
    throw std::runtime_error("cuDNN " + version() + " cannot plan without a GPU, which it can from 9.8 on");
}

std::string Library::version() const {
  const auto number = version_();
  return std::to_string(number / 10000) + '.' + std::to_string(number / 100 % 100) + '.' + std::to_string(number % 100);
}

void Library::check(int status, const char* doing) const {
  if (status == 0) return;
  std::array<char, 1024> text{};
  last_error_(text.data(), text.size());
  text.back() = 0;
  const std::string reason = text.data();
  throw std::runtime_error(std::string(doing) + ": " + error_string_(status) +
                           (reason.empty() ? "" : " (" + reason + ")"));
}

Descriptor::Descriptor(const Library& library, Kind kind) : library_(&library) {
  library.check(library.create_(static_cast<int>(kind), &raw_), "making a descriptor");
}

Descriptor::~Descriptor() {
  if (raw_ != nullptr) library_->destroy_(raw_);
}

Descriptor::Descriptor(Descriptor&& other) noexcept
    : library_(other.library_), raw_(std::exchange(other.raw_, nullptr)) {}

Descriptor& Descriptor::set(Attribute attribute, Type type, std::int64_t count, const void* values) {
  library_->check(library_->set_(raw_, static_cast<int>(attribute), static_cast<int>(type), count, values),
                  "describing the convolution");
  return *this;
}

Descriptor& Descriptor::set(Attribute attribute, const std::vector<std::int64_t>& values) {
  return set(attribute, Type::int64, static_cast<std::int64_t>(values.size()), values.data());
}

Descriptor& Descriptor::set_text(Attribute attribute, const std::string& characters) {
  return set(attribute, Type::characters, static_cast<std::int64_t>(characters.size()), characters.data());
}

Descriptor& Descriptor::set(Attribute attribute, const Descriptor& part) {
  return set(attribute, Type::descriptor, 1, &part.raw_);
}

Descriptor& Descriptor::finalize() {
  library_->check(library_->finalize_(raw_), "planning");
  return *this;
}

std::int64_t Descriptor::integer(Attribute attribute) const {
  std::int64_t count = 0;
  std::int64_t value = 0;
  library_->check(library_->get_(raw_, static_cast<int>(attribute), static_cast<int>(Type::int64), 1, &count, &value),
                  "asking");
  return value;
}

std::vector<NumericalNote> Descriptor::notes() const {
  std::array<NumericalNote, 64> notes{};
  std::int64_t count = 0;
  library_->check(library_->get_(raw_, static_cast<int>(Attribute::engine_numerical_notes),
                                 static_cast<int>(Type::numerical_note), notes.size(), &count, notes.data()),
                  "asking");
  const auto known = std::clamp<std::int64_t>(count, 0, notes.size());
  return {notes.begin(), notes.begin() + known};
}

std::vector<Descriptor> Descriptor::parts(Attribute attribute, Kind kind) const {
  constexpr std::int64_t sane = 10000;
  std::int64_t count = 0;
  const auto get = [&](std::int64_t room, void** raw) {
    library_->check(
        library_->get_(raw_, static_cast<int>(attribute), static_cast<int>(Type::descriptor), room, &count, raw),
        "asking");
    if (count < 0 || count > sane) throw std::runtime_error("claims " + std::to_string(count) + " configurations");
  };
  get(0, nullptr);
  std::vector<Descriptor> parts;
  std::vector<void*> raw;
  for (std::int64_t i = 0; i < count; ++i) raw.push_back(parts.emplace_back(*library_, kind).raw_);
  if (count == 0) return parts;
  get(count, raw.data());
  while (std::cmp_greater(parts.size(), count)) parts.pop_back();
  return parts;
}

}  // namespace athanor::cudnn

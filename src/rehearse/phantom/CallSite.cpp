#include "rehearse/phantom/CallSite.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <fmt/format.h>
#include <torch/csrc/profiler/unwind/unwind.h>

#include <algorithm>
#include <array>
#include <exception>
#include <filesystem>
#include <string_view>

namespace athanor::rehearse::phantom {
namespace {

constexpr int deepest = 64;

// LibTorch's libraries, the C++ and C runtimes: never where a program decides.
bool of_a_library(void* address) {
  Dl_info info{};
  if (dladdr(address, &info) == 0 || info.dli_fname == nullptr) return true;
  const auto file = std::filesystem::path(info.dli_fname).filename().string();
  static constexpr std::array<std::string_view, 6> libraries{"libtorch", "libc10",  "libstdc++",
                                                             "libc.",    "libgomp", "ld-"};
  return std::any_of(libraries.begin(), libraries.end(), [&](auto prefix) { return file.starts_with(prefix); });
}

// What our rules and LibTorch's headers leave in the program itself.
bool of_the_machinery(std::string_view function) {
  static constexpr std::array<std::string_view, 5> spaces{
      "athanor::rehearse::phantom::", "c10::", "at::", "torch::", "std::"};
  const auto name = function.substr(0, function.find('('));
  return std::any_of(spaces.begin(), spaces.end(), [&](auto space) {
    return name.starts_with(space) || name.find(fmt::format(" {}", space)) != std::string_view::npos;
  });
}

std::string text_of(const torch::unwind::Frame& frame) {
  // "auto main::{lambda(torch::Device, auto:1&)#1}::operator()" is in main.
  auto function = frame.funcname.substr(0, std::min(frame.funcname.find('('), frame.funcname.find("::{lambda")));
  if (function.starts_with("auto ")) function.erase(0, 5);
  if (frame.filename.empty() || frame.filename.starts_with("??") || frame.lineno == 0) return function;
  return fmt::format("{}:{} in {}", std::filesystem::path(frame.filename).filename().string(), frame.lineno, function);
}

}  // namespace

std::vector<void*> stack_now() {
  std::vector<void*> stack(deepest);
  stack.resize(static_cast<std::size_t>(backtrace(stack.data(), deepest)));
  return stack;
}

std::string call_site(const std::vector<void*>& stack) {
  std::vector<void*> own;
  std::copy_if(stack.begin(), stack.end(), std::back_inserter(own),
               [](void* address) { return !of_a_library(address); });
  if (own.empty()) return "";
  try {
    for (const auto& frame : torch::unwind::symbolize(own, torch::unwind::Mode::addr2line))
      if (!frame.funcname.empty() && !frame.funcname.starts_with("??") && !of_the_machinery(frame.funcname))
        return text_of(frame);
  } catch (const std::exception&) {
    // No addr2line, or a program stripped of its names: the operator's name has to do.
  }
  return "";
}

}  // namespace athanor::rehearse::phantom

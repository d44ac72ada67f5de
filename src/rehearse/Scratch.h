#pragma once
#include <string>

namespace athanor::rehearse {

/// What kernels take inside, by GPU architecture and PyTorch release, with source and confidence: a section of
/// Markdown.
std::string scratch_section();

}  // namespace athanor::rehearse

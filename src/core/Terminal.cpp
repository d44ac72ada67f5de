#include "athanor/core/Terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iostream>

namespace athanor::core {
namespace {

bool set_and_not_empty(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0';
}

// The locale variables in the order POSIX gives them: the first that is set counts.
bool locale_is_utf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    if (!set_and_not_empty(name)) continue;
    std::string value = std::getenv(name);
    std::transform(value.begin(), value.end(), value.begin(), [](char c) { return c >= 'a' ? char(c - 32) : c; });
    return value.find("UTF-8") != std::string::npos || value.find("UTF8") != std::string::npos;
  }
  return false;
}

struct CodePoint {
  std::uint32_t value = 0;
  std::size_t bytes = 1;
  bool valid = false;
};

CodePoint decode(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1, true};
  const std::size_t bytes = lead >= 0xF0 && lead < 0xF5 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC2 ? 2 : 1;
  if (bytes == 1 || lead >= 0xF5 || text.size() < bytes) return {};
  std::uint32_t value = lead & (0xFFu >> (bytes + 1));
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xC0u) != 0x80u) return {};
    value = value << 6 | (byte(i) & 0x3Fu);
  }
  constexpr std::array<std::uint32_t, 5> least{0, 0, 0x80, 0x800, 0x10000};
  if (value < least[bytes] || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) return {};
  return {value, bytes, true};
}

// Combining marks take no cell, East Asian wide characters and emoji two: the ranges of Unicode's EastAsianWidth.txt,
// coarsely.
int cells(std::uint32_t c) {
  if ((c >= 0x300 && c < 0x370) || (c >= 0x200B && c < 0x2010) || (c >= 0xFE00 && c < 0xFE10)) return 0;
  const bool wide = (c >= 0x1100 && c < 0x1160) || (c >= 0x2E80 && c < 0xA4D0) || (c >= 0xAC00 && c < 0xD7A4) ||
                    (c >= 0xF900 && c < 0xFB00) || (c >= 0xFE30 && c < 0xFE70) || (c >= 0xFF00 && c < 0xFF61) ||
                    (c >= 0x1F300 && c < 0x1FB00) || (c >= 0x20000 && c < 0x40000);
  return wide ? 2 : 1;
}

// Bytes of an escape sequence at the front: CSI … final byte.
std::size_t escape_length(std::string_view text) {
  if (text.size() < 2 || text[0] != '\033' || text[1] != '[') return 0;
  std::size_t end = 2;
  while (end < text.size() && (text[end] < 0x40 || text[end] > 0x7E)) ++end;
  return std::min(end + 1, text.size());
}

}  // namespace

Terminal Terminal::of(int descriptor) {
  Terminal terminal;
  terminal.unicode = locale_is_utf8();
  const char* kind = std::getenv("TERM");
  const bool capable = kind != nullptr && std::strcmp(kind, "dumb") != 0;
  terminal.interactive = isatty(descriptor) == 1 && capable;
  terminal.colour = terminal.interactive && !set_and_not_empty("NO_COLOR");
  winsize size{};
  if (terminal.interactive && ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0) {
    terminal.columns = size.ws_col;
    terminal.rows = size.ws_row;
  }
  return terminal;
}

Terminal Terminal::of(const std::ostream& stream) {
  if (&stream == &std::cout) return of(STDOUT_FILENO);
  if (&stream == &std::cerr || &stream == &std::clog) return of(STDERR_FILENO);
  Terminal terminal;
  terminal.unicode = locale_is_utf8();
  return terminal;
}

std::string paint(std::string_view text, Ink ink, const Terminal& terminal) {
  if (!terminal.colour || ink == Ink::plain || text.empty()) return std::string(text);
  const char* code = "";
  switch (ink) {
    case Ink::plain:
      break;
    case Ink::strong:
      code = "1";
      break;
    case Ink::quiet:
      code = "2";
      break;
    case Ink::accent:
      code = "36";
      break;
    case Ink::good:
      code = "32";
      break;
    case Ink::warning:
      code = "33";
      break;
    case Ink::bad:
      code = "31";
      break;
  }
  return "\033[" + std::string(code) + "m" + std::string(text) + "\033[0m";
}

std::string bar(double fraction, int width, const Terminal& terminal) {
  if (width <= 0) return "";
  const double full = std::isnan(fraction) ? 0.0 : std::clamp(fraction, 0.0, 1.0) * width;
  std::string text;
  if (!terminal.unicode) {
    const int cells_full = static_cast<int>(std::lround(full));
    return std::string(static_cast<std::size_t>(cells_full), '#') +
           std::string(static_cast<std::size_t>(width - cells_full), '.');
  }
  constexpr std::array<const char*, 8> eighths{"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const int units = static_cast<int>(std::lround(full * 8));
  for (int i = 0; i < units / 8; ++i) text += "█";
  if (units % 8 != 0) text += eighths[static_cast<std::size_t>(units % 8)];
  for (int i = (units + 7) / 8; i < width; ++i) text += "░";
  return text;
}

int display_width(std::string_view text) {
  int width = 0;
  while (!text.empty()) {
    if (const auto escape = escape_length(text); escape > 0) {
      text.remove_prefix(escape);
      continue;
    }
    const CodePoint point = decode(text);
    width += point.valid ? cells(point.value) : 1;
    text.remove_prefix(point.bytes);
  }
  return width;
}

std::string clipped(std::string_view text, int width, const Terminal& terminal) {
  if (display_width(text) <= width) return std::string(text);
  if (width <= 0) return "";
  std::string kept;
  int used = 0;
  while (!text.empty()) {
    const CodePoint point = decode(text);
    const int size = point.valid ? cells(point.value) : 1;
    if (used + size > width - 1) break;
    kept += text.substr(0, point.bytes);
    used += size;
    text.remove_prefix(point.bytes);
  }
  return kept + (terminal.unicode ? "…" : "~");
}

std::string printable(std::string_view text) {
  std::string clean;
  while (!text.empty()) {
    const CodePoint point = decode(text);
    const bool control = point.value < 0x20 || (point.value >= 0x7F && point.value < 0xA0);
    if (point.valid && !control)
      clean += text.substr(0, point.bytes);
    else
      clean += '?';
    text.remove_prefix(point.bytes);
  }
  return clean;
}

}  // namespace athanor::core

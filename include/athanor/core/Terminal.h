#pragma once
#include <iosfwd>
#include <string>
#include <string_view>

namespace athanor::core {

/// What an output can show. Colour and bars only on a terminal, and no colour where NO_COLOR is set (no-color.org).
struct Terminal {
  bool interactive = false;  ///< A person looks at it: live lines, bars and colour make sense.
  bool colour = false;
  bool unicode = false;  ///< The locale's character set is UTF-8; otherwise ASCII alone is printed.
  int columns = 80;
  int rows = 24;

  /// Of a stream: std::cout, std::cerr and std::clog are looked up, any other is a pipe or a file.
  static Terminal of(const std::ostream& stream);
  /// Of a file descriptor.
  static Terminal of(int descriptor);
};

/// The few inks everything is written in; docs/look.md says what each is for.
enum class Ink { plain, strong, quiet, accent, good, warning, bad };

/// The text in an ink, or as it is without colour.
std::string paint(std::string_view text, Ink ink, const Terminal& terminal);

/// A bar of `width` cells of which `fraction` (cut to 0 … 1) is full: ███▌░░ with eighths in Unicode, ###... in ASCII.
std::string bar(double fraction, int width, const Terminal& terminal);

/// Cells a UTF-8 text takes on a terminal; escape sequences take none, CJK and emoji two.
int display_width(std::string_view text);

/// The text cut to at most `width` cells, its last one then '…' ('~' in ASCII). The text holds no escape sequences.
std::string clipped(std::string_view text, int width, const Terminal& terminal);

/// For text from outside (process names, file contents): control characters and broken UTF-8 become '?'.
std::string printable(std::string_view text);

}  // namespace athanor::core

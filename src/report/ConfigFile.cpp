#include "report/ConfigFile.h"

#include <map>

#include "athanor/core/Terminal.h"

namespace athanor::report {
namespace {

std::string_view trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

// Where a comment begins: the first # outside of quotes.
std::size_t comment(std::string_view line) {
  char quote = '\0';
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quote == '"' && c == '\\')
      ++i;
    else if (quote != '\0')
      quote = c == quote ? '\0' : quote;
    else if (c == '"' || c == '\'')
      quote = c;
    else if (c == '#')
      return i;
  }
  return line.size();
}

}  // namespace

std::vector<Setting> read_settings(std::string_view toml) {
  std::vector<Setting> settings;
  std::map<std::string, int> array_lengths;
  std::string prefix;
  while (!toml.empty()) {
    const auto end = toml.find('\n');
    const std::string_view line = trimmed(toml.substr(0, end));
    toml.remove_prefix(end == std::string_view::npos ? toml.size() : end + 1);
    const auto hash = comment(line);
    const std::string_view statement = trimmed(line.substr(0, hash));
    if (statement.starts_with("[[") && statement.ends_with("]]")) {
      const std::string table(statement.substr(2, statement.size() - 4));
      prefix = table + "." + std::to_string(array_lengths[table]++) + ".";
    } else if (statement.starts_with("[") && statement.ends_with("]") &&
               statement.find('=') == std::string_view::npos) {
      prefix = std::string(statement.substr(1, statement.size() - 2)) + ".";
    } else if (const auto equals = statement.find('='); equals != std::string_view::npos) {
      const auto source = hash < line.size() ? trimmed(line.substr(hash + 1)) : std::string_view();
      settings.push_back({core::printable(prefix + std::string(trimmed(statement.substr(0, equals)))),
                          core::printable(trimmed(statement.substr(equals + 1))), core::printable(source)});
    }
  }
  return settings;
}

}  // namespace athanor::report

#include "athanor/core/Config.h"

#include <fmt/format.h>

#include <toml++/toml.h>
#include <algorithm>
#include <charconv>
#include <map>
#include <sstream>
#include <stdexcept>

#include "athanor/core/AtomicFile.h"
#include "athanor/core/Nearest.h"

namespace athanor::core {
namespace {

constexpr std::size_t kFileLimit = 1 << 20;

// The shortest digits that read back as the same number: 0.1, where the library writes 0.10000000000000001.
std::string toml_text(double value) {
  const std::string text = fmt::format("{}", value);
  const bool whole = text.find_first_not_of("-0123456789") == std::string::npos;
  return whole ? text + ".0" : text;
}

// In one line.
std::string toml_text(const toml::node& node) {
  if (const auto* number = node.as_floating_point()) return toml_text(number->get());
  if (const auto* array = node.as_array()) {
    std::string text;
    for (const auto& element : *array) text += (text.empty() ? "" : ", ") + toml_text(element);
    return "[" + text + "]";
  }
  std::ostringstream out;
  node.visit([&](const auto& value) { out << value; });
  return out.str();
}

toml::table parse(std::string_view text, const std::string& name) {
  try {
    return toml::parse(text, name);
  } catch (const toml::parse_error& error) {
    throw std::invalid_argument(fmt::format("{}:{}: {}", name, error.source().begin.line, error.description()));
  }
}

// One "--set": the value in TOML ("3e-4", "[30, 80]", "\"adamw\"") or, failing that, bare text (adamw).
void apply_override(toml::table& root, const std::string& assignment) {
  const auto equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0)
    throw std::invalid_argument("--set " + assignment + ": write key=value, e.g. --set optimizer.lr=3e-4");
  const std::string path = assignment.substr(0, equals);
  const std::string value = assignment.substr(equals + 1);
  toml::table holder;
  try {
    holder = toml::parse("value = " + value, "--set " + path);
  } catch (const toml::parse_error&) {
    holder.insert("value", value);
  }
  toml::node* at = &root;
  std::size_t begin = 0;
  while (true) {
    const auto dot = path.find('.', begin);
    const std::string key = path.substr(begin, dot == std::string::npos ? dot : dot - begin);
    const bool last = dot == std::string::npos;
    if (auto* array = at->as_array()) {
      std::size_t index = 0;
      const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), index);
      if (error != std::errc() || end != key.data() + key.size() || index >= array->size())
        throw std::invalid_argument(fmt::format("--set {}: '{}' is not an index below {}", path, key, array->size()));
      if (last) {
        array->replace(array->begin() + static_cast<std::ptrdiff_t>(index), *holder.get("value"));
        return;
      }
      at = array->get(index);
    } else if (auto* table = at->as_table()) {
      if (key.empty()) throw std::invalid_argument("--set " + path + ": empty part in the key");
      if (last) {
        table->insert_or_assign(key, *holder.get("value"));
        return;
      }
      if (!table->contains(key)) table->insert(key, toml::table{});
      at = table->get(key);
    } else {
      throw std::invalid_argument("--set " + path + ": '" + path.substr(0, begin - 1) + "' is a value, not a table");
    }
    begin = dot + 1;
  }
}

}  // namespace

// What was asked for, in order: the resolved configuration and the set of known keys are one and the same.
struct Config::Document {
  struct Asked {
    std::string key;    // full path
    std::string value;  // in TOML; "" for a key without default that is absent
    std::string source;
  };
  toml::table root;
  std::string name;
  std::vector<std::string> overridden;
  std::vector<Asked> asked;
  std::map<std::string, std::size_t> index;
  std::map<std::string, std::vector<std::string>> known;  // table path -> keys asked for in it

  void remember(const std::string& table, const std::string& key, std::string value, std::string source) {
    const std::string path = table.empty() ? key : table + "." + key;
    if (const auto found = index.find(path); found != index.end()) {
      asked[found->second] = {path, std::move(value), std::move(source)};
      return;
    }
    known[table].push_back(key);
    index[path] = asked.size();
    asked.push_back({path, std::move(value), std::move(source)});
  }
};

struct Config::Node {
  const toml::table* table;
};

Config::Config(std::shared_ptr<Document> document, std::shared_ptr<const Node> node, std::string path)
    : document_(std::move(document)), node_(std::move(node)), path_(std::move(path)) {}

Config Config::from_file(const std::filesystem::path& path, std::span<const std::string> overrides) {
  return from_text(read_file(path, kFileLimit), path.string(), overrides);
}

Config Config::from_text(std::string_view text, std::string name, std::span<const std::string> overrides) {
  auto document = std::make_shared<Document>();
  document->root = parse(text, name);
  document->name = std::move(name);
  for (const auto& assignment : overrides) {
    apply_override(document->root, assignment);
    document->overridden.push_back(assignment.substr(0, assignment.find('=')));
  }
  auto node = std::make_shared<const Node>(Node{&document->root});
  return {std::move(document), std::move(node), ""};
}

std::string Config::full(const std::string& key) const {
  return path_.empty() ? key : path_ + "." + key;
}

std::string Config::where(const std::string& key) const {
  const auto* found = node_ ? node_->table->get(key) : nullptr;
  const auto line = found ? found->source().begin.line : 0;
  for (const auto& path : document_->overridden)
    if (path == full(key)) return "--set " + path + ":";
  return line > 0 ? fmt::format("{}:{}: {}", document_->name, line, full(key))
                  : fmt::format("{}: {}", document_->name, full(key));
}

void Config::reject(const std::string& key, const std::string& message) const {
  throw std::invalid_argument(where(key) + " " + message);
}

namespace {

template <class Value>
std::optional<Value> convert(const toml::node& node) {
  if constexpr (std::is_same_v<Value, double>) {
    if (node.is_number()) return node.value<double>();
  } else if constexpr (requires { typename Value::value_type; } && !std::is_same_v<Value, std::string>) {
    const auto* array = node.as_array();
    if (!array) return std::nullopt;
    Value values;
    for (const auto& element : *array) {
      auto value = convert<typename Value::value_type>(element);
      if (!value) return std::nullopt;
      values.push_back(std::move(*value));
    }
    return values;
  } else if (const auto* exact = node.as<Value>()) {
    return exact->get();
  }
  return std::nullopt;
}

template <class Value>
std::string as_toml(const Value& value) {
  if constexpr (requires { typename Value::value_type; } && !std::is_same_v<Value, std::string>) {
    toml::array array;
    for (const auto& element : value) array.push_back(element);
    return toml_text(array);
  } else {
    return toml_text(toml::value<Value>(value));
  }
}

}  // namespace

template <class Value>
Value Config::ask(const std::string& key, const Value& fallback, const char* expected) const {
  const toml::node* found = node_ ? node_->table->get(key) : nullptr;
  if (!found) {
    document_->remember(path_, key, as_toml(fallback), "default");
    return fallback;
  }
  const auto value = convert<Value>(*found);
  if (!value) reject(key, fmt::format("must be {}, got {}", expected, toml_text(*found)));
  std::string source = "file";
  for (const auto& path : document_->overridden)
    if (full(key) == path || full(key).starts_with(path + ".")) source = "--set";
  document_->remember(path_, key, as_toml(*value), source);
  return *value;
}

std::int64_t Config::integer(const std::string& key, std::int64_t fallback) const {
  return ask(key, fallback, "an integer");
}
double Config::number(const std::string& key, double fallback) const {
  return ask(key, fallback, "a number");
}
bool Config::boolean(const std::string& key, bool fallback) const {
  return ask(key, fallback, "true or false");
}
std::string Config::text(const std::string& key, const std::string& fallback) const {
  return ask(key, fallback, "a text in quotes");
}

std::string Config::choice(const std::string& key, const std::string& fallback,
                           std::span<const std::string> allowed) const {
  const std::string value = text(key, fallback);
  for (const auto& candidate : allowed)
    if (candidate == value) return value;
  reject(key, "'" + value + "' is not known" + suggestion(value, allowed));
}

std::vector<std::int64_t> Config::integers(const std::string& key, const std::vector<std::int64_t>& fallback) const {
  return ask(key, fallback, "a list of integers");
}
std::vector<double> Config::numbers(const std::string& key, const std::vector<double>& fallback) const {
  return ask(key, fallback, "a list of numbers");
}
std::vector<std::string> Config::texts(const std::string& key, const std::vector<std::string>& fallback) const {
  return ask(key, fallback, "a list of texts");
}

std::optional<std::int64_t> Config::optional_integer(const std::string& key) const {
  if (has(key)) return integer(key, 0);
  document_->remember(path_, key, "", "default");
  return std::nullopt;
}
std::optional<double> Config::optional_number(const std::string& key) const {
  if (has(key)) return number(key, 0.0);
  document_->remember(path_, key, "", "default");
  return std::nullopt;
}
std::optional<std::string> Config::optional_text(const std::string& key) const {
  if (has(key)) return text(key, "");
  document_->remember(path_, key, "", "default");
  return std::nullopt;
}

Config Config::table(const std::string& key) const {
  const toml::node* found = node_ ? node_->table->get(key) : nullptr;
  if (found && !found->is_table()) reject(key, "must be a table, got " + toml_text(*found));
  auto& keys = document_->known[path_];
  if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
  document_->known[full(key)];
  return {document_, found ? std::make_shared<const Node>(Node{found->as_table()}) : nullptr, full(key)};
}

std::vector<Config> Config::tables(const std::string& key) const {
  auto& keys = document_->known[path_];
  if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
  std::vector<Config> found;
  const toml::node* node = node_ ? node_->table->get(key) : nullptr;
  if (!node) return found;
  const auto* array = node->as_array();
  if (!array) reject(key, "must be an array of tables, e.g. [[" + full(key) + "]]");
  for (std::size_t i = 0; i < array->size(); ++i) {
    const auto* table = array->get(i)->as_table();
    if (!table) reject(key, "must hold tables only");
    const std::string path = fmt::format("{}.{}", full(key), i);
    document_->known[path];
    found.push_back({document_, std::make_shared<const Node>(Node{table}), path});
  }
  return found;
}

bool Config::has(const std::string& key) const {
  return node_ && node_->table->contains(key);
}
bool Config::empty() const {
  return !node_ || node_->table->empty();
}

std::vector<std::string> Config::keys() const {
  std::vector<std::string> names;
  if (node_)
    for (const auto& [key, value] : *node_->table) names.emplace_back(key.str());
  return names;
}

void Config::reject_unknown() const {
  const auto known = document_->known.find(path_);
  for (const auto& name : keys()) {
    const bool asked = known != document_->known.end() &&
                       std::find(known->second.begin(), known->second.end(), name) != known->second.end();
    if (!asked)
      reject(name, "is not a known key" +
                       suggestion(name, known == document_->known.end() ? std::vector<std::string>{} : known->second));
    const toml::node* node = node_->table->get(name);
    if (node->is_table() && document_->known.contains(full(name))) table(name).reject_unknown();
    if (node->is_array_of_tables())
      for (const auto& element : tables(name)) element.reject_unknown();
  }
}

std::string Config::written() const {
  std::ostringstream out;
  out << document_->root << '\n';
  return out.str();
}

std::string Config::resolved() const {
  // Tables in the order first asked for; within one, keys in the order asked for.
  std::vector<std::string> order;
  std::map<std::string, std::string> lines;
  for (const auto& [path, value, source] : document_->asked) {
    const auto dot = path.rfind('.');
    const std::string table = dot == std::string::npos ? "" : path.substr(0, dot);
    if (std::find(order.begin(), order.end(), table) == order.end()) order.push_back(table);
    const std::string key = path.substr(dot == std::string::npos ? 0 : dot + 1);
    lines[table] +=
        value.empty() ? fmt::format("# {} is not set\n", key) : fmt::format("{} = {}  # {}\n", key, value, source);
  }
  std::sort(order.begin(), order.end());  // a parent before its children, "" first
  std::string text;
  for (const auto& table : order) {
    // "schedule.parts.0" is an element of the array of tables schedule.parts.
    std::string header;
    bool element = false;
    std::stringstream parts(table);
    for (std::string part; std::getline(parts, part, '.');) {
      element = !part.empty() && part.find_first_not_of("0123456789") == std::string::npos;
      if (!element) header += (header.empty() ? "" : ".") + part;
    }
    if (!table.empty()) text += (text.empty() ? "" : "\n") + (element ? "[[" + header + "]]\n" : "[" + header + "]\n");
    text += lines[table];
  }
  return text;
}

}  // namespace athanor::core

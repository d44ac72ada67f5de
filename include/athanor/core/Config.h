#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace athanor::core {

/// A TOML configuration that is read by asking: every key asked for is known, has its default there, and is remembered,
/// so that what nobody asked for is a mistake (`reject_unknown`) and what was resolved can be printed (`resolved`).
/// A Config is a light view of one table; copies and sub-tables share one document. Not thread-safe.
/// Every mistake is a std::invalid_argument that names file, line, key, what was given and what is allowed.
class Config {
 public:
  /// Reads at most 1 MiB of TOML. `overrides` are "dotted.key=value" (value in TOML, or bare text), applied in order;
  /// a number in the path indexes an array: "schedule.parts.0.steps=100".
  static Config from_file(const std::filesystem::path& path, std::span<const std::string> overrides = {});
  static Config from_text(std::string_view toml, std::string name, std::span<const std::string> overrides = {});

  [[nodiscard]] std::int64_t integer(const std::string& key, std::int64_t fallback) const;
  [[nodiscard]] double number(const std::string& key, double fallback) const;
  [[nodiscard]] bool boolean(const std::string& key, bool fallback) const;
  [[nodiscard]] std::string text(const std::string& key, const std::string& fallback) const;
  /// A text out of a fixed set; the error names the nearest one.
  [[nodiscard]] std::string choice(const std::string& key, const std::string& fallback,
                                   std::span<const std::string> allowed) const;
  [[nodiscard]] std::vector<std::int64_t> integers(const std::string& key,
                                                   const std::vector<std::int64_t>& fallback) const;
  [[nodiscard]] std::vector<double> numbers(const std::string& key, const std::vector<double>& fallback) const;
  [[nodiscard]] std::vector<std::string> texts(const std::string& key, const std::vector<std::string>& fallback) const;

  /// As above where there is no default: nullopt if the key is absent.
  [[nodiscard]] std::optional<std::int64_t> optional_integer(const std::string& key) const;
  [[nodiscard]] std::optional<double> optional_number(const std::string& key) const;
  [[nodiscard]] std::optional<std::string> optional_text(const std::string& key) const;

  /// A sub-table (empty if absent), and an array of tables (empty if absent).
  [[nodiscard]] Config table(const std::string& key) const;
  [[nodiscard]] std::vector<Config> tables(const std::string& key) const;

  [[nodiscard]] bool has(const std::string& key) const;
  [[nodiscard]] bool empty() const;
  /// The keys written in this table.
  [[nodiscard]] std::vector<std::string> keys() const;

  /// "configs/x.toml:12: train.max_epochs": where a key stands, to begin an error message of one's own with.
  [[nodiscard]] std::string where(const std::string& key) const;
  /// Throws the mistake at a key: where(key) + " " + message.
  [[noreturn]] void reject(const std::string& key, const std::string& message) const;

  /// Throws if this table or any below holds a key that was never asked for; names the nearest known one.
  void reject_unknown() const;

  /// The resolved whole as TOML, in the order it was asked for; each line says where its value is from
  /// ("# default", "# file", "# --set"). Parses back to the same values.
  [[nodiscard]] std::string resolved() const;

  /// The whole document as it was written, overrides applied and defaults left out, as TOML; comments are lost.
  [[nodiscard]] std::string written() const;

 private:
  struct Document;
  struct Node;
  Config(std::shared_ptr<Document> document, std::shared_ptr<const Node> node, std::string path);
  template <class Value>
  Value ask(const std::string& key, const Value& fallback, const char* expected) const;
  [[nodiscard]] std::string full(const std::string& key) const;

  std::shared_ptr<Document> document_;
  std::shared_ptr<const Node> node_;  // null: the table is absent
  std::string path_;
};

}  // namespace athanor::core

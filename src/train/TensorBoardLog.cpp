#include "athanor/train/TensorBoardLog.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <string_view>

#include "train/LogFile.h"
#include "train/Rows.h"

namespace athanor::train {
namespace {

// CRC-32C (Castagnoli), reflected polynomial 0x82F63B78, a byte at a time: an event is some fifty bytes.
constexpr std::array<std::uint32_t, 256> kCrcTable = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1U) ? 0x82F63B78U : 0U);
    table[i] = value;
  }
  return table;
}();

std::uint32_t masked_crc(std::string_view bytes) {
  std::uint32_t crc = 0xFFFFFFFFU;
  for (const char byte : bytes) crc = (crc >> 8) ^ kCrcTable[(crc ^ static_cast<unsigned char>(byte)) & 0xFFU];
  crc ^= 0xFFFFFFFFU;
  return std::rotr(crc, 15) + 0xA282EAD8U;
}

template <class Integer>
std::string little_endian(Integer value) {
  std::string bytes;
  for (std::size_t i = 0; i < sizeof(Integer); ++i) bytes += static_cast<char>((value >> (8 * i)) & 0xFFU);
  return bytes;
}

std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80U; value >>= 7) bytes += static_cast<char>((value & 0x7FU) | 0x80U);
  bytes += static_cast<char>(value);
  return bytes;
}

// The few kinds of protobuf fields that an event is made of.
std::string field(unsigned number, double value) {
  return varint(number << 3 | 1U) + little_endian(std::bit_cast<std::uint64_t>(value));
}
std::string field(unsigned number, float value) {
  return varint(number << 3 | 5U) + little_endian(std::bit_cast<std::uint32_t>(value));
}
std::string field(unsigned number, std::int64_t value) {
  return varint(number << 3) + varint(static_cast<std::uint64_t>(value));
}
std::string field(unsigned number, std::string_view bytes) {
  return varint(number << 3 | 2U) + varint(bytes.size()) + std::string(bytes);
}

// event.proto and summary.proto: field numbers.
std::string event_at(std::int64_t step, const std::string& rest) {
  const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
  return field(1, now.count()) + field(2, step) + rest;
}
std::string scalar_value(const std::string& tag, double value) {
  return field(1, std::string_view(field(1, std::string_view(tag)) + field(2, static_cast<float>(value))));
}
constexpr unsigned kFileVersion = 3, kSummary = 5, kSessionLog = 7;
constexpr std::int64_t kStart = 1;  // SessionLog.SessionStatus: what older files say from this step on is void

// record_writer.cc: length, its checksum, data, its checksum.
void record(LogFile& file, const std::string& data) {
  const auto length = little_endian(static_cast<std::uint64_t>(data.size()));
  file.write(length + little_endian(masked_crc(length)) + data + little_endian(masked_crc(data)));
}

std::filesystem::path fresh_path(const std::filesystem::path& folder) {
  static std::atomic<int> files{0};
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) != 0 || host[0] == 0) host = {'h', 'o', 's', 't'};
  const auto now =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch());
  return folder / fmt::format("events.out.tfevents.{}.{}.{}.{}", now.count(), host.data(), getpid(), files++);
}

}  // namespace

TensorBoardLog::TensorBoardLog(const std::filesystem::path& folder, std::int64_t resume_step)
    : file_(std::make_shared<LogFile>(fresh_path(folder), "wb")) {
  record(*file_, event_at(0, field(kFileVersion, std::string_view("brain.Event:2"))));
  if (resume_step >= 0)
    record(*file_, event_at(resume_step + 1, field(kSessionLog, std::string_view(field(1, kStart)))));
  file_->flush();
}

void TensorBoardLog::operator()(const Event& event) {
  std::string values;
  for (const auto& row : rows_of(event)) values += scalar_value(row.split + "/" + row.name, row.value);
  if (values.empty()) return;
  record(*file_, event_at(event.step, field(kSummary, std::string_view(values))));
  file_->flush();
}

void TensorBoardLog::scalar(const std::string& tag, std::int64_t step, double value) {
  record(*file_, event_at(step, field(kSummary, std::string_view(scalar_value(tag, value)))));
  file_->flush();
}

}  // namespace athanor::train

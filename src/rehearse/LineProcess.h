#pragma once
#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

namespace athanor::rehearse {

/// A program in a process of its own that is spoken with a line at a time, over its standard input and output; what it
/// writes to its standard error is thrown away. Every failure is an athanor::Error that begins with `name`. Not
/// thread-safe.
class LineProcess {
 public:
  /// `command` begins with the program's path, or a name to be found on PATH.
  LineProcess(std::string name, std::vector<std::string> command);
  /// Ends the program, whatever it does.
  ~LineProcess();
  LineProcess(const LineProcess&) = delete;
  LineProcess& operator=(const LineProcess&) = delete;

  void send(const std::string& line);
  /// The next line, without its end.
  std::string receive(std::chrono::milliseconds limit);

 private:
  std::string name_;
  pid_t child_ = -1;
  int socket_ = -1;
  std::string received_;
};

}  // namespace athanor::rehearse

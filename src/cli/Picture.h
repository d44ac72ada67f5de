#pragma once
#include <string>

#include "athanor/plot/Chart.h"
#include "cli/Context.h"

namespace athanor::cli {

/// Prints a chart as wide as the output allows, in colour and Unicode where it can show them; 80 columns in a pipe.
void print_picture(const plot::Chart& chart, const Context& context);

/// Writes a chart as an SVG file, and says so unless told to be quiet. Throws athanor::Error if it cannot be written.
void write_picture(const plot::Chart& chart, const std::string& path, const Context& context);

}  // namespace athanor::cli

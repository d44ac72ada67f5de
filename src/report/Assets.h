#pragma once

namespace athanor::report {

/// Files of src/report/page/, built into the program.
extern const char* const kPageHtml;
extern const char* const kPageCss;
extern const char* const kPageJs;

}  // namespace athanor::report

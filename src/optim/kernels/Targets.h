#pragma once
// The instruction sets the engine is compiled for: AVX-512, AVX2, and the portable one. Sets in between would add
// compile time for processors that hardly anyone trains on; scalable vectors (SVE, RVV) cannot be members of a struct.
#ifndef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#endif

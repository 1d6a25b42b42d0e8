// GCC declares that ldtilecfg reads 8 bytes. It reads 64, so stores to the others may be left out,
// and processors with AMX end the process (seen with GCC 12). Included before ggml's AMX code.
#pragma once
#ifdef __AMX_TILE__
#include <immintrin.h>
#undef _tile_loadconfig
#define _tile_loadconfig(config) \
    __asm__ volatile("ldtilecfg\t%X0" : : "m"(*(const char(*)[64])(config)))
#endif

/* The smallest program: one line and the end. */
#include "bench.h"
const char name[] = "trivial";
static u64 work(u64 n) { return n; }

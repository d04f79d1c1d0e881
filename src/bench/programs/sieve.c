/* The sieve of Eratosthenes up to 1,000,000, or up to the mode, n times: byte stores with a stride, and a scan. */
#include "bench.h"
const char name[] = "sieve";
#define LIMIT 1000000
static u8 composite[LIMIT];
static u64 work(u64 n) {
	u64 sum = 0;
	const u32 limit = mode ? mode : LIMIT;
	while (n--) {
		for (u32 i = 0; i < limit; i++) composite[i] = i < 2;
		for (u32 i = 2; i * i < limit; i++) {
			if (composite[i]) continue;
			for (u32 j = i * i; j < limit; j += i) composite[j] = 1;
		}
		for (u32 i = 0; i < limit; i++) sum += !composite[i];
	}
	return sum;
}

/* A function whose data lie on its own page (mode 1) or on a page of their own (mode 0): it counts in two words, n times
 * 10,000. The data are 1 KiB behind the code, as a static key or a counter beside a function would be. */
#include "bench.h"
const char name[] = "beside";
static u64 work(u64 n) {
	u8 *pages = (u8 *)sys(9, 0, 8192, 7, 0x22, -1, 0);
	/* add %rsi, (%rdi); mov (%rdi), %rax; xor %rax, 8(%rdi); mov 8(%rdi), %rax; ret */
	static const u8 body[] = { 0x48, 0x01, 0x37, 0x48, 0x8b, 0x07, 0x48, 0x31, 0x47, 0x08, 0x48, 0x8b, 0x47, 0x08, 0xc3 };
	memcpy(pages, body, sizeof body);
	u64 (*f)(u64 *, u64) = (u64(*)(u64 *, u64))pages;
	u64 *data = (u64 *)(pages + (mode ? 1024 : 4096 + 1024));
	u64 sum = 0;
	while (n--)
		for (u32 k = 0; k < 10000; k++) sum += f(data, k);
	return sum;
}

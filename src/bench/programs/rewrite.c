/* A function's 5-byte entry is rewritten, then the function is called 10,000 times; n times over. The entry is a jump, to
 * the old body or to the new one by turns. Mode 0: the same calls and the same stores, but the stores go elsewhere. */
#include "bench.h"
const char name[] = "rewrite";
static u8 elsewhere[16];
static u64 work(u64 n) {
	u8 *code = (u8 *)sys(9, 0, 4096, 7, 0x22, -1, 0);
	static const u8 old_body[] = { 0x8d, 0x47, 0x01, 0xc3 }; /* lea 1(%rdi), %eax; ret */
	static const u8 new_body[] = { 0x8d, 0x47, 0x02, 0xc3 };
	memcpy(code + 0x40, old_body, 4);
	memcpy(code + 0x80, new_body, 4);
	code[0] = 0xe9;
	*(u32 *)(code + 1) = 0x40 - 5;
	u32 (*f)(u64) = (u32(*)(u64))code;
	u8 *to = mode ? code : elsewhere;
	u64 sum = 0;
	for (u64 i = 0; i < n; i++) {
		to[0] = 0xe9;
		*(u32 *)(to + 1) = (i & 1 ? 0x40 : 0x80) - 5;
		__asm__ volatile("" : : : "memory");
		for (u32 k = 0; k < 10000; k++) sum += f(k);
	}
	return sum;
}

/* Floating point at its edges: conversions, rounding, NaN, infinities, zeros with signs, denormals, comparisons. */
#include "c.h"
static const u64 patterns[] = {
	0, 1UL << 63, 1, 0x000fffffffffffff, 0x0010000000000000, 0x3ff0000000000000, 0xbff0000000000000, 0x3fe0000000000000, 0x3ff8000000000000,
	0x4004000000000000, 0x41dfffffffc00000, 0x41e0000000000000, 0xc1e0000000000000, 0xc1e0000000200000, 0x43dfffffffffffff, 0x43e0000000000000,
	0xc3e0000000000000, 0x43f0000000000000, 0x7fefffffffffffff, 0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000, 0xfff8000000000123,
	0x7ff0000000000001, 0x3fd5555555555555, 0x4340000000000001, 0xc024000000000000, 0x36a0000000000000, 0x47efffffe0000000, 0x47efffffefffffff,
};
#define NR (sizeof patterns / 8)
static volatile double v[NR];
static double from(u64 b) { double d; __builtin_memcpy(&d, &b, 8); return d; }
MAIN {
	u64 h = 0;
	for (u32 i = 0; i < NR; i++) v[i] = from(patterns[i]);
	for (u32 i = 0; i < NR; i++) {
		double x = v[i];
		float f = (float)x;
		print("%lx: float %x i32 %x i64 %lx", patterns[i], bitsf(f), (u32)_Generic(x, double: ({ int r; __asm__("cvttsd2si %1, %0" : "=r"(r) : "x"(x)); r; })),
		      ({ long r; __asm__("cvttsd2si %1, %0" : "=r"(r) : "x"(x)); r; }));
		print(" nearest %lx sqrt %lx negative %lx\n", ({ long r; __asm__("cvtsd2si %1, %0" : "=r"(r) : "x"(x)); r; }), bits(__builtin_sqrt(x < 0 ? -x : x)), bits(-x));
		for (u32 j = 0; j < NR; j++) {
			double y = v[j];
			int c = (x < y) | (x <= y) << 1 | (x == y) << 2 | (x != y) << 3 | (x > y) << 4 | (x >= y) << 5 | !(x < y) << 6 | __builtin_isunordered(x, y) << 7;
			h = mix(h, (u64)c);
			/* Which NaN comes out of two is the operands' order, which is the compiler's. */
			double r[] = { x + y, x - y, x * y, x / y };
			for (int k = 0; k < 4; k++) h = mix(h, __builtin_isnan(r[k]) ? 1 : bits(r[k]));
			float g = (float)x * (float)y + 1.0f;
			h = mix(h, g != g ? 2 : bitsf(g));
			h = mix(h, bits(x < y ? x : y) & (__builtin_isnan(x) || __builtin_isnan(y) ? 0 : ~0UL));
		}
	}
	print("pairs %lx\n", h);
	static volatile u64 whole[] = { 0, 1, 1UL << 53, (1UL << 53) + 1, ~0UL, 1UL << 63, (1UL << 63) - 1, 0x8000000000000401, 12345678901234567 };
	for (u32 i = 0; i < sizeof whole / 8; i++) print("%lx: %lx %lx %x %x\n", whole[i], bits((double)whole[i]), bits((double)(long)whole[i]), bitsf((float)whole[i]), bitsf((float)(int)whole[i]));
	static volatile double some[] = { 0.5, 1.5, 2.5, -0.5, 4294967295.5, 1e18, 1.8e19, 255.9, 65535.2 };
	for (u32 i = 0; i < 9; i++) print("%lu ", (u64)(some[i] < 0 ? 0 : some[i]));
	for (u32 i = 0; i < 5; i++) print("%d %u ", (int)(short)(int)(some[i] > 1e9 ? 7 : some[i]), (u32)(u8)(int)(some[i] > 1e9 ? 300 : some[i]));
	print("\n");
	u32 csr = 0x1f80, was;
	for (u32 mode = 0; mode < 4; mode++) {
		csr = 0x1f80 | mode << 13;
		__asm__ volatile("ldmxcsr %0" : : "m"(csr));
		volatile double one = 1, three = 3, tiny = 0x1p-1040, big = 1e300;
		double a = one / three, b = -one / three, c = big + one, d = tiny / three;
		float e = (float)(volatile double){ 0.1 };
		long n = ({ long r; volatile double half = 2.5; __asm__ volatile("cvtsd2si %1, %0" : "=r"(r) : "m"(half)); r; });
		__asm__ volatile("stmxcsr %0" : "=m"(was));
		csr = 0x1f80;
		__asm__ volatile("ldmxcsr %0" : : "m"(csr));
		print("mode %u: %lx %lx %lx %lx %x %ld flags %x\n", mode, bits(a), bits(b), bits(c), bits(d), bitsf(e), n, was & 63);
	}
	return 0;
}

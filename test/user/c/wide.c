/* 128-bit arithmetic: products, quotients, remainders, shifts, comparisons; primes and powers over 64 bits. */
#include "c.h"
typedef unsigned __int128 u128;
typedef __int128 i128;
static u64 power(u64 b, u64 e, u64 m) { u64 r = 1; for (b %= m; e; e >>= 1) { if (e & 1) r = (u64)((u128)r * b % m); b = (u64)((u128)b * b % m); } return r; }
static int prime(u64 n) {
	if (n < 2) return 0;
	static const u64 small[] = { 2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37 };
	for (int i = 0; i < 12; i++) if (n % small[i] == 0) return n == small[i];
	u64 d = n - 1;
	int s = __builtin_ctzl(d);
	d >>= s;
	for (int i = 0; i < 12; i++) {
		u64 x = power(small[i], d, n);
		if (x == 1 || x == n - 1) continue;
		int r = 1;
		for (; r < s; r++) if ((x = (u64)((u128)x * x % n)) == n - 1) break;
		if (r == s) return 0;
	}
	return 1;
}
static void decimal(u128 v) { char b[40]; int n = 0; do b[n++] = (char)('0' + (int)(v % 10)); while (v /= 10); while (n) put(b[--n]); put('\n'); }
static void show(const char *what, u128 v) { print("%s %016lx%016lx\n", what, (u64)(v >> 64), (u64)v); }
static u64 gcd(u64 a, u64 b) { while (b) { u64 t = a % b; a = b; b = t; } return a; }
MAIN {
	u128 f = 1;
	for (u32 i = 2; i <= 34; i++) f *= i;
	decimal(f);
	u64 h = 0;
	for (int i = 0; i < 300; i++) {
		u128 a = (u128)next() << 64 | next(), b = (u128)(next() >> (next() & 63)) << (next() & 63) | (next() | 1);
		i128 s = (i128)a, t = (i128)b;
		int n = (int)(next() & 127);
		u128 all[] = { a + b, a - b, a * b, a / b, a % b, (u128)(s / t), (u128)(s % t), a << n, a >> n, (u128)(s >> n), a < b, s < t, a & b, a ^ b };
		for (u32 k = 0; k < sizeof all / 16; k++) h = mix(h, (u64)all[k] ^ (u64)(all[k] >> 64) * 3);
		if (i < 3) show("quotient", a / b), show("signed", (u128)(s / t)), show("shifted", (u128)(s >> n));
	}
	print("all %lx\n", h);
	for (u64 n = 1UL << 61, found = 0; found < 4; n++) if (prime(n)) print("prime %lu\n", n), found++;
	int below = 0;
	for (u64 n = 0; n < 1000; n++) below += prime(n);
	print("below 1000 %d, mersenne %d\n", below, prime((1UL << 61) - 1));
	print("gcd %lu power %lu\n", gcd(1071UL << 40, 462UL << 33), power(3, ~0UL, 0xffffffffffffffc5));
	i128 fib = 0, g = 1;
	for (int i = 0; i < 180; i++) { i128 t = fib + g; fib = g; g = t; }
	decimal((u128)fib);
	double big = (double)f;
	print("as double %lx %lx and back %lx\n", bits(big), bits((double)(i128)-f), (u64)(u128)(big / 1e20));
	return 0;
}

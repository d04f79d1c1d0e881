/* Bits: counts, scans, rotations, swaps, multiplications by parts, Gray codes, a life of cells in words. */
#include "c.h"
static u64 reverse(u64 v) { u64 r = 0; for (int i = 0; i < 64; i++) r |= (v >> i & 1) << (63 - i); return r; }
static u64 rotate(u64 v, int n) { return v << (n & 63) | v >> (-n & 63); }
static u64 spread(u32 v) { u64 r = v; r = (r | r << 16) & 0x0000ffff0000ffff; r = (r | r << 8) & 0x00ff00ff00ff00ff; r = (r | r << 4) & 0x0f0f0f0f0f0f0f0f; r = (r | r << 2) & 0x3333333333333333; return (r | r << 1) & 0x5555555555555555; }
static u64 grid[64], fresh[64];
static void live(void) {
	for (int y = 0; y < 64; y++) {
		u64 ones = 0, twos = 0, fours = 0;
		for (int dy = -1; dy <= 1; dy++) for (int dx = -1; dx <= 1; dx++) {
			if (dx == 0 && dy == 0) continue;
			u64 n = rotate(grid[(y + dy) & 63], dx), c = ones & n;
			ones ^= n;
			fours |= twos & c;
			twos ^= c;
		}
		fresh[y] = twos & ~fours & (ones | grid[y]);
	}
	for (int y = 0; y < 64; y++) grid[y] = fresh[y];
}
MAIN {
	u64 h = 0;
	for (int i = 0; i < 500; i++) {
		u64 v = next() >> (next() & 63);
		u32 w = (u32)v | 1;
		h = mix(h, (u64)__builtin_popcountl(v) | (u64)__builtin_clz(w) << 8 | (u64)__builtin_ctz(w) << 16 | (u64)__builtin_parityl(v) << 24 | (u64)__builtin_ffsl((long)v) << 32);
		h = mix(h, __builtin_bswap64(v) ^ __builtin_bswap32(w) ^ __builtin_bswap16((unsigned short)w));
		h = mix(h, reverse(v) ^ rotate(v, i) ^ spread(w) ^ (v ^ v >> 1));
		long s = (long)v * (i & 1 ? 1 : -1);
		h = mix(h, (u64)(s >> (i & 63)) + (u64)(s / 7) + (u64)(s % 1000) * 3 + (u64)((int)s / 10) + v / 10 + v % 641);
		long r; int q;
		h = mix(h, (u64)__builtin_mul_overflow(s, (long)i << 40, &r) + (u64)r);
		h = mix(h, (u64)__builtin_add_overflow((int)s, (int)w, &q) + (u64)q);
		h = mix(h, (u64)__builtin_sub_overflow((int)s, (int)w, &q) + (u64)q);
	}
	print("words %lx\n", h);
	for (int i = 0; i < 64; i++) grid[i] = next() & next();
	for (int g = 0; g < 60; g++) live();
	int cells = 0;
	for (int i = 0; i < 64; i++) cells += __builtin_popcountl(grid[i]), h = mix(h, grid[i]);
	print("cells %d %lx\n", cells, h);
	u32 lfsr = 0xace1; int period = 0;
	do lfsr = lfsr >> 1 ^ (lfsr & 1 ? 0xb400u : 0), period++; while (lfsr != 0xace1);
	print("period %d\n", period);
	return 0;
}

/* SHA-256, MD5, CRC-32, Adler-32 and SipHash of what a generator gives. */
#include "c.h"
static u32 ror(u32 v, int n) { return v >> n | v << (32 - n); }
static u32 k256[64];
static void constants(void) {
	int n = 0;
	for (u32 p = 2; n < 64; p++) {
		int prime = 1;
		for (u32 q = 2; q * q <= p; q++) if (p % q == 0) prime = 0;
		if (!prime) continue;
		/* The first 32 bits of the fraction of the cube root, by bisection in integers. */
		u64 lo = 0, hi = 1UL << 36;
		while (hi - lo > 1) {
			u64 mid = lo + (hi - lo) / 2;
			unsigned __int128 sq = (unsigned __int128)mid * mid;
			if ((u64)(sq >> 64) * (unsigned __int128)mid + ((unsigned __int128)(u64)sq * mid >> 64) >= (unsigned __int128)p << 32) hi = mid;
			else lo = mid;
		}
		k256[n++] = (u32)lo;
	}
}
static void sha256(const u8 *m, u64 n, u32 h[8]) {
	static const u32 init[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };
	u8 block[64];
	u64 at = 0, total = (n + 9 + 63) / 64 * 64;
	for (int i = 0; i < 8; i++) h[i] = init[i];
	for (; at < total; at += 64) {
		for (u64 i = 0; i < 64; i++) {
			u64 p = at + i;
			block[i] = p < n ? m[p] : p == n ? 0x80 : p >= total - 8 ? (u8)(n * 8 >> (total - 1 - p) * 8) : 0;
		}
		u32 w[64], v[8];
		for (int i = 0; i < 16; i++) w[i] = (u32)block[4 * i] << 24 | (u32)block[4 * i + 1] << 16 | (u32)block[4 * i + 2] << 8 | block[4 * i + 3];
		for (int i = 16; i < 64; i++) {
			u32 a = ror(w[i - 15], 7) ^ ror(w[i - 15], 18) ^ w[i - 15] >> 3, b = ror(w[i - 2], 17) ^ ror(w[i - 2], 19) ^ w[i - 2] >> 10;
			w[i] = w[i - 16] + a + w[i - 7] + b;
		}
		for (int i = 0; i < 8; i++) v[i] = h[i];
		for (int i = 0; i < 64; i++) {
			u32 a = v[7] + (ror(v[4], 6) ^ ror(v[4], 11) ^ ror(v[4], 25)) + ((v[4] & v[5]) ^ (~v[4] & v[6])) + k256[i] + w[i];
			u32 b = (ror(v[0], 2) ^ ror(v[0], 13) ^ ror(v[0], 22)) + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
			for (int j = 7; j > 0; j--) v[j] = v[j - 1];
			v[4] += a; v[0] = a + b;
		}
		for (int i = 0; i < 8; i++) h[i] += v[i];
	}
}
static u32 crc(const u8 *p, u64 n) {
	u32 c = ~0u;
	while (n--) { c ^= *p++; for (int k = 0; k < 8; k++) c = c >> 1 ^ (c & 1 ? 0xedb88320 : 0); }
	return ~c;
}
static u32 adler(const u8 *p, u64 n) { u32 a = 1, b = 0; while (n--) a = (a + *p++) % 65521, b = (b + a) % 65521; return b << 16 | a; }
static u64 rol(u64 v, int n) { return v << n | v >> (64 - n); }
static u64 sip(u64 k0, u64 k1, const u8 *p, u64 n) {
	u64 v[4] = { k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573 }, m;
	for (u64 i = 0;; i += 8) {
		int last = i + 8 > n, done = 0;
		m = 0;
		for (u64 j = 0; j < 8 && i + j < n; j++) m |= (u64)p[i + j] << 8 * j;
		if (last) m |= n << 56;
		v[3] ^= m;
again:
		for (int r = 0; r < (done ? 4 : 2); r++) {
			v[0] += v[1]; v[1] = rol(v[1], 13) ^ v[0]; v[0] = rol(v[0], 32);
			v[2] += v[3]; v[3] = rol(v[3], 16) ^ v[2];
			v[0] += v[3]; v[3] = rol(v[3], 21) ^ v[0];
			v[2] += v[1]; v[1] = rol(v[1], 17) ^ v[2]; v[2] = rol(v[2], 32);
		}
		if (done) return v[0] ^ v[1] ^ v[2] ^ v[3];
		v[0] ^= m;
		if (last) { v[2] ^= 0xff; done = 1; goto again; }
	}
}
static u8 data[5000];
MAIN {
	constants();
	print("constants %x %x\n", k256[0], k256[63]);
	u32 h[8];
	static const u64 sizes[] = { 0, 3, 55, 56, 64, 1000 };
	for (u32 i = 0; i < sizeof data; i++) data[i] = (u8)(i < 3 ? "abc"[i] : next());
	for (int k = 0; k < 6; k++) {
		sha256(data, sizes[k], h);
		for (int i = 0; i < 8; i++) print("%08x", h[i]);
		print("\n");
	}
	print("crc %08x %08x adler %08x\n", crc((const u8 *)"123456789", 9), crc(data, sizeof data), adler(data, sizeof data));
	for (u64 n = 0; n < 17; n++) print("%lx%c", sip(0x0706050403020100, 0x0f0e0d0c0b0a0908, data, n), n % 4 == 3 ? '\n' : ' ');
	print("\n");
	return 0;
}

/* Loops over arrays of every width, as compilers turn into vector code: sums, extremes, saturation, widening, gathers. */
#include "c.h"
#define N 203
#define EACH for (int i = 0; i < N; i++)
static u8 a8[N], b8[N], c8[N]; static signed char s8[N]; static short a16[N], b16[N], c16[N]; static unsigned short u16_[N];
static int a32[N], b32[N], c32[N]; static u32 u32_[N]; static long a64[N], b64[N], c64[N]; static float af[N], bf[N], cf[N]; static double ad[N], bd[N], cd[N];
static u64 h;
static void show(const char *what, const void *p, u64 n) { h = 0; for (u64 i = 0; i < n; i++) h = mix(h, ((const u8 *)p)[i]); print("%s %lx\n", what, h); }
#define SHOW(a) show(#a, a, sizeof a)
MAIN {
	EACH { u64 r = next(); a8[i] = (u8)r; b8[i] = (u8)(r >> 8); s8[i] = (signed char)(r >> 16); a16[i] = (short)(r >> 24); b16[i] = (short)(r >> 32); }
	EACH { a32[i] = (int)next(); b32[i] = (int)next() >> 12; a64[i] = (long)next(); b64[i] = (long)next() >> 30; af[i] = (float)unit() - 0.5f; bf[i] = (float)unit() * 100; ad[i] = unit() - 0.5; bd[i] = unit() * 1e6; }
	EACH c8[i] = (u8)(a8[i] + b8[i]); SHOW(c8);
	EACH c8[i] = (u8)(a8[i] + b8[i] > 255 ? 255 : a8[i] + b8[i]); SHOW(c8);
	EACH c8[i] = (u8)((a8[i] + b8[i] + 1) >> 1); SHOW(c8);
	EACH c8[i] = a8[i] > b8[i] ? a8[i] : b8[i]; SHOW(c8);
	EACH c8[i] = (u8)(a8[i] > b8[i] ? a8[i] - b8[i] : b8[i] - a8[i]); SHOW(c8);
	EACH c16[i] = (short)(a16[i] * b16[i]); SHOW(c16);
	EACH c16[i] = (short)((a16[i] * b16[i]) >> 16); SHOW(c16);
	EACH c16[i] = a16[i] < b16[i] ? a16[i] : b16[i]; SHOW(c16);
	EACH { int v = a16[i] - b16[i]; c16[i] = (short)(v > 32767 ? 32767 : v < -32768 ? -32768 : v); } SHOW(c16);
	EACH u16_[i] = (unsigned short)(a8[i] * b8[i]); SHOW(u16_);
	EACH c32[i] = a32[i] * b32[i] + (a32[i] >> 3); SHOW(c32);
	EACH c32[i] = a32[i] < 0 ? -(a32[i] + 1) : a32[i]; SHOW(c32);
	EACH c32[i] = a16[i] * b16[i] + s8[i]; SHOW(c32);
	EACH c32[i] = a32[i] == b32[i] ? 1 : a32[i] > b32[i] ? a32[i] : b32[i] - 5; SHOW(c32);
	EACH u32_[i] = (u32)a32[i] >> (i & 31) | (u32)b32[i] << 7; SHOW(u32_);
	EACH u32_[i] = (u32)a32[i] / 10 + (u32)b32[i] % 7; SHOW(u32_);
	EACH c64[i] = a64[i] * b64[i] - a32[i]; SHOW(c64);
	EACH c64[i] = a64[i] > b64[i] ? a64[i] : b64[i]; SHOW(c64);
	EACH c64[i] = (long)a32[i] * b32[i]; SHOW(c64);
	EACH cf[i] = af[i] * bf[i] - af[i] / (bf[i] + 1); SHOW(cf);
	EACH cf[i] = af[i] > 0 ? af[i] : -bf[i]; SHOW(cf);
	EACH cf[i] = (float)a32[i] + (float)a8[i]; SHOW(cf);
	EACH cf[i] = __builtin_sqrtf(bf[i]) + __builtin_fabsf(af[i]); SHOW(cf);
	EACH cd[i] = ad[i] * bd[i] + (double)a32[i]; SHOW(cd);
	EACH cd[i] = ad[i] < 0 ? bd[i] : (double)af[i]; SHOW(cd);
	EACH c32[i] = (int)(bd[i] * ad[i]); SHOW(c32);
	EACH cd[i] = __builtin_sqrt(bd[i]) / (__builtin_fabs(ad[i]) + 1); SHOW(cd);
	int s = 0; long l = 0; u32 x = 0; short least = 32767; double d = 0; float f = 0;
	EACH s += a16[i] * b16[i]; EACH l += a32[i]; EACH x ^= (u32)a32[i]; EACH if (a16[i] < least) least = a16[i]; EACH d += ad[i]; EACH f += bf[i];
	print("sums %d %ld %x %d %lx %x\n", s, l, x, least, bits(d), bitsf(f));
	int odd = 0; EACH odd += a8[i] & 1; int where = -1; EACH if (a8[i] == 77 && where < 0) where = i;
	print("counts %d %d\n", odd, where);
	EACH c32[i] = a32[a8[i] % N]; SHOW(c32);
	for (int i = 0; i < N / 2; i++) c32[i] = a32[2 * i] - a32[2 * i + 1]; SHOW(c32);
	EACH c32[i] = a32[N - 1 - i]; SHOW(c32);
	for (int i = 1; i < N; i++) c64[i] = c64[i - 1] + a16[i]; SHOW(c64);
	typedef int v4 __attribute__((vector_size(16))); typedef float v4f __attribute__((vector_size(16)));
	v4 p = { 1, -2, 3, -4 }, q = { 5, 6, 7, 8 }; v4f r = { 1.5f, -2.5f, 3.25f, 0 }, t = r * r - 1.0f;
	for (int i = 0; i < 20; i++) p = (p * q + (p >> 2)) ^ __builtin_shuffle(p, q, (v4){ 3, 4, 1, 6 }), q -= p & (p > q), t = t * 0.5f + r;
	print("vectors %x %x %x %x %x %x\n", (u32)p[0], (u32)p[1], (u32)q[2], (u32)q[3], bitsf(t[0]), bitsf(t[2]));
	return 0;
}

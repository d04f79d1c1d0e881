/* Structures by value, bit fields, unions, packed and aligned members, arrays of variable length, copies. */
#include "c.h"
struct flags { u32 a : 3, b : 7; int c : 5; u64 d : 40; u32 : 0; u32 e : 1; };
struct __attribute__((packed)) wire { u8 kind; u32 size; unsigned short port; u64 when; };
struct small { char c; short s; };
struct mixed { float f; int i; double d; };
struct big { int v[20]; double d; };
union view { double d; u64 u; u32 w[2]; u8 b[8]; };
__attribute__((noinline)) static struct small small_(struct small a, struct small b) { return (struct small){ (char)(a.c + b.c), (short)(a.s * b.s) }; }
__attribute__((noinline)) static struct mixed mixed_(struct mixed a, int k) { a.f *= (float)k; a.i -= k; a.d /= k; return a; }
__attribute__((noinline)) static struct big big_(struct big a, struct big *b) { for (int i = 0; i < 20; i++) a.v[i] ^= b->v[19 - i]; a.d += b->d; return a; }
__attribute__((noinline)) static int variable(int n) {
	int a[n], b[n * 2], s = 0;
	for (int i = 0; i < n; i++) a[i] = i * i, b[i] = i, b[n + i] = -i;
	for (int i = 0; i < n; i++) s += a[i] * b[n + i] + b[i];
	char *p = __builtin_alloca((u64)n * 3);
	for (int i = 0; i < n * 3; i++) p[i] = (char)i;
	return s + p[n];
}
__attribute__((noinline)) static int many(int a, u8 b, short c, long d, u32 e, char f, int g, u64 h, short i, double j, float k, u8 l) {
	return a + b * 2 + c * 3 + (int)d * 4 + (int)e * 5 + f * 6 + g * 7 + (int)h * 8 + i * 9 + (int)j * 10 + (int)k * 11 + l * 12;
}
MAIN {
	struct flags f = { 5, 100, -9, 0xabcdef1234, 1 };
	f.a += 4; f.b *= 2; f.c -= 8; f.d ^= ~0UL; f.e++;
	print("fields %u %u %d %lx %u size %lu\n", f.a, f.b, f.c, (u64)f.d, f.e, sizeof f);
	struct wire w[3];
	for (int i = 0; i < 3; i++) w[i] = (struct wire){ (u8)i, (u32)i * 1000003, (unsigned short)(i * 40000), 0x0102030405060708UL * (u64)(i + 1) };
	u64 h = 0;
	for (u32 i = 0; i < sizeof w; i++) h = mix(h, ((u8 *)w)[i]);
	print("wire %lu %lx %lx\n", sizeof w, h, w[2].when);
	struct small s = small_((struct small){ 100, 300 }, (struct small){ 100, -300 });
	struct mixed m = mixed_((struct mixed){ 1.5f, 10, 9.0 }, 4);
	print("small %d %d mixed %x %d %lx\n", s.c, s.s, bitsf(m.f), m.i, bits(m.d));
	struct big a, b;
	for (int i = 0; i < 20; i++) a.v[i] = i * 77, b.v[i] = i * 1000;
	a.d = 0.5; b.d = 0.25;
	struct big c = big_(a, &b), d = c;
	d = big_(d, &c);
	for (int i = 0; i < 20; i++) h = mix(h, (u32)d.v[i]);
	print("big %lx %lx\n", h, bits(d.d));
	union view v = { .d = -1234.5 };
	print("view %lx %x %x %x\n", v.u, v.w[0], v.w[1], v.b[7]);
	print("variable %d %d\n", variable(10), variable(37));
	print("many %d\n", many(-1, 200, -300, 1L << 33 | 5, 4000000000u, -8, 9, 77, -10, 3.9, -2.5f, 255));
	signed char sc = -128; u8 uc = 255; short sh = -32768; u32 ui = 0x80000000; long l = -1;
	print("promotions %d %d %d %ld %lu %d %d\n", sc - 1, uc + 1, sh * 2, (long)(int)ui, (u64)ui + (u64)l, sc < (int)uc, (u32)sc > ui);
	return (int)(h & 127);
}

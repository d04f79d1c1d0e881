/* What the programs of this folder have besides lib.h: memory functions that gcc calls by itself, printing of doubles,
   a generator, and an allocator. Nothing here relies on a C library. */
#include "../programs/lib.h"
void *memmove(void *to, const void *from, u64 n) {
	/* volatile, or gcc makes a call of memmove out of it. */
	volatile u8 *d = to;
	const u8 *s = from;
	if ((u64)to < (u64)from) while (n--) *d++ = *s++;
	else while (n--) d[n] = s[n];
	return to;
}
int memcmp(const void *a, const void *b, u64 n) {
	const u8 *x = a, *y = b;
	for (u64 i = 0; i < n; i++) if (x[i] != y[i]) return x[i] - y[i];
	return 0;
}
u64 strlen(const char *s) { u64 n = 0; while (((const volatile char *)s)[n]) n++; return n; }
static u64 bits(double v) { u64 b; __builtin_memcpy(&b, &v, 8); return b; }
static u32 bitsf(float v) { u32 b; __builtin_memcpy(&b, &v, 4); return b; }
/* A double with `digits` decimals, and its bits. */
__attribute__((noinline)) static void real(const char *what, double v, int digits) {
	u64 scale = 1;
	double a = v < 0 ? -v : v;
	for (int i = 0; i < digits; i++) scale *= 10;
	print("%s %s", what, v < 0 ? "-" : "");
	if (!(a < 1e9)) print("big %lx\n", bits(v));
	else {
		u64 all = (u64)(a * (double)scale + 0.5);
		print("%lu.", all / scale);
		for (u64 d = scale / 10; d; d /= 10) print("%lu", all / d % 10);
		print(" %lx\n", bits(v));
	}
}
static u64 seed = 88172645463325252;
static u64 next(void) { seed ^= seed << 13; seed ^= seed >> 7; seed ^= seed << 17; return seed; }
static double unit(void) { return (double)(next() >> 11) / 9007199254740992.0; }
static u64 mix(u64 h, u64 v) { return (h ^ v) * 0x9e3779b97f4a7c15UL + (h >> 29); }
static u8 *pool, *pool_end;
static void *take(u64 n) {
	n = (n + 15) & ~15UL;
	if ((u64)(pool_end - pool) < n) pool = map(0, 1 << 20, 3, 0), pool_end = pool + (1 << 20);
	void *r = pool;
	pool += n;
	return r;
}
#define MAIN int main(int argc __attribute__((unused)), char **argv __attribute__((unused)), char **envp __attribute__((unused)))

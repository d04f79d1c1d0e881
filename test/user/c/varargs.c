/* Variable arguments in registers and on the stack: integers, doubles, structures, lists handed on and copied. */
#include "c.h"
#define start_(ap, n) __builtin_va_start(ap, n)
#define arg(ap, t) __builtin_va_arg(ap, t)
struct pair { double a; int b; };
struct two { u64 x, y; };
struct large { u64 w[5]; };
__attribute__((noinline)) static long sum(int n, ...) { va_list ap; start_(ap, n); long s = 0; while (n--) s = s * 3 + arg(ap, int); __builtin_va_end(ap); return s; }
__attribute__((noinline)) static double mean(int n, ...) { va_list ap; start_(ap, n); double s = 0; for (int i = 0; i < n; i++) s += arg(ap, double); __builtin_va_end(ap); return s / n; }
__attribute__((noinline)) static double listed(const char *f, va_list ap) {
	double s = 0;
	va_list copy;
	__builtin_va_copy(copy, ap);
	for (; *f; f++) switch (*f) {
	case 'i': s += arg(ap, int); break;
	case 'l': s += (double)arg(ap, long); break;
	case 'd': s += arg(ap, double); break;
	case 'p': { struct pair p = arg(ap, struct pair); s += p.a * p.b; break; }
	case 't': { struct two t = arg(ap, struct two); s += (double)(t.x - t.y); break; }
	case 'g': { struct large g = arg(ap, struct large); s += (double)(g.w[0] + g.w[4]); break; }
	}
	print("first %d ", arg(copy, int));
	__builtin_va_end(copy);
	return s;
}
__attribute__((noinline)) static double mixed(const char *f, ...) { va_list ap; start_(ap, f); double r = listed(f, ap); __builtin_va_end(ap); return r; }
MAIN {
	print("%ld %ld %ld\n", sum(0), sum(3, 1, 2, 3), sum(12, 1, -2, 3, -4, 5, -6, 7, -8, 9, -10, 11, -12));
	real("mean", mean(3, 1.0, 2.0, 4.0), 6);
	real("mean", mean(12, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5, 10.5, 11.5, 1e6), 6);
	struct pair p = { 2.5, 4 };
	struct two t = { 100, 58 };
	struct large g = { { 1, 2, 3, 4, 5 } };
	real("mixed", mixed("idl", 1, 2.5, 3L), 6);
	real("mixed", mixed("iptgd", 7, p, t, g, 0.125), 6);
	real("mixed", mixed("iiiiiiiidddddddddpt", 1, 2, 3, 4, 5, 6, 7, 8, .1, .2, .3, .4, .5, .6, .7, .8, .9, p, t), 6);
	real("mixed", mixed("iggttpp", -1, g, g, t, t, p, p), 6);
	print("%d %ld %u %lu %x %lx %c %s %05d %8x\n", -1, -1L, ~0u, ~0UL, 0xabc, 0xabcdefUL, 'q', "text", 42, 0xbeef);
	return 0;
}

/* Recursion: queens, permutations, Hanoi, Ackermann, mutual recursion, an expression parser, deep stacks. */
#include "c.h"
static int queens(int n, u32 cols, u32 up, u32 down, int row) {
	if (row == n) return 1;
	int sum = 0;
	for (u32 free = ~(cols | up | down) & ((1u << n) - 1); free; free &= free - 1) {
		u32 b = free & -free;
		sum += queens(n, cols | b, (up | b) << 1, (down | b) >> 1, row + 1);
	}
	return sum;
}
static u64 seen;
static void permute(int *v, int n, int k) {
	if (k == n) { u64 h = 0; for (int i = 0; i < n; i++) h = h * 10 + (u64)v[i]; seen = mix(seen, h); return; }
	for (int i = k; i < n; i++) {
		int t = v[k]; v[k] = v[i]; v[i] = t;
		permute(v, n, k + 1);
		t = v[k]; v[k] = v[i]; v[i] = t;
	}
}
static int moves;
static void hanoi(int n, int a, int b, int c) { if (n == 0) return; hanoi(n - 1, a, c, b); moves = moves * 3 % 10007 + a - b; hanoi(n - 1, c, b, a); }
static u32 ackermann(u32 m, u32 n) { return m == 0 ? n + 1 : n == 0 ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, n - 1)); }
static int odd(u32 n);
__attribute__((noinline)) static int even(u32 n) { return n == 0 ? 1 : odd(n - 1); }
__attribute__((noinline)) static int odd(u32 n) { return n == 0 ? 0 : even(n - 1); }
static const char *at;
static double sum(void);
static double factor(void) {
	while (*at == ' ') at++;
	if (*at == '(') { at++; double v = sum(); at++; return v; }
	if (*at == '-') { at++; return -factor(); }
	double v = 0;
	for (; *at >= '0' && *at <= '9'; at++) v = v * 10 + (*at - '0');
	if (*at == '.') for (double s = 0.1; *++at >= '0' && *at <= '9'; s /= 10) v += s * (*at - '0');
	return v;
}
static double product(void) { double v = factor(); for (;; ) { while (*at == ' ') at++; if (*at == '*') at++, v *= factor(); else if (*at == '/') at++, v /= factor(); else return v; } }
static double sum(void) { double v = product(); for (;;) { if (*at == '+') at++, v += product(); else if (*at == '-') at++, v -= product(); else return v; } }
__attribute__((noinline)) static u64 deep(u32 n, volatile u64 *x) { u64 a[4] = { *x, n, *x + n, 7 }; return n == 0 ? a[0] : deep(n - 1, x) + a[n & 3]; }
MAIN {
	for (int n = 4; n <= 8; n++) print("queens %d %d\n", n, queens(n, 0, 0, 0, 0));
	int v[7] = { 1, 2, 3, 4, 5, 6, 7 };
	permute(v, 7, 0);
	print("permutations %lx\n", seen);
	hanoi(10, 1, 2, 3);
	print("hanoi %d ackermann %u even %d odd %d\n", moves, ackermann(2, 60), even(1001), odd(1001));
	static const char *e[] = { "1+2*3", "(1+2)*3-4/8", "-(2.5*(3-7))/0.1", "1/3+1/7", "((((1))))*-2" };
	for (int i = 0; i < 5; i++) { at = e[i]; real(e[i], sum(), 6); }
	volatile u64 one = 1;
	print("deep %lu\n", deep(30000, &one));
	return 0;
}

/* Quicksort, heapsort, mergesort and radix sort of integers, doubles and words. */
#include "c.h"
#define N 600
static int a[N], tmp[N];
static double d[N];
static const char *words[] = { "pear", "apple", "fig", "banana", "cherry", "date", "apricot", "plum", "kiwi", "lime" };
static void quick(int *v, int lo, int hi) {
	while (lo < hi) {
		int p = v[(lo + hi) / 2], i = lo, j = hi;
		while (i <= j) {
			while (v[i] < p) i++;
			while (v[j] > p) j--;
			if (i <= j) { int t = v[i]; v[i++] = v[j]; v[j--] = t; }
		}
		if (j - lo < hi - i) { quick(v, lo, j); lo = i; } else { quick(v, i, hi); hi = j; }
	}
}
static void heap(double *v, int n) {
	for (int i = n / 2 - 1, m = n; m > 1;) {
		if (i >= 0) i--;
		else { m--; double t = v[0]; v[0] = v[m]; v[m] = t; }
		int k = i >= 0 ? i + 1 : 0;
		if (i < 0 && m == n) k = 0;
		for (int c; (c = 2 * k + 1) < m; k = c) {
			if (c + 1 < m && v[c + 1] > v[c]) c++;
			if (v[k] >= v[c]) break;
			double t = v[k]; v[k] = v[c]; v[c] = t;
		}
	}
}
static void merge(int *v, int n) {
	if (n < 2) return;
	int h = n / 2;
	merge(v, h);
	merge(v + h, n - h);
	for (int i = 0, j = h, k = 0; k < n; k++) tmp[k] = j >= n || (i < h && v[i] <= v[j]) ? v[i++] : v[j++];
	for (int k = 0; k < n; k++) v[k] = tmp[k];
}
static void radix(u32 *v, int n) {
	for (int shift = 0; shift < 32; shift += 8) {
		int count[257] = { 0 };
		for (int i = 0; i < n; i++) count[(v[i] >> shift & 255) + 1]++;
		for (int i = 0; i < 256; i++) count[i + 1] += count[i];
		for (int i = 0; i < n; i++) tmp[count[v[i] >> shift & 255]++] = (int)v[i];
		for (int i = 0; i < n; i++) v[i] = (u32)tmp[i];
	}
}
static int compare(const char *x, const char *y) { while (*x && *x == *y) x++, y++; return (u8)*x - (u8)*y; }
static void show(const char *what) {
	u64 h = 0;
	int ok = 1;
	for (int i = 0; i < N; i++) { h = mix(h, (u32)a[i]); if (i) ok &= a[i - 1] <= a[i]; }
	print("%s %d %lx %d %d\n", what, ok, h, a[0], a[N - 1]);
}
MAIN {
	for (int i = 0; i < N; i++) a[i] = (int)next();
	quick(a, 0, N - 1); show("quick");
	for (int i = 0; i < N; i++) a[i] = (int)(next() % 100);
	merge(a, N); show("merge");
	for (int i = 0; i < N; i++) a[i] = (int)(next() & 0x7fffffff);
	radix((u32 *)a, N); show("radix");
	for (int i = 0; i < N; i++) d[i] = unit() - 0.5;
	heap(d, N);
	int ok = 1;
	for (int i = 1; i < N; i++) ok &= d[i - 1] <= d[i];
	print("heap %d\n", ok);
	real("least", d[0], 6); real("most", d[N - 1], 6);
	for (int i = 0; i < 10; i++) for (int j = i + 1; j < 10; j++)
		if (compare(words[j], words[i]) < 0) { const char *t = words[i]; words[i] = words[j]; words[j] = t; }
	for (int i = 0; i < 10; i++) print("%s ", words[i]);
	print("\n");
	return 0;
}

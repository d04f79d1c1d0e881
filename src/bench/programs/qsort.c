/* Quicksort of 50,000 words, or of as many as the mode (Hoare's partition, the smaller part first), n times, each time of new words. */
#include "bench.h"
const char name[] = "qsort";
#define WORDS 50000
static u64 words[WORDS];
__attribute__((noinline)) static void sort(u64 *a, long lo, long hi) {
	while (lo < hi) {
		u64 pivot = a[lo + (hi - lo) / 2];
		long i = lo, j = hi;
		while (i <= j) {
			while (a[i] < pivot) i++;
			while (a[j] > pivot) j--;
			if (i > j) break;
			u64 t = a[i];
			a[i++] = a[j];
			a[j--] = t;
		}
		if (j - lo < hi - i) {
			sort(a, lo, j);
			lo = i;
		} else {
			sort(a, i, hi);
			hi = j;
		}
	}
}
static u64 work(u64 n) {
	u64 sum = 0;
	const u32 nr = mode ? mode : WORDS;
	while (n--) {
		for (u32 i = 0; i < nr; i++) words[i] = next();
		sort(words, 0, nr - 1);
		for (u32 i = 1; i < nr; i++) sum += words[i - 1] <= words[i] ? 1 : 1000000000;
		sum = sum * 31 + words[nr / 2];
	}
	return sum;
}

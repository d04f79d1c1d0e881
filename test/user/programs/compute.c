/* Recursion, sieve, crc32, qsort, 128-bit arithmetic, jump tables, deep recursion. */
#include "lib.h"
__attribute__((noinline)) static int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
static u8 composite[20000];
static u32 table[256];
static u32 crc(const u8 *p, u64 n) {
	u32 c = ~0u;
	while (n--) c = table[(c ^ *p++) & 255] ^ (c >> 8);
	return ~c;
}
static long data[1000];
static int compare(const void *a, const void *b) { return *(long *)a < *(long *)b ? -1 : *(long *)a > *(long *)b; }
static void sort(long *a, long n, int (*cmp)(const void *, const void *)) {
	if (n < 2) return;
	long p = a[n / 2], i = 0, j = n - 1;
	for (;; i++, j--) {
		while (cmp(a + i, &p) < 0) i++;
		while (cmp(a + j, &p) > 0) j--;
		if (i >= j) break;
		long t = a[i]; a[i] = a[j]; a[j] = t;
	}
	sort(a, i, cmp);
	sort(a + i, n - i, cmp);
}
__attribute__((noinline)) static const char *name(int k) {
	switch (k) {
	case 0: return "zero"; case 1: return "one"; case 2: return "two"; case 3: return "three";
	case 4: return "four"; case 5: return "five"; case 6: return "six"; case 7: return "seven";
	default: return "many";
	}
}
__attribute__((noinline)) static int machine(const u8 *p) {
	static void *const ops[] = { &&end, &&inc, &&dbl, &&dec };
	int a = 1;
	goto *ops[*p++];
inc: a++; goto *ops[*p++];
dbl: a *= 2; goto *ops[*p++];
dec: a--; goto *ops[*p++];
end: return a;
}
__attribute__((noinline)) static long deep(long n, volatile long *p) {
	long here = *p;
	return n == 0 ? here : deep(n - 1, p) + here;
}
int main(int argc, char **argv, char **envp) {
	(void)argc, (void)argv, (void)envp;
	print("fib %d\n", fib(20));
	int primes = 0;
	for (u32 i = 2; i < sizeof composite; i++) {
		if (composite[i]) continue;
		primes++;
		for (u32 j = 2 * i; j < sizeof composite; j += i) composite[j] = 1;
	}
	print("primes %d\n", primes);
	for (u32 i = 0; i < 256; i++) {
		u32 c = i;
		for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >> 1) : c >> 1;
		table[i] = c;
	}
	print("crc %08x %08x\n", crc((const u8 *)"123456789", 9), crc(composite, sizeof composite));
	u64 x = 88172645463325252;
	for (int i = 0; i < 1000; i++) {
		x ^= x << 13; x ^= x >> 7; x ^= x << 17;
		data[i] = (long)x;
	}
	sort(data, 1000, compare);
	int sorted = 1;
	for (int i = 1; i < 1000; i++) sorted &= data[i - 1] <= data[i];
	print("sorted %d %ld %ld\n", sorted, data[0], data[999]);
	unsigned __int128 f = 1;
	for (u32 i = 2; i <= 34; i++) f *= i;
	print("34! = %016lx%016lx", (u64)(f >> 64), (u64)f);
	__int128 q = -(__int128)f + 12345;
	u64 d = (u64)q, h = (u64)(q >> 64), r;
	__asm__("div %2" : "=a"(d), "=d"(r) : "r"(~0UL), "a"(d), "d"(h & 0x7fffffff));
	print(" %lx %lx\n", d, r);
	for (int i = -1; i < 9; i++) print("%s ", name(i));
	print("\n%d\n", machine((const u8 *)"\1\2\2\3\1\1\0"));
	volatile long one = 1;
	print("deep %ld\n", deep(100000, &one));
	print("%d %u %x %5d|%05d|%lx %c %s %%\n", -5, 4000000000u, 255, 42, 42, ~0UL, 'c', "s");
	return 7;
}

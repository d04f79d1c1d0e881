/* brk, mmap, munmap, mprotect, mremap, madvise, faults in each, and code that is written and run. */
#include "lib.h"
static struct info seen;
static u64 seen_err;
static jump_buffer jump;
static void on_fault(int sig, struct info *i, struct context *c) {
	seen = *i;
	seen_err = c->err & 7;
	seen.err = sig;
	mask(1, 1UL << (sig - 1));
	long_jump(jump);
}
__attribute__((noinline)) static void touch(const char *what, volatile u8 *p, int how) {
	if (set_jump(jump) == 0) {
		if (how == 0) (void)*p;
		else if (how == 1) *p = 1;
		else ((void (*)(void))p)();
		print("%s: fine\n", what);
	} else print("%s: signal %d code %d right address %d err %lu\n", what, seen.err, seen.code, seen.addr == (u64)p, seen_err);
}
int main(int argc, char **argv, char **envp) {
	(void)argc, (void)argv, (void)envp;
	handle(11, on_fault, 0, 0);
	handle(7, on_fault, 0, 0);
	u8 *heap = (u8 *)sys1(12, 0);
	print("brk %d\n", sys1(12, heap + 100000) == (long)heap + 100000);
	for (int i = 0; i < 100000; i += 1000) heap[i] = (u8)i;
	u32 sum = 0;
	for (int i = 0; i < 100000; i++) sum += heap[i];
	print("heap %u\n", sum);
	sys1(12, heap);
	touch("freed heap", heap + 50000, 0);
	u8 *p = map(0, 1 << 20, 3, 0);
	print("mmap %d %d\n", (long)p > 0, ((u64)p & 4095) == 0);
	touch("fresh", p + 5000, 1);
	print("mprotect %ld\n", sys3(10, p, 8192, 1));
	touch("read-only, read", p + 5000, 0);
	touch("read-only, write", p + 5000, 1);
	touch("first page", p, 0);
	touch("no exec", p, 2);
	sys3(10, p, 4096, 0);
	touch("none", p, 0);
	touch("next page", p + 4096, 0);
	print("value %d\n", p[5000]);
	print("munmap %ld\n", sys2(11, p + 4096, 4096));
	touch("unmapped", p + 5000, 0);
	touch("after it", p + 8192, 1);
	touch("null", 0, 1);
	touch("not canonical", (u8 *)0x8000000000000000, 0);
	touch("kernel", (u8 *)0xffffffff80007000, 0);
	print("hole %ld\n", sys3(10, p, 16384, 3));
	print("errors %ld %ld %ld %ld %ld\n", sys2(11, p + 1, 4096), sys2(11, p, 0), sys6(9, 0, 0, 3, 0x22, -1, 0),
	      sys6(9, 1, 4096, 3, 0x32, -1, 0), sys6(9, 0, 4096, 3, 2, 99, 0));
	u8 *q = map(0, 8192, 3, 0);
	q[0] = 1; q[4096] = 2; q[8191] = 3;
	u8 *r = (u8 *)sys4(25, q, 8192, 1 << 16, 1);
	print("mremap %d %d %d %d\n", r[0], r[4096], r[8191], r[65535]);
	r = (u8 *)sys4(25, r, 1 << 16, 4096, 0);
	touch("shrunk", r + 4096, 0);
	print("discard %ld %d\n", sys3(28, r, 4096, 4), r[0]);
	u8 *code = map(0, 4096, 7, 0);
	int total = 0;
	for (int i = 0; i < 300; i++) {
		/* mov $i, %eax; ret */
		code[0] = 0xb8;
		*(u32 *)(code + 1) = i;
		code[5] = 0xc3;
		total += ((int (*)(void))code)();
	}
	print("written code %d\n", total);
	/* The immediate of an instruction that is already decoded, from within the same page. */
	static const u8 self[] = { 0xc7, 0x05, 1, 0, 0, 0, 44, 0, 0, 0, 0xb8, 1, 0, 0, 0, 0xc3 };
	for (u32 i = 0; i < sizeof self; i++) code[64 + i] = self[i];
	print("self-modifying %d\n", ((int (*)(void))(code + 64))());
	u8 *huge = map(0, 1UL << 40, 0, 0x4000);
	print("huge reservation %d\n", (long)huge > 0);
	sys3(10, huge + (1UL << 39), 4096, 3);
	touch("in the middle", huge + (1UL << 39), 1);
	print("unaligned across pages %lx\n", (*(u64 *)(p + 16384 - 4) = 0x1122334455667788, *(u64 *)(p + 16384 - 4)));
	return 0;
}

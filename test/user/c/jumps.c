/* Control flow: dense and sparse switches, computed goto, function pointers, set_jump and long_jump, a byte-code machine. */
#include "c.h"
__attribute__((noinline)) static int dense(int k) {
	switch (k) {
	case 0: return 7; case 1: return k * 3; case 2: return k - 100; case 3: return k << 5; case 4: return ~k; case 5: return k % 3;
	case 6: return k * k; case 7: return -k; case 8: return 1; case 9: return k / 2; case 10: case 11: case 12: return 99; default: return -1;
	}
}
__attribute__((noinline)) static int sparse(long k) {
	switch (k) {
	case -5000000000: return 1; case -7: return 2; case 0: return 3; case 41: return 4; case 1000: return 5; case 65537: return 6; case 1L << 40: return 7;
	default: return k & 1 ? 8 : 9;
	}
}
static int add(int a, int b) { return a + b; }
static int sub(int a, int b) { return a - b; }
static int mul(int a, int b) { return a * b; }
static int (*const table[])(int, int) = { add, sub, mul };
enum { PUSH, ADD, MUL, DUP, SWAP, JNZ, DEC, OUT, END };
static int run(const signed char *p) {
	static void *const op[] = { &&push, &&add_, &&mul_, &&dup, &&swap, &&jnz, &&dec, &&out, &&end };
	int s[32], *sp = s, t, n = 0;
#define NEXT n++; goto *op[(int)*p++]
	NEXT;
push: *sp++ = *p++; NEXT;
add_: sp--; sp[-1] += *sp; NEXT;
mul_: sp--; sp[-1] *= *sp; NEXT;
dup: *sp = sp[-1]; sp++; NEXT;
swap: t = sp[-1]; sp[-1] = sp[-2]; sp[-2] = t; NEXT;
jnz: t = *p++; if (sp[-1]) p += t; NEXT;
dec: sp[-1]--; NEXT;
out: print("%d ", *--sp); NEXT;
end: return n;
}
static jump_buffer here, outer;
__attribute__((noinline)) static void thrower(int n) { if (n == 0) long_jump(here); thrower(n - 1); __asm__ volatile(""); }
static int caught(int n) { if (set_jump(here) == 0) { thrower(n); return 0; } return 1; }
MAIN {
	for (int i = -2; i < 15; i++) print("%d ", dense(i));
	static const long keys[] = { -5000000000, -7, 0, 41, 42, 1000, 65537, 1L << 40, 3 };
	for (int i = 0; i < 9; i++) print("%d ", sparse(keys[i]));
	int v = 1;
	for (int i = 0; i < 60; i++) v = table[next() % 3](v, i) & 0xffff;
	print("\npointers %d\n", v);
	static const signed char program[] = { PUSH, 1, PUSH, 9, SWAP, PUSH, 3, MUL, PUSH, 1, ADD, SWAP, DEC, JNZ, -11, SWAP, OUT, PUSH, 5, DUP, MUL, OUT, END };
	print("steps %d\n", run(program));
	int sum = 0;
	for (int i = 0; i < 50; i++) sum += caught(i % 7);
	print("caught %d\n", sum);
	volatile int round = 0;
	set_jump(outer);
	if (++round < 5) long_jump(outer);
	print("rounds %d\n", round);
	unsigned long state = 1, steps = 0;
	goto even;
odd:	state = state * 3 + 1; steps++; goto even;
even:	if (state == 1 && steps) goto done;
	if (steps == 0) state = 97;
	steps++;
	if (state & 1) goto odd;
	state /= 2; goto even;
done:	print("steps %lu\n", steps);
	return 0;
}

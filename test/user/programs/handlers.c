/* Handlers within handlers: masks, the order of what is pending, alternate stacks, ways out of a handler, interrupted calls. */
#include "lib.h"
#define SA_RESTART 0x10000000UL
static char alt[32768] __attribute__((aligned(64))), other[32768] __attribute__((aligned(64)));
static jump_buffer jump;
static volatile int depth, total;
static int on_alt(void) { char c; return &c >= alt && &c < alt + sizeof alt ? 1 : &c >= other && &c < other + sizeof other ? 2 : 0; }
static u64 now(void) { return mask(0, 0) & 0xffffffff; }
static void say(int sig, struct info *i, struct context *c) {
	print("%d: sig %d code %d mask %lx saved %lx alt %d value %lx\n", depth, sig, i->code, now(), c->mask, on_alt(), *(u64 *)(i->rest));
}
static void plain(int sig, struct info *i, struct context *c) { say(sig, i, c); }
static void raises(int sig, struct info *i, struct context *c) {
	say(sig, i, c);
	depth++;
	if (depth < 4 && total++ < 6) raise_(sig == 10 ? 12 : 10);
	depth--;
	print("%d: back in %d\n", depth, sig);
}
static void unmasks(int sig, struct info *i, struct context *c) {
	say(sig, i, c);
	c->mask |= 1UL << 20; /* the mask that sigreturn puts back */
}
static void jumps(int sig, struct info *i, struct context *c) { say(sig, i, c); long_jump(jump); }
static void alters(int sig, struct info *i, struct context *c) {
	struct stack s = { other, 0, sizeof other }, was;
	say(sig, i, c);
	long r = sys2(131, &s, &was);
	print("change of the stack in use %ld, it was at alt %d flags %x size %lu\n", r, was.sp == (void *)alt, was.flags, was.size);
	if (depth++ == 0 && total++ < 9) raise_(12);
	depth--;
}
static void disarmed(int sig, struct info *i, struct context *c) {
	struct stack was;
	say(sig, i, c);
	long r = sys2(131, 0, &was);
	print("in the handler %ld: %lx %x %lu; in the frame %d %x %lu\n", r, (u64)was.sp, was.flags, was.size, c->stack.sp == (void *)alt, c->stack.flags,
	      c->stack.size);
	if (depth++ == 0 && total++ < 9) raise_(12);
	depth--;
}
static void edits(int sig, struct info *i, struct context *c) {
	(void)sig, (void)i;
	c->ax = 77;
	c->dx = c->ip; /* where it was: behind the syscall */
	c->eflags |= 1;
}
static void segv(int sig, struct info *i, struct context *c) {
	print("%d: sig %d at %lx\n", depth, sig, i->addr);
	depth++;
	if (depth < 3) __asm__ volatile("mov %%ecx, (%0)" : : "a"(8UL * depth) : "memory"); /* while it is being handled: SA_NODEFER */
	depth--;
	c->ip += 2;
}
static void set_alt(void *p, u64 n, int flags) {
	struct stack s = { p, flags, n };
	print("sigaltstack %ld\n", sys2(131, &s, 0));
}
struct span { long sec, nsec; };
int main(int argc, char **argv, char **envp) {
	(void)argv, (void)envp;
	print("-- one in another, each blocking its own\n");
	handle(10, raises, 0, 0);
	handle(12, raises, 0, 0);
	raise_(10);
	print("-- not deferred\n");
	total = 0;
	handle(10, raises, SA_NODEFER, 0);
	handle(12, raises, SA_NODEFER, 0);
	raise_(10);
	print("-- pending when unblocked: faults first, then by number; the last to be started runs first\n");
	for (int s = 1; s < 15; s++) if (s != 9) handle(s, plain, 0, 0);
	handle(40, plain, 0, 0);
	mask(0, ~0UL);
	for (int s = 14; s; s--) if (s != 9) raise_(s);
	u64 word[16] = { 40, (u64)(u32)-1, 7 | (u64)8 << 32, 0xabcdef };
	for (int k = 0; k < 3; k++) word[3]++, sys3(129, sys1(39, 0), 40, word);
	u64 pending = 0;
	sys2(127, &pending, 8);
	print("pending %lx\n", pending);
	mask(1, ~0UL);
	print("-- each blocks all\n");
	handle(10, plain, 0, ~0UL);
	handle(12, plain, 0, ~0UL);
	mask(0, 1 << 9 | 1 << 11);
	raise_(12);
	raise_(10);
	mask(1, 1 << 9 | 1 << 11);
	print("-- a handler changes the mask that comes back\n");
	handle(10, unmasks, 0, 0);
	raise_(10);
	print("mask %lx\n", now());
	mask(2, 0);
	print("-- out by a jump: the signal stays blocked until somebody unblocks it\n");
	handle(10, jumps, 0, 0);
	for (int k = 0; k < 3; k++) {
		if (set_jump(jump) == 0) {
			raise_(10);
			print("not delivered, blocked %lx\n", now());
			mask(1, 1 << 9);
		} else print("jumped\n");
	}
	mask(2, 0);
	print("-- alternate stack: the second stays on it, and it cannot be changed\n");
	set_alt(alt, sizeof alt, 0);
	handle(10, alters, SA_ONSTACK, 0);
	handle(12, alters, SA_ONSTACK, 0);
	raise_(10);
	handle(10, plain, 0, 0);
	raise_(10);
	print("-- jumped off and used again\n");
	handle(10, jumps, SA_ONSTACK | SA_NODEFER, 0);
	for (int k = 0; k < 2; k++)
		if (set_jump(jump) == 0) raise_(10);
		else print("jumped\n");
	print("-- disarmed in the handler, armed again behind it\n");
	set_alt(alt, sizeof alt, (int)0x80000000);
	handle(10, disarmed, SA_ONSTACK, 0);
	handle(12, disarmed, SA_ONSTACK, 0);
	raise_(10);
	struct stack was;
	sys2(131, 0, &was);
	print("behind: %d %x %lu\n", was.sp == (void *)alt, was.flags, was.size);
	set_alt(0, 0, 2);
	set_alt(alt, 2047, 0);
	set_alt(alt, 4096, 4);
	print("-- what a handler makes of an interrupted call\n");
	handle(10, edits, SA_RESTART, 0);
	long r = 234, at;
	u8 carry;
	long me = sys1(39, 0), ten = 10;
	register long arg __asm__("rdx") = ten;
	__asm__ volatile("clc; syscall; 1: setc %2; lea 1b(%%rip), %%rcx; sub %%rcx, %1" : "+a"(r), "+r"(arg), "=m"(carry) : "D"(me), "S"(me) : "rcx", "r11", "memory");
	at = arg;
	print("r %ld at %ld carry %d\n", r, at, carry);
	struct action a;
	sys4(13, 10, 0, &a, 8);
	print("flags %lx\n", a.flags);
	print("-- calls that wait: a signal ends them, SA_RESTART or not\n");
	for (int k = 0; k < 2; k++) {
		handle(10, plain, k ? SA_RESTART : 0, 0);
		u64 open = 0, usr = 1 << 9;
		struct span t = { 0, 1000 };
		mask(0, usr);
		raise_(10);
		print("sigsuspend %ld mask %lx\n", sys2(130, &open, 8), now());
		raise_(10);
		print("ppoll %ld\n", sys6(271, 0, 0, &t, &open, 8, 0));
		raise_(10);
		print("sigtimedwait %ld\n", sys4(128, &usr, 0, &t, 8));
		print("and again %ld\n", sys4(128, &usr, 0, &t, 8));
		mask(2, 0);
	}
	print("-- a fault in the handler of a fault\n");
	handle(11, segv, SA_NODEFER, 0);
	__asm__ volatile("xor %%eax, %%eax; mov %%eax, (%%rax)" : : : "rax", "memory");
	print("-- a fault that is blocked\n");
	handle(11, segv, 0, 0);
	flush();
	if (argc == 1) __asm__ volatile("xor %%eax, %%eax; mov %%eax, (%%rax)" : : : "rax", "memory");
	else {
		mask(0, 1 << 10);
		__asm__ volatile("mov %%eax, (%0)" : : "a"(0L) : "memory");
	}
	return 0;
}

/* A C library of one page for programs without one: system calls, printing of integers, signals. No SSE. */
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long u64;
typedef __builtin_va_list va_list;

static inline long sys(long n, long a, long b, long c, long d, long e, long f) {
	long r;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	__asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return r;
}
#define sys1(n, a) sys(n, (long)(a), 0, 0, 0, 0, 0)
#define sys2(n, a, b) sys(n, (long)(a), (long)(b), 0, 0, 0, 0)
#define sys3(n, a, b, c) sys(n, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define sys4(n, a, b, c, d) sys(n, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define sys6(n, a, b, c, d, e, f) sys(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

void *memcpy(void *to, const void *from, u64 n) {
	void *r = to;
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
	return r;
}
void *memset(void *to, int v, u64 n) {
	void *r = to;
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(v) : "memory");
	return r;
}
static int strcmp_(const char *a, const char *b) {
	while (*a && *a == *b) a++, b++;
	return (u8)*a - (u8)*b;
}

static char out[4096];
static u64 outn;
static void flush(void) {
	if (outn) sys3(1, 1, out, outn);
	outn = 0;
}
static void put(char c) {
	if (outn == sizeof out) flush();
	out[outn++] = c;
}
static void number(u64 v, u32 base, int width, char fill) {
	char b[72];
	int n = 0;
	do b[n++] = "0123456789abcdef"[v % base]; while (v /= base);
	while (width-- > n) put(fill);
	while (n) put(b[--n]);
}
/* %d %u %x %s %c %%, with l, width and 0 */
__attribute__((noinline)) static void print(const char *f, ...) {
	va_list ap;
	__builtin_va_start(ap, f);
	for (; *f; f++) {
		if (*f != '%') { put(*f); continue; }
		int width = 0, l = 0;
		char fill = ' ';
		f++;
		if (*f == '0') fill = *f++;
		while (*f >= '0' && *f <= '9') width = width * 10 + *f++ - '0';
		while (*f == 'l') l = 1, f++;
		switch (*f) {
		case 'd': {
			long v = l ? __builtin_va_arg(ap, long) : __builtin_va_arg(ap, int);
			if (v < 0) put('-');
			number(v < 0 ? -(u64)v : (u64)v, 10, width, fill);
			break;
		}
		case 'u': number(l ? __builtin_va_arg(ap, u64) : __builtin_va_arg(ap, u32), 10, width, fill); break;
		case 'x': number(l ? __builtin_va_arg(ap, u64) : __builtin_va_arg(ap, u32), 16, width, fill); break;
		case 'c': put((char)__builtin_va_arg(ap, int)); break;
		case 's': for (const char *s = __builtin_va_arg(ap, const char *); *s; s++) put(*s); break;
		default: put(*f);
		}
	}
	__builtin_va_end(ap);
}

struct action { void *handler; u64 flags; void *restorer; u64 mask; };
struct info { int signo, err, code, pad; union { u64 addr; struct { int pid, uid; }; }; u8 rest[104]; };
struct stack { void *sp; int flags; u64 size; };
struct context {
	u64 flags, link;
	struct stack stack;
	u64 r8, r9, r10, r11, r12, r13, r14, r15, di, si, bp, bx, dx, ax, cx, sp, ip, eflags;
	unsigned short cs, gs, fs, ss;
	u64 err, trapno, oldmask, cr2, fpstate, reserved[8], mask;
};
#define SA_SIGINFO 4UL
#define SA_RESTORER 0x04000000UL
#define SA_ONSTACK 0x08000000UL
#define SA_NODEFER 0x40000000UL
#define SA_RESETHAND 0x80000000UL
void restorer(void);
__asm__(".text\nrestorer: mov $15, %eax\nsyscall");
static long handle(int sig, void *h, u64 flags, u64 mask) {
	struct action a = { h, flags | SA_SIGINFO | SA_RESTORER, restorer, mask };
	return sys4(13, sig, &a, 0, 8);
}
static long mask(int how, u64 set) {
	u64 old = 0;
	sys4(14, how, &set, &old, 8);
	return old;
}
static void raise_(int sig) { sys3(234, sys1(39, 0), sys1(186, 0), sig); }

static void *map(void *at, u64 n, int prot, int flags) { return (void *)sys6(9, at, n, prot, flags | 0x22, -1, 0); }

/* setjmp and longjmp for the callee-saved registers. */
typedef u64 jump_buffer[8];
__attribute__((returns_twice)) int set_jump(u64 *b);
__attribute__((noreturn)) void long_jump(u64 *b);
__asm__(".text\n"
	"set_jump: mov %rbx, (%rdi)\n mov %rbp, 8(%rdi)\n mov %r12, 16(%rdi)\n mov %r13, 24(%rdi)\n"
	"mov %r14, 32(%rdi)\n mov %r15, 40(%rdi)\n lea 8(%rsp), %rax\n mov %rax, 48(%rdi)\n"
	"mov (%rsp), %rax\n mov %rax, 56(%rdi)\n xor %eax, %eax\n ret\n"
	"long_jump: mov (%rdi), %rbx\n mov 8(%rdi), %rbp\n mov 16(%rdi), %r12\n mov 24(%rdi), %r13\n"
	"mov 32(%rdi), %r14\n mov 40(%rdi), %r15\n mov 48(%rdi), %rsp\n mov $1, %eax\n jmp *56(%rdi)");

int main(int argc, char **argv, char **envp);
__attribute__((used)) static void start(long *sp) {
	int r = main((int)*sp, (char **)(sp + 1), (char **)(sp + 2 + *sp));
	flush();
	sys1(231, r);
}
__asm__(".text\n.globl _start\n_start: xor %ebp, %ebp\nmov %rsp, %rdi\nand $-16, %rsp\ncall start\nhlt");

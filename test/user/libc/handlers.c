/* Signals by the C library: jumps out of handlers with and without the mask, nested ones, an alternate stack, the state of
   floating point, the library's own waits. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static sigjmp_buf out;
static volatile sig_atomic_t depth, seen;

static int blocked(int sig)
{
	sigset_t s;
	sigprocmask(SIG_BLOCK, 0, &s);
	return sigismember(&s, sig);
}
static void set(int sig, void (*f)(int, siginfo_t *, void *), int flags)
{
	struct sigaction a;
	memset(&a, 0, sizeof a);
	a.sa_sigaction = f;
	a.sa_flags = flags | SA_SIGINFO;
	if (sigaction(sig, &a, 0)) perror("sigaction");
}
static void jump(int sig, siginfo_t *i, void *c)
{
	(void)c;
	printf("handler of %s, code %d, %d blocked\n", strsignal(sig), i->si_code, blocked(sig));
	siglongjmp(out, sig);
}
static void nest(int sig, siginfo_t *i, void *c)
{
	(void)c;
	int d = depth;
	printf("%d: %d from %d\n", d, sig, i->si_pid == getpid());
	if (++depth < 5) raise(sig == SIGUSR1 ? SIGUSR2 : SIGUSR1);
	printf("%d: back\n", d);
}
static void count(int sig, siginfo_t *i, void *c)
{
	(void)i, (void)c;
	seen += sig;
}
static double edge;
static void patch(int sig, siginfo_t *i, void *context)
{
	ucontext_t *c = context;
	printf("%d code %d, at its address %d, double kept %g\n", sig, i->si_code, (greg_t)(long)i->si_addr == c->uc_mcontext.gregs[REG_RIP], edge);
	c->uc_mcontext.gregs[REG_RIP] += 2;
	edge = edge * 3 + 0.125; /* the handler's own use of the registers is undone */
}
static void protect(int sig, siginfo_t *i, void *c)
{
	(void)sig, (void)c;
	if (mprotect((void *)((unsigned long)i->si_addr & ~4095ul), 4096, PROT_READ | PROT_WRITE)) _exit(9);
	seen++;
}
static int deep(int n) { volatile char room[4096]; room[0] = n; return n == 0 ? room[0] : deep(n + 1) + room[0]; }

int main(void)
{
	setvbuf(stdout, 0, _IONBF, 0);
	for (int mask = 0; mask < 2; mask++) {
		set(SIGUSR1, jump, 0);
		for (int k = 0; k < 2; k++) {
			int r = sigsetjmp(out, mask);
			if (r == 0) raise(SIGUSR1);
			printf("mask %d: %d, then blocked %d\n", mask, r, blocked(SIGUSR1));
		}
		sigset_t s;
		sigemptyset(&s);
		sigprocmask(SIG_SETMASK, &s, 0);
	}
	set(SIGUSR1, nest, SA_NODEFER);
	set(SIGUSR2, nest, SA_NODEFER);
	raise(SIGUSR1);
	depth = 4;
	signal(SIGUSR2, SIG_IGN);
	raise(SIGUSR2);
	signal(SIGUSR2, SIG_DFL);

	stack_t alt = { .ss_sp = malloc(65536), .ss_size = 65536 };
	sigaltstack(&alt, 0);
	set(SIGSEGV, jump, SA_ONSTACK);
	for (int k = 0; k < 2; k++)
		if (sigsetjmp(out, 1) == 0) printf("%d\n", deep(1));
		else printf("stack overflow survived\n");

	set(SIGILL, patch, 0);
	double a = 1.5, b = 2.25;
	long double l = 1.0L / 3;
	__asm__ volatile("" : "+x"(a), "+x"(b));
	edge = a;
	__asm__ volatile("ud2" : "+x"(a), "+x"(b), "+t"(l));
	printf("%g %g %.18Lg %g\n", a, b, l, edge);

	char *p = mmap(0, 16 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	set(SIGSEGV, protect, SA_RESTART);
	for (int k = 0; k < 16; k++) memset(p + k * 4096 + 4090, k, k < 15 ? 12 : 6);
	printf("faults %d\n", (int)seen);

	seen = 0;
	set(SIGUSR1, count, SA_RESTART);
	set(SIGUSR2, count, 0);
	sigset_t both, none;
	sigemptyset(&none);
	sigemptyset(&both);
	sigaddset(&both, SIGUSR1);
	sigaddset(&both, SIGUSR2);
	sigprocmask(SIG_BLOCK, &both, 0);
	raise(SIGUSR1);
	raise(SIGUSR2);
	printf("nothing yet %d\n", (int)seen);
	int r = sigsuspend(&none);
	printf("sigsuspend %d %s %d\n", r, strerror(errno), (int)seen);
	struct timespec t = { 0, 1000 };
	raise(SIGUSR1);
	r = ppoll(0, 0, &t, &none);
	printf("ppoll %d %s %d\n", r, strerror(errno), (int)seen);
	raise(SIGUSR2);
	r = pselect(0, 0, 0, 0, &t, &none);
	printf("pselect %d %s %d\n", r, strerror(errno), (int)seen);
	r = ppoll(0, 0, &t, &none);
	printf("ppoll %d\n", r);
	union sigval v = { .sival_int = 4711 };
	sigqueue(getpid(), SIGUSR2, v);
	siginfo_t info;
	r = sigtimedwait(&both, &info, &t);
	printf("sigtimedwait %d code %d value %d\n", r, info.si_code, info.si_value.sival_int);
	r = sigtimedwait(&both, &info, &t);
	printf("sigtimedwait %d %s\n", r, strerror(errno));
	abort();
}

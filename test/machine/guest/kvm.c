// Runs one case after another on this machine's CPU inside a guest of KVM: loads a whole state, runs until the guest
// halts, and says what state and memory it left. It knows nothing of the cases: the guest's memory with its page and
// descriptor tables comes from world.ts, and so does what a case means.
//
// stdin:  u32 ram bytes, u32 pa of the GDT, u32 ranges, u32 cases; ram; per range u32 pa, u32 bytes: what is compared;
//         per case struct state, u32 flags (1: system registers too, 2: page tables are patched), u32 patches, per
//         patch u32 pa, u32 bytes (a multiple of 8), bytes
// stdout: per case struct state, u32 exit, u32 changes, per change u64 pa, u64 the 8 bytes there
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

struct state {
	uint64_t regs[16], rip, rflags, cr0, cr2, cr3, cr4, efer;
	uint64_t base[3]; /* fs, gs, kernel gs */
	uint64_t sel[8]; /* es cs ss ds fs gs tr ldtr */
	uint64_t gdt[2], idt[2], tr[2]; /* base, limit */
	uint64_t msr[6];
	uint64_t dr[6];
	uint64_t mxcsr, xmm[32];
	uint64_t x87, fip, fdp, st[16]; /* x87: fcw, fsw, abridged ftw, fop, 16 bits each */
};

enum { SYSTEM = 1, TABLES = 2 };
enum { HALT, SHUTDOWN, MMIO, FAILED, TIMEOUT };

static const uint32_t MSRS[7] = { 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0xc0000103, 0x277, 0xc0000102 };
static const int ORDER[16] = { 0, 2, 3, 1, 6, 7, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15 }; /* kvm_regs: a b c d si di sp bp */

/* Where parts of an XSAVE image lie, in words of 8 bytes. */
enum { XSAVE_ST = 4, XSAVE_XMM = 20, XSAVE_BV = 64 };

static struct kvm_run *run;
static int vcpu;
static uint8_t *ram, *pristine, *before;
static uint32_t gdt_pa;

static void die(const char *what)
{
	perror(what);
	exit(10);
}

static void need(void *to, size_t n)
{
	if (fread(to, 1, n, stdin) != n) die("stdin");
}

static void put(const void *from, size_t n)
{
	if (fwrite(from, 1, n, stdout) != n) die("stdout");
}

static void control(unsigned long request, void *arg, const char *what)
{
	if (ioctl(vcpu, request, arg) < 0) die(what);
}

static void on_alarm(int s)
{
	(void)s;
	run->immediate_exit = 1;
}

/* The hidden part of a segment register, as loading its selector would have filled it. */
static struct kvm_segment segment(uint64_t selector, int cpl)
{
	struct kvm_segment s = { .selector = selector };
	uint64_t d = *(uint64_t *)(ram + gdt_pa + (selector & 0xfff8));
	if (!(selector & 0xfffc)) {
		s.unusable = 1;
		s.dpl = cpl;
		return s;
	}
	s.base = ((d >> 16) & 0xffffff) | ((d >> 56) << 24);
	s.limit = (d & 0xffff) | ((d >> 32) & 0xf0000);
	s.g = d >> 55;
	if (s.g & 1) s.limit = s.limit << 12 | 0xfff;
	s.g &= 1;
	s.type = (d >> 40) & 15;
	s.s = (d >> 44) & 1;
	s.dpl = (d >> 45) & 3;
	s.present = (d >> 47) & 1;
	s.avl = (d >> 52) & 1;
	s.l = (d >> 53) & 1;
	s.db = (d >> 54) & 1;
	return s;
}

static void flush(struct kvm_sregs *s)
{
	struct kvm_sregs other = *s;
	other.cr4 ^= 0x80;
	control(KVM_SET_SREGS, &other, "sregs");
}

static void load(const struct state *c, uint32_t flags)
{
	struct kvm_regs r;
	static uint64_t f[512];
	struct kvm_vcpu_events e = { .flags = KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_NMI_PENDING };
	static struct kvm_sregs s;
	int cpl = c->sel[1] & 3;
	for (int i = 0; i < 16; i++) ((uint64_t *)&r)[i < 8 ? ORDER[i] : i] = c->regs[i];
	r.rip = c->rip;
	r.rflags = c->rflags;
	control(KVM_GET_SREGS, &s, "sregs");
	s.es = segment(c->sel[0], cpl);
	s.cs = segment(c->sel[1], cpl);
	s.ss = segment(c->sel[2], cpl);
	s.ds = segment(c->sel[3], cpl);
	s.fs = segment(c->sel[4], cpl);
	s.gs = segment(c->sel[5], cpl);
	s.fs.base = c->base[0];
	s.gs.base = c->base[1];
	s.tr = segment(c->sel[6], cpl);
	s.tr.base = c->tr[0];
	s.tr.limit = c->tr[1];
	s.tr.type = 11;
	s.tr.present = 1;
	s.ldt = segment(c->sel[7], cpl);
	s.gdt.base = c->gdt[0];
	s.gdt.limit = c->gdt[1];
	s.idt.base = c->idt[0];
	s.idt.limit = c->idt[1];
	s.cr0 = c->cr0;
	s.cr2 = c->cr2;
	s.cr3 = c->cr3;
	s.cr4 = c->cr4;
	s.cr8 = 0;
	s.efer = c->efer;
	if (flags & TABLES) flush(&s);
	control(KVM_SET_SREGS, &s, "sregs");
	control(KVM_SET_REGS, &r, "regs");
	memset(&f, 0, sizeof f);
	f[0] = (c->x87 & 0xffffffff) | (c->x87 & 0xff00000000) | (c->x87 >> 48) << 48;
	f[1] = c->fip;
	f[2] = c->fdp;
	f[3] = c->mxcsr;
	memcpy(f + XSAVE_ST, c->st, sizeof c->st);
	memcpy(f + XSAVE_XMM, c->xmm, sizeof c->xmm);
	f[XSAVE_BV] = 3;
	control(KVM_SET_XSAVE, f, "xsave");
	control(KVM_SET_VCPU_EVENTS, &e, "events");
	if (flags & SYSTEM) {
		struct { struct kvm_msrs head; struct kvm_msr_entry entry[7]; } m = { .head = { .nmsrs = 7 } };
		struct kvm_debugregs d = { .dr6 = c->dr[4], .dr7 = c->dr[5] };
		for (int i = 0; i < 7; i++) {
			m.entry[i].index = MSRS[i];
			m.entry[i].data = i < 6 ? c->msr[i] : c->base[2];
		}
		control(KVM_SET_MSRS, &m, "msrs");
		for (int i = 0; i < 4; i++) d.db[i] = c->dr[i];
		control(KVM_SET_DEBUGREGS, &d, "debugregs");
	}
}

static void store(struct state *c, uint32_t flags)
{
	struct kvm_regs r;
	struct kvm_sregs s;
	static uint64_t f[512];
	control(KVM_GET_REGS, &r, "regs");
	control(KVM_GET_SREGS, &s, "sregs");
	control(KVM_GET_XSAVE, f, "xsave");
	for (int i = 0; i < 16; i++) c->regs[i] = ((uint64_t *)&r)[i < 8 ? ORDER[i] : i];
	c->rip = r.rip;
	c->rflags = r.rflags;
	c->cr0 = s.cr0;
	c->cr2 = s.cr2;
	c->cr3 = s.cr3;
	c->cr4 = s.cr4;
	c->efer = s.efer;
	c->base[0] = s.fs.base;
	c->base[1] = s.gs.base;
	c->sel[0] = s.es.selector;
	c->sel[1] = s.cs.selector;
	c->sel[2] = s.ss.selector;
	c->sel[3] = s.ds.selector;
	c->sel[4] = s.fs.selector;
	c->sel[5] = s.gs.selector;
	c->sel[6] = s.tr.selector;
	c->sel[7] = s.ldt.selector;
	c->gdt[0] = s.gdt.base;
	c->gdt[1] = s.gdt.limit;
	c->idt[0] = s.idt.base;
	c->idt[1] = s.idt.limit;
	c->tr[0] = s.tr.base;
	c->tr[1] = s.tr.limit;
	c->x87 = (f[0] & 0xffffffffff) | (f[0] >> 48) << 48;
	c->fip = f[1];
	c->fdp = f[2];
	c->mxcsr = (uint32_t)f[3];
	memcpy(c->st, f + XSAVE_ST, sizeof c->st);
	memcpy(c->xmm, f + XSAVE_XMM, sizeof c->xmm);
	for (int i = 0; i < 8; i++) c->st[i * 2 + 1] &= 0xffff;
	if (flags & SYSTEM) {
		struct { struct kvm_msrs head; struct kvm_msr_entry entry[7]; } m = { .head = { .nmsrs = 7 } };
		struct kvm_debugregs d;
		for (int i = 0; i < 7; i++) m.entry[i].index = MSRS[i];
		control(KVM_GET_MSRS, &m, "msrs");
		for (int i = 0; i < 6; i++) c->msr[i] = m.entry[i].data;
		c->base[2] = m.entry[6].data;
		control(KVM_GET_DEBUGREGS, &d, "debugregs");
		for (int i = 0; i < 4; i++) c->dr[i] = d.db[i];
		c->dr[4] = d.dr6;
		c->dr[5] = d.dr7;
	}
}

/* Runs to the end. A guest that goes on for two ticks of the timer does not come to one. */
static uint32_t go(void)
{
	for (int ticks = 0; ticks < 2;) {
		if (ioctl(vcpu, KVM_RUN, 0) < 0) {
			run->immediate_exit = 0;
			ticks++;
			continue;
		}
		switch (run->exit_reason) {
		case KVM_EXIT_HLT: return HALT;
		case KVM_EXIT_IO: /* no device at any port */
			if (run->io.direction == KVM_EXIT_IO_IN)
				memset((uint8_t *)run + run->io.data_offset, 0xff, (size_t)run->io.size * run->io.count);
			continue;
		case KVM_EXIT_MMIO: return MMIO;
		case KVM_EXIT_SHUTDOWN: return SHUTDOWN;
		case KVM_EXIT_INTR: continue;
		default: return FAILED | run->exit_reason << 8;
		}
	}
	return TIMEOUT;
}

static int open_guest(uint32_t bytes)
{
	static struct { struct kvm_cpuid2 head; struct kvm_cpuid_entry2 entry[256]; } cpuid;
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0) die("/dev/kvm");
	int vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0) die("vm");
	struct kvm_userspace_memory_region region = { .memory_size = bytes, .userspace_addr = (uintptr_t)ram };
	if (ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000ul) < 0) die("tss");
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0) die("memory");
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	if (vcpu < 0) die("vcpu");
	run = mmap(0, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED) die("run");
	cpuid.head.nent = 256;
	if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid) < 0) die("cpuid");
	control(KVM_SET_CPUID2, &cpuid, "cpuid");
	return 0;
}

static uint8_t *room(uint32_t bytes)
{
	uint8_t *p = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED) die("memory");
	return p;
}

int main(void)
{
	uint32_t head[4], ranges[64][2], tail[2];
	static struct state c;
	static uint64_t changes[0x4000][2];
	need(head, sizeof head);
	if (head[2] > 64 || head[0] & 0xfff) return 11;
	ram = room(head[0]);
	pristine = room(head[0]);
	before = room(head[0]);
	gdt_pa = head[1];
	need(pristine, head[0]);
	need(ranges, head[2] * sizeof ranges[0]);
	memcpy(before, pristine, head[0]);
	memcpy(ram, pristine, head[0]);
	open_guest(head[0]);
	struct sigaction sa = { .sa_handler = on_alarm };
	sigaction(SIGALRM, &sa, 0);
	struct itimerval timer = { { 0, 200000 }, { 0, 200000 } };
	setitimer(ITIMER_REAL, &timer, 0);
	for (uint32_t n = 0; n < head[3]; n++) {
		uint32_t patched[64][2], end, nr = 0;
		static uint32_t last;
		need(&c, sizeof c);
		need(tail, sizeof tail);
		if (tail[1] > 64) return 12;
		for (uint32_t i = 0; i < tail[1]; i++) {
			need(patched[i], 8);
			if ((uint64_t)patched[i][0] + patched[i][1] > head[0]) return 13;
			need(before + patched[i][0], patched[i][1]);
			memcpy(ram + patched[i][0], before + patched[i][0], patched[i][1]);
		}
		run->immediate_exit = 0;
		load(&c, tail[0] | last);
		end = go();
		store(&c, tail[0]);
		last = tail[0] & TABLES;
		for (uint32_t i = 0; i < head[2]; i++) {
			uint64_t *a = (uint64_t *)(ram + ranges[i][0]), *b = (uint64_t *)(before + ranges[i][0]);
			if (!memcmp(a, b, ranges[i][1])) continue;
			for (uint32_t k = 0; k < ranges[i][1] / 8; k++) {
				if (a[k] == b[k]) continue;
				changes[nr][0] = ranges[i][0] + k * 8;
				changes[nr++][1] = a[k];
				a[k] = b[k];
			}
		}
		put(&c, sizeof c);
		put(&end, 4);
		put(&nr, 4);
		put(changes, nr * 16);
		for (uint32_t i = 0; i < tail[1]; i++) {
			memcpy(before + patched[i][0], pristine + patched[i][0], patched[i][1]);
			memcpy(ram + patched[i][0], pristine + patched[i][0], patched[i][1]);
		}
	}
	fflush(stdout);
	return 0;
}

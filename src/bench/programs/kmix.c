/* What a kernel does between the interesting things, n times: names looked up in hash chains, objects moved between
 * lists, calls through tables of functions, a small program interpreted through a jump table, paths taken apart,
 * numbers parsed and printed. */
#include "bench.h"
const char name[] = "kmix";

struct list { struct list *next, *prev; };
static void list_add(struct list *n, struct list *head) {
	n->next = head->next;
	n->prev = head;
	head->next->prev = n;
	head->next = n;
}
static void list_del(struct list *n) {
	n->next->prev = n->prev;
	n->prev->next = n->next;
}

struct dentry;
struct ops {
	long (*read)(struct dentry *, long);
	long (*write)(struct dentry *, long);
	long (*poll)(struct dentry *, long);
};
struct dentry {
	struct dentry *next, **pprev;
	const struct ops *ops;
	struct list lru;
	u32 hash, len;
	long count, bytes;
	char name[32];
};
#define BUCKETS 256
#define DENTRIES 700
static struct dentry *buckets[BUCKETS];
static struct dentry dentries[DENTRIES];
static struct list lru[2];

static u32 hash_name(const char *s, u32 len) {
	u64 h = len;
	for (u32 i = 0; i < len; i++) h = (h + ((u64)(u8)s[i] << 4) + ((u8)s[i] >> 4)) * 11;
	return (u32)(h ^ (h >> 32));
}
static int same(const char *a, const char *b, u32 len) {
	for (u32 i = 0; i < len; i++)
		if (a[i] != b[i]) return 0;
	return 1;
}
__attribute__((noinline)) static struct dentry *lookup(const char *s, u32 len) {
	u32 h = hash_name(s, len);
	for (struct dentry *d = buckets[h % BUCKETS]; d; d = d->next)
		if (d->hash == h && d->len == len && same(d->name, s, len)) return d;
	return 0;
}

static long null_read(struct dentry *d, long n) { d->count++; return n & 0; }
static long null_write(struct dentry *d, long n) { d->count++; return n; }
static long any_poll(struct dentry *d, long n) { return (d->count ^ n) & 5; }
static long pipe_read(struct dentry *d, long n) {
	long got = d->bytes < n ? d->bytes : n;
	d->bytes -= got;
	return got;
}
static long pipe_write(struct dentry *d, long n) {
	long room = 4096 - d->bytes;
	if (room < n) n = room;
	d->bytes += n;
	return n ? n : -11;
}
static long file_read(struct dentry *d, long n) { d->bytes += n; return n - (d->bytes & 7); }
static long file_write(struct dentry *d, long n) { d->bytes ^= n << 1; return d->bytes & 0xff; }
static const struct ops kinds[3] = {
	{ null_read, null_write, any_poll },
	{ pipe_read, pipe_write, any_poll },
	{ file_read, file_write, any_poll },
};

static u32 print_number(char *to, u64 v) {
	char b[24];
	u32 n = 0, len = 0;
	do b[n++] = '0' + v % 10;
	while (v /= 10);
	while (n) to[len++] = b[--n];
	return len;
}
static u64 parse_number(const char *s) {
	u64 v = 0;
	while (*s >= '0' && *s <= '9') v = v * 10 + (u64)(*s++ - '0');
	return v;
}
static const char *const prefixes[4] = { "proc", "sys_devices_", "t", "vmlinux." };

static void setup(void) {
	for (int i = 0; i < 2; i++) lru[i].next = lru[i].prev = &lru[i];
	for (u32 i = 0; i < DENTRIES; i++) {
		struct dentry *d = &dentries[i];
		const char *p = prefixes[i & 3];
		u32 len = 0;
		while (*p) d->name[len++] = *p++;
		len += print_number(d->name + len, i * 7919 % 10007);
		d->name[len] = 0;
		d->len = len;
		d->hash = hash_name(d->name, len);
		d->ops = &kinds[i % 3];
		struct dentry **head = &buckets[d->hash % BUCKETS];
		d->next = *head;
		d->pprev = head;
		if (*head) (*head)->pprev = &d->next;
		*head = d;
		list_add(&d->lru, &lru[0]);
	}
}

/* A filter in the manner of classic BPF: opcode, constant. */
struct insn { u8 op, jt, jf, pad; u32 k; };
static const struct insn filter[] = {
	{ 0, 0, 0, 0, 0 },  { 4, 0, 1, 0, 6 },  { 1, 0, 0, 0, 2 },  { 6, 0, 0, 0, 15 }, { 5, 3, 0, 0, 7 },
	{ 2, 0, 0, 0, 3 },  { 8, 0, 0, 0, 1 },  { 3, 0, 0, 0, 17 }, { 9, 0, 0, 0, 0 },  { 7, 0, 0, 0, 2 },
	{ 2, 0, 0, 0, 1 },  { 10, 0, 0, 0, 0 }, { 4, 1, 0, 0, 40 }, { 3, 0, 0, 0, 5 },  { 11, 0, 0, 0, 0 },
};
__attribute__((noinline)) static u32 run_filter(const struct insn *pc, const u32 *packet) {
	u32 a = 0, x = 0, m[4] = { 0, 0, 0, 0 };
	for (;; pc++) {
		switch (pc->op) {
		case 0: a = packet[pc->k]; break;
		case 1: x = packet[pc->k]; break;
		case 2: a += packet[pc->k]; break;
		case 3: a = a * 3 + pc->k; break;
		case 4: pc += a > pc->k ? pc->jt : pc->jf; break;
		case 5: pc += (a & 3) == pc->k ? pc->jt : pc->jf; break;
		case 6: a &= pc->k | x; break;
		case 7: a ^= a >> pc->k; break;
		case 8: m[pc->k] = a; break;
		case 9: x = m[1] + a; break;
		case 10: a -= x; break;
		case 11: return a ^ x;
		}
	}
}

__attribute__((noinline)) static u64 walk_path(const char *path) {
	u64 found = 0;
	while (*path) {
		while (*path == '/') path++;
		const char *s = path;
		while (*path && *path != '/') path++;
		if (path == s) break;
		struct dentry *d = lookup(s, (u32)(path - s));
		if (!d) {
			found += 1000;
			continue;
		}
		long how = (long)(next() & 63);
		long r = how < 30 ? d->ops->read(d, how) : how < 60 ? d->ops->write(d, how) : d->ops->poll(d, how);
		found += (u64)(r + 16) + parse_number(s + (d->len > 4 ? 4 : 1));
		list_del(&d->lru);
		list_add(&d->lru, &lru[how & 1]);
	}
	return found;
}

static u64 work(u64 n) {
	static char path[96];
	u32 packet[4] = { 1, 2, 3, 4 };
	u64 sum = 0;
	setup();
	while (n--) {
		for (u32 round = 0; round < 50; round++) {
			u32 at = 0;
			for (int part = 0; part < 3; part++) {
				const struct dentry *d = &dentries[next() % DENTRIES];
				path[at++] = '/';
				for (u32 i = 0; i < d->len; i++) path[at++] = d->name[i];
			}
			if ((round & 7) == 0) path[at++] = 'x';
			path[at] = 0;
			sum = sum * 33 + walk_path(path);
			for (int i = 0; i < 4; i++) packet[i] = packet[i] * 5 + (u32)sum + i;
			sum += run_filter(filter, packet);
		}
	}
	return sum & 0xffffffffffff;
}

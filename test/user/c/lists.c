/* Pointers: a hash table with chains, a doubly linked list, an AVL tree, a heap of structures, graphs. */
#include "c.h"
struct entry { struct entry *next; u64 key; int count; };
static struct entry *buckets[64];
static struct entry *lookup(u64 key) {
	struct entry **p = &buckets[key * 0x9e3779b97f4a7c15UL >> 58];
	for (; *p; p = &(*p)->next) if ((*p)->key == key) return *p;
	*p = take(sizeof **p);
	**p = (struct entry){ 0, key, 0 };
	return *p;
}
struct tree { struct tree *l, *r; int key, height, size; };
static int height(struct tree *t) { return t ? t->height : 0; }
static struct tree *fix(struct tree *t) { int a = height(t->l), b = height(t->r); t->height = (a > b ? a : b) + 1; t->size = 1 + (t->l ? t->l->size : 0) + (t->r ? t->r->size : 0); return t; }
static struct tree *right(struct tree *t) { struct tree *x = t->l; t->l = x->r; x->r = fix(t); return fix(x); }
static struct tree *left(struct tree *t) { struct tree *x = t->r; t->r = x->l; x->l = fix(t); return fix(x); }
static struct tree *insert(struct tree *t, int key) {
	if (!t) { t = take(sizeof *t); *t = (struct tree){ 0, 0, key, 1, 1 }; return t; }
	if (key == t->key) return t;
	if (key < t->key) t->l = insert(t->l, key); else t->r = insert(t->r, key);
	fix(t);
	if (height(t->l) > height(t->r) + 1) { if (height(t->l->l) < height(t->l->r)) t->l = left(t->l); return right(t); }
	if (height(t->r) > height(t->l) + 1) { if (height(t->r->r) < height(t->r->l)) t->r = right(t->r); return left(t); }
	return t;
}
static int nth(struct tree *t, int n) { int k = t->l ? t->l->size : 0; return n < k ? nth(t->l, n) : n == k ? t->key : nth(t->r, n - k - 1); }
struct item { struct item *before, *after; int v; };
struct state { int at; u32 cost; };
static struct state queue[4000]; static int waiting;
static void push(int at, u32 cost) { int i = waiting++; for (; i > 0 && queue[(i - 1) / 2].cost > cost; i = (i - 1) / 2) queue[i] = queue[(i - 1) / 2]; queue[i] = (struct state){ at, cost }; }
static struct state pop(void) {
	struct state top = queue[0], last = queue[--waiting];
	int i = 0;
	for (int c; (c = 2 * i + 1) < waiting; i = c) { if (c + 1 < waiting && queue[c + 1].cost < queue[c].cost) c++; if (queue[c].cost >= last.cost) break; queue[i] = queue[c]; }
	queue[i] = last;
	return top;
}
static u8 cost[400]; static u32 best[400];
MAIN {
	for (int i = 0; i < 2000; i++) lookup(next() % 300)->count++;
	int used = 0, longest = 0; u64 h = 0;
	for (int b = 0; b < 64; b++) { int n = 0; for (struct entry *e = buckets[b]; e; e = e->next) n++, used++, h = mix(h, e->key * 64 + (u64)e->count); if (n > longest) longest = n; }
	print("hash %d longest %d %lx\n", used, longest, h);
	struct tree *t = 0;
	for (int i = 0; i < 1500; i++) t = insert(t, (int)(next() % 5000));
	print("tree %d height %d middle %d first %d\n", t->size, t->height, nth(t, t->size / 2), nth(t, 0));
	struct item ring = { &ring, &ring, 0 };
	for (int i = 1; i <= 41; i++) { struct item *n = take(sizeof *n); *n = (struct item){ ring.before, &ring, i }; n->before->after = n; ring.before = n; }
	struct item *at = &ring;
	for (int left_ = 41; left_ > 1;) { for (int k = 0; k < 3; k++) do at = at->after; while (at == &ring); at->before->after = at->after; at->after->before = at->before; at = at->before; left_--; }
	print("survivor %d\n", ring.after->v);
	for (int i = 0; i < 400; i++) cost[i] = (u8)(1 + next() % 9), best[i] = ~0u;
	push(0, best[0] = 0);
	while (waiting) {
		struct state s = pop();
		if (s.cost > best[s.at]) continue;
		static const int dx[] = { 1, -1, 0, 0 }, dy[] = { 0, 0, 1, -1 };
		for (int d = 0; d < 4; d++) {
			int x = s.at % 20 + dx[d], y = s.at / 20 + dy[d], n = y * 20 + x;
			if (x < 0 || y < 0 || x > 19 || y > 19 || s.cost + cost[n] >= best[n]) continue;
			push(n, best[n] = s.cost + cost[n]);
		}
	}
	print("path %u\n", best[399]);
	return 0;
}

/* LZ77 with a hash chain, Huffman codes over it, and back; bit streams. */
#include "c.h"
#define N 4000
static u8 in[N], lz[2 * N], restored[N], bitsout[2 * N], again[2 * N];
static int head[256], chain[N];
static u32 compress(void) {
	u32 n = 0;
	for (int i = 0; i < 256; i++) head[i] = -1;
	for (int i = 0; i < N;) {
		int best = 0, from = 0, tries = 16;
		u32 h = i + 2 < N ? (in[i] * 31u + in[i + 1] * 7u + in[i + 2]) & 255 : 0;
		if (i + 2 < N) for (int c = head[h]; c >= 0 && tries--; c = chain[c]) {
			int k = 0;
			while (k < 255 && i + k < N && in[c + k] == in[i + k]) k++;
			if (k > best) best = k, from = i - c;
		}
		if (best >= 4) { lz[n++] = 1; lz[n++] = (u8)best; lz[n++] = (u8)from; lz[n++] = (u8)(from >> 8); }
		else { best = 1; lz[n++] = 0; lz[n++] = in[i]; }
		for (int k = 0; k < best; k++, i++) if (i + 2 < N) { u32 g = (in[i] * 31u + in[i + 1] * 7u + in[i + 2]) & 255; chain[i] = head[g]; head[g] = i; }
	}
	return n;
}
static u32 expand(const u8 *p, u32 n) {
	u32 o = 0;
	for (u32 i = 0; i < n;) if (p[i] == 0) { restored[o++] = p[i + 1]; i += 2; } else {
		int k = p[i + 1], from = p[i + 2] | p[i + 3] << 8;
		while (k--) { restored[o] = restored[o - (u32)from]; o++; }
		i += 4;
	}
	return o;
}
static struct node { u32 weight; int left, right; } t[512];
static int size[256]; static u32 code[256];
static void assign(int n, u32 c, int depth) {
	if (t[n].left < 0) { code[n] = c; size[n] = depth ? depth : 1; return; }
	assign(t[n].left, c, depth + 1); assign(t[n].right, c | 1u << depth, depth + 1);
}
static u64 huffman(const u8 *p, u32 n, int *root) {
	int live[256], k = 0, nodes = 256;
	for (int i = 0; i < 256; i++) t[i] = (struct node){ 0, -1, -1 };
	for (u32 i = 0; i < n; i++) t[p[i]].weight++;
	for (int i = 0; i < 256; i++) if (t[i].weight) live[k++] = i;
	while (k > 1) {
		for (int r = 0; r < 2; r++) for (int i = k - 2 - r; i >= 0; i--) if (t[live[i]].weight < t[live[k - 1 - r]].weight) { int s = live[i]; live[i] = live[k - 1 - r]; live[k - 1 - r] = s; }
		t[nodes] = (struct node){ t[live[k - 1]].weight + t[live[k - 2]].weight, live[k - 1], live[k - 2] };
		live[--k - 1] = nodes++;
	}
	*root = live[0];
	assign(*root, 0, 0);
	u64 at = 0;
	for (u32 i = 0; i < n; i++) for (int b = 0; b < size[p[i]]; b++, at++) bitsout[at >> 3] |= (u8)((code[p[i]] >> b & 1) << (at & 7));
	return at;
}
MAIN {
	for (int i = 0; i < N; i++) in[i] = i > 50 && next() % 3 ? in[i - 1 - (int)(next() % 50)] : (u8)("etaoin shrdlu"[next() % 13]);
	for (int i = 1000; i < 1400; i++) in[i] = in[i - 700];
	u32 n = compress();
	int root;
	u64 bitcount = huffman(lz, n, &root), at = 0, h = 0;
	for (u32 i = 0; i < n; i++) {
		int x = root;
		while (t[x].left >= 0) { x = bitsout[at >> 3] >> (at & 7) & 1 ? t[x].right : t[x].left; at++; }
		again[i] = (u8)x;
	}
	u32 m = expand(again, n);
	for (u32 i = 0; i < n; i++) h = mix(h, lz[i]);
	print("lz %u huffman %lu bits, used %lu, back %u same %d hash %lx\n", n, bitcount, at, m, memcmp(in, restored, N) == 0, h);
	for (int i = 0; i < 256; i++) if (size[i]) print("%d:%d:%x ", i, size[i], code[i]);
	print("\n");
	return 0;
}

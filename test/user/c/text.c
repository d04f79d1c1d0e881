/* Strings: search, tokens, numbers, UTF-8, edit distance, a small pattern matcher. */
#include "c.h"
static u64 length(const char *s) { u64 n = 0; while (s[n]) n++; return n; }
static const char *find(const char *s, const char *w) {
	int fail[32] = { 0 }, n = (int)length(w);
	for (int i = 1, k = 0; i < n; i++) { while (k && w[i] != w[k]) k = fail[k - 1]; if (w[i] == w[k]) k++; fail[i] = k; }
	for (int k = 0; *s; s++) { while (k && *s != w[k]) k = fail[k - 1]; if (*s == w[k]) k++; if (k == n) return s - n + 1; }
	return 0;
}
static long parse(const char *s) {
	long v = 0; int sign = 1, base = 10;
	while (*s == ' ') s++;
	if (*s == '-') sign = -1, s++;
	if (s[0] == '0' && s[1] == 'x') base = 16, s += 2;
	for (;; s++) {
		int d = *s >= '0' && *s <= '9' ? *s - '0' : (*s | 32) >= 'a' && (*s | 32) <= 'z' ? (*s | 32) - 'a' + 10 : 99;
		if (d >= base) return v * sign;
		v = v * base + d;
	}
}
static double parse_real(const char *s) {
	double v = 0, scale = 1; int e = 0, sign = 1;
	if (*s == '-') sign = -1, s++;
	for (; *s >= '0' && *s <= '9'; s++) v = v * 10 + (*s - '0');
	if (*s == '.') for (s++; *s >= '0' && *s <= '9'; s++) v = v * 10 + (*s - '0'), scale *= 10;
	if (*s == 'e') e = (int)parse(s + 1);
	v /= scale;
	for (; e > 0; e--) v *= 10;
	for (; e < 0; e++) v /= 10;
	return v * sign;
}
static int match(const char *p, const char *s);
static int match_here(const char *p, const char *s) {
	if (!*p) return 1;
	if (p[1] == '*') { do if (match_here(p + 2, s)) return 1; while (*s && (*s++ == *p || *p == '.')); return 0; }
	if (p[0] == '$' && !p[1]) return !*s;
	return *s && (*p == '.' || *p == *s) && match_here(p + 1, s + 1);
}
static int match(const char *p, const char *s) { if (*p == '^') return match_here(p + 1, s); do if (match_here(p, s)) return 1; while (*s++); return 0; }
static int distance(const char *a, const char *b) {
	int row[32], n = (int)length(b);
	for (int j = 0; j <= n; j++) row[j] = j;
	for (int i = 1; *a; a++, i++) {
		int before = row[0];
		row[0] = i;
		for (int j = 1; j <= n; j++) {
			int t = row[j], c = before + (*a != b[j - 1]);
			if (row[j] + 1 < c) c = row[j] + 1;
			if (row[j - 1] + 1 < c) c = row[j - 1] + 1;
			row[j] = c; before = t;
		}
	}
	return row[n];
}
static int decode(const u8 **p) {
	u8 c = *(*p)++;
	if (c < 0x80) return c;
	int n = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1, v = c & (0x3f >> n);
	while (n--) { if ((**p & 0xc0) != 0x80) return -1; v = v << 6 | (*(*p)++ & 0x3f); }
	return v;
}
static const char story[] = "the quick brown fox jumps over the lazy dog and the other fox which was not as quick as the first";
MAIN {
	print("find %ld %ld %d\n", find(story, "fox") - story, find(story, "the other") - story, find(story, "cat") == 0);
	int count[26] = { 0 }, words = 1;
	for (const char *s = story; *s; s++) if (*s == ' ') words++; else count[*s - 'a']++;
	print("words %d letters", words);
	for (int i = 0; i < 26; i++) print(" %c%d", 'a' + i, count[i]);
	print("\nnumbers %ld %ld %ld\n", parse("  -12345678901x"), parse("0xDeadBeef"), parse("z"));
	real("real", parse_real("3.14159265358979"), 9); real("real", parse_real("-2.5e-3"), 9); real("real", parse_real("1e22"), 3);
	static const char *patterns[] = { "^the", "dog$", "f.x", "q.*k", "^quick", "as*t", "first$", "zz*y" };
	for (int i = 0; i < 8; i++) print("%s %d ", patterns[i], match(patterns[i], story));
	print("\ndistance %d %d %d\n", distance("kitten", "sitting"), distance("", "abc"), distance("intention", "execution"));
	static const u8 utf[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z\xc3(";
	for (const u8 *p = utf; *p;) print("%d ", decode(&p));
	char upper[sizeof story];
	for (u32 i = 0; i < sizeof story; i++) upper[i] = story[i] >= 'a' && story[i] <= 'z' ? (char)(story[i] - 32) : story[i];
	print("\n%s\n", upper);
	return 0;
}

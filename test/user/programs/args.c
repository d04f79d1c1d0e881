/* Arguments, environment, the auxiliary vector, standard input. */
#include "lib.h"
int main(int argc, char **argv, char **envp) {
	print("argc %d\n", argc);
	for (int i = 1; i < argc; i++) print("[%s]\n", argv[i]);
	for (char **e = envp; *e; e++) if ((*e)[0] == 'Q' && (*e)[1] == '_') print("%s\n", *e);
	char **e = envp;
	while (*e) e++;
	u64 *aux = (u64 *)(e + 1);
	for (; aux[0]; aux += 2) {
		if (aux[0] == 6) print("page %lu\n", aux[1]);
		if (aux[0] == 4) print("phent %lu\n", aux[1]);
		if (aux[0] == 9) print("entry below main %d\n", aux[1] > 0x1000);
		if (aux[0] == 3) print("phdr type %d\n", (*(u32 *)aux[1] & 0xff) > 0);
		if (aux[0] == 25) print("random %d\n", *(u64 *)aux[1] != 0);
		if (aux[0] == 15) print("platform %s\n", (char *)aux[1]);
		if (aux[0] == 31) print("execfn is argv[0] %d\n", strcmp_((char *)aux[1], argv[0]) == 0);
	}
	print("aligned %d\n", ((u64)argv & 15) == 8);
	char b[64];
	long n = sys3(0, 0, b, sizeof b);
	print("stdin %ld:", n);
	for (long i = 0; i < n; i++) print(" %x", b[i]);
	print("\nbad pointer %ld %ld, bad fd %ld, no call %ld\n", sys3(1, 1, 8, 5), sys3(0, 0, b, 0), sys3(1, 77, b, 1), sys1(1000, 0));
	struct { void *p; u64 n; } iov[3] = { { "wri", 3 }, { 0, 0 }, { "tev\n", 4 } };
	flush();
	long w = sys3(20, 1, iov, 3);
	print("writev %ld\n", w);
	return 300;
}

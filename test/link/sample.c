// What elf.test.ts reads: a traceable function, a static buffer, a call to the outside.
extern int outside(const char *);
static char buffer[256];
int work(int n) { for (int i = 0; i < n; i++) buffer[i] = n; return outside(buffer) + outside("text"); }

/* The doubly recursive Fibonacci number of 27, or of the mode, n times: calls, returns, the stack. */
#include "bench.h"
const char name[] = "fib";
__attribute__((noinline)) static u64 fib(u64 n) {
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}
static u64 work(u64 n) {
	u64 sum = 0;
	while (n--) sum += fib(mode ? mode : 27);
	return sum;
}

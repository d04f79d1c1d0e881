/* CRC-32 (IEEE 802.3, reflected) of 64 KiB, or of as many bytes as the mode, by a table of 256 words, n times. */
#include "bench.h"
const char name[] = "crc32";
static u32 table[256];
static u8 data[65536];
static u64 work(u64 n) {
	const u32 bytes = mode ? mode : sizeof data;
	for (u32 i = 0; i < 256; i++) {
		u32 c = i;
		for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
		table[i] = c;
	}
	for (u32 i = 0; i < bytes; i++) data[i] = next();
	u32 crc = 0;
	while (n--) {
		u32 c = ~crc;
		for (u32 i = 0; i < bytes; i++) c = table[(c ^ data[i]) & 255] ^ (c >> 8);
		crc = ~c;
	}
	return crc;
}

// A stable 128-bit hash of texts and bytes, for telling images apart. Four FNV-1a lanes, not
// cryptographic; Web Crypto is asynchronous and this must not be.

const PRIME = 0x01000193;

/** Hash of the parts in order, 32 hexadecimal digits. */
export function hashParts(parts: readonly (string | Uint8Array)[]): string {
  const state = Uint32Array.of(0x811c9dc5, 0x050c5d1f, 0x9e3779b9, 0x85ebca6b);
  const encoder = new TextEncoder();
  for (const part of parts) {
    const bytes = typeof part === "string" ? encoder.encode(part) : part;
    mix(state, bytes);
    mix(state, Uint8Array.of(0xff, bytes.length & 0xff, (bytes.length >> 8) & 0xff));
  }
  return Array.from(state, (w) => w.toString(16).padStart(8, "0")).join("");
}

// Four FNV-1a lanes that start apart and feed each other once a byte.
function mix(state: Uint32Array, bytes: Uint8Array): void {
  let [a = 0, b = 0, c = 0, d = 0] = state;
  for (const byte of bytes) {
    a = Math.imul(a ^ byte, PRIME);
    b = Math.imul(b ^ byte ^ (a >>> 13), PRIME);
    c = Math.imul(c ^ byte ^ (b >>> 7), PRIME);
    d = Math.imul(d ^ byte ^ (c >>> 17), PRIME);
  }
  state.set([a, b, c, d]);
}

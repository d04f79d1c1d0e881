// What the core asks of the host while an instruction executes: accesses to devices. The instruction is checked before
// and nothing of it can fail after, so that a device sees each access once.

/** Reads `n` ports (1, 2, 4) from `port` on. */
export declare function portRead(port: u32, n: u32): u32;
export declare function portWrite(port: u32, n: u32, v: u32): void;

/** Reads `n` bytes (1, 2, 4, 8) of physical memory where there is no RAM. */
export declare function busRead(pa: u64, n: u32): u64;
export declare function busWrite(pa: u64, n: u32, v: u64): void;

// The local APICs in x2APIC and xAPIC mode: interrupt requests, priorities, errors, the timer and IPIs between vCPUs. One
// count of the timer is one unit of virtual time. SDM Vol. 3A, "Advanced Programmable Interrupt Controller (APIC)".
// DIFFERS: every interrupt is edge-triggered; there is no I/O APIC and nothing on LINT0 and LINT1. A CPU in wait-for-SIPI
// starts in 64-bit mode at vector << 12, with control registers, EFER and descriptor tables of the sender.

import {
  APIC,
  APIC_SIZE,
  CPU,
  CR0,
  CURRENT,
  EFER,
  GDTR_BASE,
  HALTED,
  IDTR_LIMIT,
  MSR_APIC_BASE,
  NR_VCPUS,
  P_ARMED,
  P_DEADLINE,
  P_DFR,
  P_DIVIDE,
  P_ERRORS,
  P_ESR,
  P_ICR,
  P_INIT,
  P_INITIAL,
  P_IRR,
  P_ISR,
  P_LDR,
  P_LVT_OTHER,
  P_LVT_TIMER,
  P_NMI,
  P_SENT,
  P_SIPI,
  P_SVR,
  P_TPR,
  P_TSC_DEADLINE,
  SAVE,
  TSC_ADJUST,
  VCPU_SIZE,
} from "./abi";

export const NEVER: u64 = ~(<u64>0);
const LVT_MASKED: u32 = 0x10000;
const TIMER_PERIODIC: u32 = 0x20000;
const TIMER_TSC: u32 = 0x40000;
const SVR_ENABLED: u32 = 0x100;
const BASE_ENABLED: u64 = 0x800;
const BASE_EXTENDED: u64 = 0x400;
const VERSION: u64 = 0x50014; // six local vectors

// Error status.
const SEND_ILLEGAL: u32 = 0x20;
const RECEIVE_ILLEGAL: u32 = 0x40;
const ILLEGAL_REGISTER: u32 = 0x80;

// Delivery modes.
const FIXED: u32 = 0;
const LOWEST: u32 = 1;
const NMI: u32 = 4;
const INIT: u32 = 5;
const STARTUP: u32 = 6;

export function apicOf(v: u32): usize {
  return APIC + v * APIC_SIZE;
}

function numberOf(p: usize): u32 {
  return <u32>(p - APIC) / APIC_SIZE;
}

/** Where the state of vCPU `v` lies now. */
function stateOf(v: u32): usize {
  return v == load<u32>(CURRENT) ? CPU : SAVE + v * VCPU_SIZE;
}

function baseOf(v: u32): u64 {
  return load<u64>(stateOf(v) + (MSR_APIC_BASE - CPU));
}

function highest(p: usize): i32 {
  for (let i = 3; i >= 0; i--) {
    const w = load<u64>(p + (i << 3));
    if (w) return (i << 6) + 63 - <i32>clz<u64>(w);
  }
  return -1;
}

function isEnabled(p: usize): bool {
  return (load<u32>(p, P_SVR) & SVR_ENABLED) != 0;
}

/** Notes an error, and raises the error interrupt if it is the first of its kind since ESR was written. */
function failed(p: usize, bit: u32): void {
  const old = load<u32>(p, P_ERRORS);
  if (old & bit) return;
  store<u32>(p, old | bit, P_ERRORS);
  const lvt = load<u32>(p + P_LVT_OTHER + 16);
  if (!(lvt & LVT_MASKED) && (lvt & 0xff) >= 16) post(p, lvt & 0xff);
}

function request(p: usize, vector: u32): void {
  if (vector < 16) {
    failed(p, RECEIVE_ILLEGAL);
    return;
  }
  post(p, vector);
}

/** Notes a legal vector as requested. */
function post(p: usize, vector: u32): void {
  const w = p + P_IRR + ((vector >> 6) << 3);
  store<u64>(w, load<u64>(w) | ((<u64>1) << (vector & 63)));
}

/** The processor priority: the task's, or the class of what is in service. */
function ppr(p: usize): u32 {
  const tpr = load<u32>(p, P_TPR);
  const serving = max<i32>(highest(p + P_ISR), 0);
  return tpr >> 4 >= (<u32>serving) >> 4 ? tpr : (<u32>serving) & 0xf0;
}

/** The vector that this APIC would deliver now, or -1. */
export function pending(p: usize): i32 {
  if (!isEnabled(p)) return -1;
  const v = highest(p + P_IRR);
  if (v < 0) return -1;
  return (<u32>v) >> 4 > ppr(p) >> 4 ? v : -1;
}

/** Moves a vector from requested to in service. */
export function accept(p: usize, vector: i32): void {
  const at = (vector >> 6) << 3;
  const b = (<u64>1) << (vector & 63);
  store<u64>(p + P_IRR + at, load<u64>(p + P_IRR + at) & ~b);
  store<u64>(p + P_ISR + at, load<u64>(p + P_ISR + at) | b);
}

function eoi(p: usize): void {
  const v = highest(p + P_ISR);
  if (v < 0) return;
  const w = p + P_ISR + ((v >> 6) << 3);
  store<u64>(w, load<u64>(w) & ~((<u64>1) << (v & 63)));
}

function divisor(p: usize): u64 {
  const d = load<u32>(p, P_DIVIDE);
  const n = (d & 3) | ((d >> 1) & 4);
  return n == 7 ? 1 : (<u64>2) << n;
}

/** The timer has reached its deadline at virtual time `now`. */
export function fireTimer(p: usize): void {
  const lvt = load<u32>(p, P_LVT_TIMER);
  if (!(lvt & LVT_MASKED)) request(p, lvt & 0xff);
  if (lvt & TIMER_PERIODIC && load<u32>(p, P_INITIAL)) {
    const at = load<u64>(p, P_DEADLINE);
    store<u64>(p, at, P_ARMED);
    store<u64>(p, at + <u64>load<u32>(p, P_INITIAL) * divisor(p), P_DEADLINE);
    return;
  }
  store<u64>(p, NEVER, P_DEADLINE);
  store<u64>(p, 0, P_TSC_DEADLINE);
}

function arm(p: usize, now: u64): void {
  const n = load<u32>(p, P_INITIAL);
  store<u64>(p, now, P_ARMED);
  store<u64>(p, n ? now + <u64>n * divisor(p) : NEVER, P_DEADLINE);
}

function current(p: usize, now: u64): u64 {
  const end = load<u64>(p, P_DEADLINE);
  if (end == NEVER || end <= now || load<u32>(p, P_LVT_TIMER) & TIMER_TSC) return 0;
  return (end - now + divisor(p) - 1) / divisor(p);
}

/** Whether the APIC of vCPU `v` is meant by a destination. */
function matches(v: u32, dest: u32, logical: bool): bool {
  const p = apicOf(v);
  if (baseOf(v) & BASE_EXTENDED) {
    if (dest == 0xffffffff) return true;
    if (!logical) return dest == v;
    return dest >> 16 == v >> 4 && ((dest >> (v & 15)) & 1) != 0;
  }
  const d = dest & 0xff;
  if (d == 0xff) return true;
  if (!logical) return d == v;
  const ldr = load<u32>(p, P_LDR) >> 24;
  if (load<u32>(p, P_DFR) >> 28 == 15) return (ldr & d) != 0;
  return ldr >> 4 == d >> 4 && (ldr & d & 15) != 0;
}

/** Whether shorthand and destination of an ICR mean vCPU `v`. */
function meant(v: u32, sender: u32, icr: u64): bool {
  if (!(baseOf(v) & BASE_ENABLED)) return false;
  const shorthand = (<u32>(icr >> 18)) & 3;
  if (shorthand == 0) return matches(v, <u32>(icr >> 32), ((icr >> 11) & 1) != 0);
  if (shorthand == 1) return v == sender;
  return shorthand == 2 || v != sender;
}

/** A start-up IPI: a CPU that waits for one takes over what it needs to execute from the sender. */
function startUp(v: u32, vector: u32): void {
  const to = stateOf(v);
  const q = apicOf(v);
  if (load<u32>(to + (HALTED - CPU)) != 3 && !load<u32>(q, P_INIT)) return;
  if (load<u32>(q, P_SIPI)) return;
  store<u32>(q, vector | 0x100, P_SIPI);
  if (v == load<u32>(CURRENT)) return;
  memory.copy(to + (CR0 - CPU), CR0, EFER + 8 - CR0);
  memory.copy(to + (GDTR_BASE - CPU), GDTR_BASE, IDTR_LIMIT + 8 - GDTR_BASE);
}

function deliverTo(v: u32, mode: u32, vector: u32): void {
  const q = apicOf(v);
  if (mode == NMI) store<u32>(q, 1, P_NMI);
  else if (mode == INIT) store<u32>(q, 1, P_INIT);
  else if (mode == STARTUP) startUp(v, vector);
  else if (isEnabled(q)) request(q, vector);
}

/** An IPI as the ICR describes it. */
function send(p: usize, icr: u64): void {
  const vector = (<u32>icr) & 0xff;
  const mode = (<u32>(icr >> 8)) & 7;
  const sender = numberOf(p);
  if (mode == INIT && !((icr >> 14) & 1)) return; // the de-assert of old APICs
  if (mode <= LOWEST && vector < 16) {
    failed(p, SEND_ILLEGAL);
    return;
  }
  if (mode != FIXED && mode != LOWEST && mode != NMI && mode != INIT && mode != STARTUP) return;
  let best: i32 = -1;
  for (let i: u32 = 0; i < load<u32>(NR_VCPUS); i++) {
    if (!meant(i, sender, icr)) continue;
    if (mode == LOWEST) {
      if (isEnabled(apicOf(i)) && (best < 0 || ppr(apicOf(i)) < ppr(apicOf(best)))) best = i;
      continue;
    }
    store<u64>(p, load<u64>(p, P_SENT) + 1, P_SENT);
    deliverTo(i, mode, vector);
  }
  if (best < 0) return;
  store<u64>(p, load<u64>(p, P_SENT) + 1, P_SENT);
  deliverTo(best, FIXED, vector);
}

/** Bits that local vector `n` (0x32 to 0x37) has, without those that only the APIC writes. */
function lvtBits(n: u32): u32 {
  if (n == 0x32) return 0x700ff;
  if (n == 0x35 || n == 0x36) return 0x1a7ff;
  return n == 0x37 ? 0x100ff : 0x107ff;
}

/** Reads register `n`, which lies at 16 * n of the page; NEVER for one that cannot be read. `x2` says by MSR. */
export function apicRead(p: usize, n: u32, now: u64, x2: bool): u64 {
  const id = numberOf(p);
  if (n == 0x02) return x2 ? id : id << 24;
  if (n == 0x03) return VERSION;
  if (n == 0x08) return <u64>load<u32>(p, P_TPR);
  if (n == 0x0a) return <u64>ppr(p);
  if (n == 0x0d) {
    return <u64>(x2 ? ((id >> 4) << 16) | (1 << (id & 15)) : load<u32>(p, P_LDR));
  }
  if (n == 0x0e && !x2) return <u64>load<u32>(p, P_DFR);
  if (n == 0x0f) return <u64>load<u32>(p, P_SVR);
  if (n >= 0x10 && n <= 0x17) return <u64>load<u32>(p + P_ISR + ((n - 0x10) << 2));
  if (n >= 0x18 && n <= 0x1f) return 0;
  if (n >= 0x20 && n <= 0x27) return <u64>load<u32>(p + P_IRR + ((n - 0x20) << 2));
  if (n == 0x28) return <u64>load<u32>(p, P_ESR);
  if (n == 0x30) return x2 ? load<u64>(p, P_ICR) : load<u64>(p, P_ICR) & 0xffffffff;
  if (n == 0x31 && !x2) return load<u64>(p, P_ICR) >> 32;
  if (n == 0x32) return <u64>load<u32>(p, P_LVT_TIMER);
  if (n >= 0x33 && n <= 0x37) return <u64>load<u32>(p + P_LVT_OTHER + ((n - 0x33) << 2));
  if (n == 0x38) return <u64>load<u32>(p, P_INITIAL);
  if (n == 0x39) return current(p, now);
  if (n == 0x3e) return <u64>load<u32>(p, P_DIVIDE);
  if (!x2) failed(p, ILLEGAL_REGISTER);
  return x2 ? NEVER : 0;
}

/** Bits that a write by MSR may set; 0 for a register that takes none but zero, NEVER for one that is not written. */
function writable(n: u32): u64 {
  if (n == 0x08 || n == 0x3f) return 0xff;
  if (n == 0x0b || n == 0x28) return 0;
  if (n == 0x0f) return 0x1ff;
  if (n == 0x30) return 0xffffffff000ccfff;
  if (n >= 0x32 && n <= 0x37) return (<u64>lvtBits(n)) | 0x5000;
  if (n == 0x38) return 0xffffffff;
  return n == 0x3e ? 0xb : NEVER;
}

function writeLvt(p: usize, n: u32, given: u32): void {
  let v = given & lvtBits(n);
  if (!isEnabled(p)) v |= LVT_MASKED;
  if (n != 0x32) {
    store<u32>(p + P_LVT_OTHER + ((n - 0x33) << 2), v);
    return;
  }
  // A change between the count and the deadline disarms the timer.
  if ((load<u32>(p, P_LVT_TIMER) ^ v) & TIMER_TSC) {
    store<u64>(p, NEVER, P_DEADLINE);
    store<u64>(p, 0, P_TSC_DEADLINE);
  }
  store<u32>(p, v, P_LVT_TIMER);
}

/** While software has the APIC disabled, every local vector is masked. */
function maskAll(p: usize): void {
  store<u32>(p, load<u32>(p, P_LVT_TIMER) | LVT_MASKED, P_LVT_TIMER);
  for (let i: u32 = 0; i < 5; i++) {
    const at = p + P_LVT_OTHER + (i << 2);
    store<u32>(at, load<u32>(at) | LVT_MASKED);
  }
}

/** Registers that a write by memory leaves as they are: ID, version, priorities, ISR, TMR, IRR, the count. */
function readOnly(n: u32): bool {
  return n == 0x02 || n == 0x03 || n == 0x0a || (n >= 0x10 && n <= 0x27) || n == 0x39;
}

/** Writes it; false for a register that cannot be written so by MSR. By memory, what is wrong is an error in ESR. */
export function apicWrite(p: usize, n: u32, v: u64, now: u64, x2: bool): bool {
  const bits = writable(n);
  if (x2) {
    if (bits == NEVER || v & ~bits) return false;
  }
  if (n == 0x08) store<u32>(p, (<u32>v) & 0xff, P_TPR);
  else if (n == 0x0b) eoi(p);
  else if (n == 0x0f) {
    store<u32>(p, (<u32>v) & 0x1ff, P_SVR);
    if (!isEnabled(p)) maskAll(p);
  } else if (n == 0x28) {
    store<u32>(p, load<u32>(p, P_ERRORS), P_ESR);
    store<u32>(p, 0, P_ERRORS);
  } else if (n == 0x30) {
    const icr = x2
      ? v & ~(<u64>0x1000)
      : (load<u64>(p, P_ICR) & 0xffffffff00000000) | (v & 0xccfff & ~(<u64>0x1000));
    store<u64>(p, icr, P_ICR);
    // By memory the destination is a byte, at the top.
    send(p, x2 ? icr : ((icr >> 56) << 32) | (icr & 0xffffffff));
  } else if (n >= 0x32 && n <= 0x37) writeLvt(p, n, <u32>v);
  else if (n == 0x38) {
    // SDM Vol. 3A, "TSC-Deadline Mode": writes are ignored there.
    if (!(load<u32>(p, P_LVT_TIMER) & TIMER_TSC)) {
      store<u32>(p, <u32>v, P_INITIAL);
      arm(p, now);
    }
  } else if (n == 0x3e) {
    // What is left of the count goes on at the new rate.
    const left = current(p, now);
    store<u32>(p, (<u32>v) & 0xb, P_DIVIDE);
    if (left) store<u64>(p, now + left * divisor(p), P_DEADLINE);
  } else if (x2) send(p, (v & 0xff) | 0x40000);
  else if (n == 0x0d) store<u32>(p, (<u32>v) & 0xff000000, P_LDR);
  else if (n == 0x0e) store<u32>(p, (<u32>v) | 0x0fffffff, P_DFR);
  else if (n == 0x31) {
    const low = load<u64>(p, P_ICR) & 0xffffffff;
    store<u64>(p, ((v & 0xff000000) << 32) | low, P_ICR);
  } else if (!readOnly(n)) failed(p, ILLEGAL_REGISTER);
  return true;
}

/** IA32_TSC_DEADLINE. */
export function setTscDeadline(v: u64): void {
  const p = apicOf(load<u32>(CURRENT));
  if (!(load<u32>(p, P_LVT_TIMER) & TIMER_TSC)) return;
  store<u64>(p, v, P_TSC_DEADLINE);
  // The deadline is in the TSC's terms, the timer's in this vCPU's time.
  const adjust = load<u64>(TSC_ADJUST);
  store<u64>(p, !v ? NEVER : <i64>(v - adjust) > 0 ? v - adjust : 0, P_DEADLINE);
}

/** After the TSC was set: a deadline that is still to come is that of the TSC. */
export function tscChanged(): void {
  const v = load<u64>(apicOf(load<u32>(CURRENT)), P_TSC_DEADLINE);
  if (v) setTscDeadline(v);
}

export function resetApic(v: u32): void {
  const p = apicOf(v);
  memory.fill(p, 0, APIC_SIZE);
  store<u64>(p, NEVER, P_DEADLINE);
  store<u32>(p, LVT_MASKED, P_LVT_TIMER);
  store<u32>(p, 0xff, P_SVR);
  store<u32>(p, 0xffffffff, P_DFR);
  for (let i: u32 = 0; i < 5; i++) store<u32>(p + P_LVT_OTHER + (i << 2), LVT_MASKED);
}
